"""The day as the job database tells it, with time moved by hand; quick however many exams there are."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from cadnode.core.jobs import ExamStatus, Problem
from cadnode.core.node_status import DayCounts, Durations
from cadnode.storage.database import Database, upgrade
from cadnode.storage.day import DayRecords
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.fetching import FetchRecords
from cadnode.storage.line_records import LineRecords
from tests.contract.exams import (
    DONE,
    GONE,
    LEASE,
    SECOND,
    claim,
    close,
    new_image,
    record,
    report,
    sent,
    take,
)
from tests.integration.test_storage_plans import Plans
from tests.integration.test_storage_schema import restore

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def store(database: Database) -> SqlExamStore:
    return SqlExamStore(database)


@pytest.fixture
def day(database: Database) -> DayRecords:
    return DayRecords(database)


def counts(day: DayRecords, now: datetime) -> DayCounts:
    hours = (now - MIDNIGHT) // HOUR + 1
    return day.counts([MIDNIGHT + n * HOUR for n in range(hours)], now=now)


def delivered(
    store: SqlExamStore, study: str, *, last_image: datetime, after: timedelta, to: str = "A"
) -> None:
    """An exam whose only object was stored so long after its only image."""
    store.accept(new_image(1, study), now=last_image)
    report(store, to, now=last_image)
    delivery = take(store, to, now=last_image + after)
    store.record_delivery(delivery, sent(delivery), DONE, now=last_image + after)


def test_an_empty_node_has_a_day_too(day: DayRecords):
    found = counts(day, MIDNIGHT + HOUR)
    assert [hour.exams for hour in found.hours] == [0, 0]
    assert (found.waiting, found.running, found.delivering, found.failed_exams) == (0, 0, 0, 0)
    assert found.oldest is None
    assert found.took_today == found.took_week == Durations(0, None, None)


def test_an_exam_counts_in_the_hour_in_which_it_began(store: SqlExamStore, day: DayRecords):
    tick = timedelta(microseconds=1)
    for number, at in enumerate(
        (MIDNIGHT - tick, MIDNIGHT, MIDNIGHT + HOUR - tick, MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR)
    ):
        store.accept(new_image(1, f"1.{number}"), now=at)
    found = counts(day, MIDNIGHT + 3 * HOUR + SECOND)
    assert [hour.exams for hour in found.hours] == [2, 1, 0, 1]
    assert found.today == 4


def test_an_exam_waits_runs_and_waits_again_when_its_worker_is_lost(
    store: SqlExamStore, day: DayRecords
):
    store.accept(new_image(), now=MIDNIGHT)
    found = counts(day, MIDNIGHT + SECOND)
    assert (found.waiting, found.running) == (1, 0)
    claim(store, now=MIDNIGHT)
    found = counts(day, MIDNIGHT + LEASE - SECOND)
    assert (found.waiting, found.running) == (0, 1)
    found = counts(day, MIDNIGHT + LEASE)
    assert (found.waiting, found.running) == (1, 0)


def test_an_exam_is_being_delivered_until_its_last_object_is_stored(
    store: SqlExamStore, day: DayRecords
):
    store.accept(new_image(), now=MIDNIGHT)
    report(store, "A", "B", now=MIDNIGHT)
    assert counts(day, MIDNIGHT).delivering == 1
    first = take(store, "A", now=MIDNIGHT)
    store.record_delivery(first, sent(first), DONE, now=MIDNIGHT + 5 * SECOND)
    found = counts(day, MIDNIGHT + 6 * SECOND)
    assert found.delivering == 1
    assert found.took_today.exams == 0
    second = take(store, "B", now=MIDNIGHT)
    store.record_delivery(second, sent(second), DONE, now=MIDNIGHT + 9 * SECOND)
    found = counts(day, MIDNIGHT + 10 * SECOND)
    assert found.delivering == 0
    assert found.took_today == Durations(1, 9.0, 9.0)


def test_the_oldest_exam_under_way_is_named(store: SqlExamStore, day: DayRecords):
    for number in (1, 2, 3):
        store.accept(new_image(1, f"1.{number}"), now=MIDNIGHT + number * SECOND)
    store.cancel(1, why="a test", by="anna", now=MIDNIGHT + HOUR)
    oldest = counts(day, MIDNIGHT + HOUR).oldest
    assert oldest is not None
    assert (oldest.id, oldest.status) == (2, ExamStatus.RECEIVING)
    assert oldest.since == MIDNIGHT + 2 * SECOND


def test_failed_exams_are_counted_by_cause_the_most_frequent_first(
    store: SqlExamStore, day: DayRecords
):
    for number in range(3):
        store.accept(new_image(1, f"1.{number}"), now=MIDNIGHT)
        exam = claim(store, now=MIDNIGHT)
        problem = Problem("E801" if number else "E501", "a test")
        store.move_exam(exam, ExamStatus.FAILED, text="failed", problem=problem, now=MIDNIGHT)
    found = counts(day, MIDNIGHT)
    assert [(item.code, item.exams) for item in found.failed] == [("E801", 2), ("E501", 1)]
    assert found.failed_exams == 3


def test_half_and_95_percent_of_the_exams_took_no_longer(store: SqlExamStore, day: DayRecords):
    for seconds in range(1, 21):
        delivered(store, f"1.{seconds}", last_image=MIDNIGHT, after=seconds * SECOND)
    assert counts(day, MIDNIGHT + HOUR).took_today == Durations(20, 10.0, 19.0)


def test_the_week_ends_after_seven_days_and_today_at_midnight(store: SqlExamStore, day: DayRecords):
    delivered(store, "1.1", last_image=MIDNIGHT - 20 * SECOND, after=10 * SECOND)
    delivered(store, "1.2", last_image=MIDNIGHT - 20 * SECOND, after=40 * SECOND)
    found = counts(day, MIDNIGHT + HOUR)
    assert found.took_today == Durations(1, 40.0, 40.0)
    assert found.took_week == Durations(2, 10.0, 40.0)
    later = day.counts([MIDNIGHT + 7 * DAY], now=MIDNIGHT + 7 * DAY)
    assert (later.took_today.exams, later.took_week) == (0, Durations(1, 40.0, 40.0))


def test_an_exam_that_a_person_has_read_again_says_nothing_about_the_time_it_took(
    store: SqlExamStore, day: DayRecords
):
    delivered(store, "1.1", last_image=MIDNIGHT, after=10 * SECOND)
    store.reanalyze(1, by="anna", now=MIDNIGHT + HOUR)
    exam = close(store, now=MIDNIGHT + HOUR)
    record(store, exam, "A", now=MIDNIGHT + HOUR)
    delivery = take(store, "A", now=MIDNIGHT + HOUR)
    store.record_delivery(delivery, sent(delivery), DONE, now=MIDNIGHT + HOUR)
    assert counts(day, MIDNIGHT + 2 * HOUR).took_today == Durations(1, 10.0, 10.0)


def test_an_exam_that_failed_in_delivery_counts_when_the_last_object_is_stored_after_all(
    store: SqlExamStore, day: DayRecords
):
    store.accept(new_image(), now=MIDNIGHT)
    report(store, "A", now=MIDNIGHT)
    delivery = take(store, now=MIDNIGHT)
    store.record_delivery(delivery, sent(delivery, 0xC000), GONE, now=MIDNIGHT + SECOND)
    assert counts(day, MIDNIGHT + SECOND).took_today.exams == 0
    store.retry(1, by="anna", now=MIDNIGHT + HOUR)
    delivery = take(store, now=MIDNIGHT + HOUR)
    store.record_delivery(delivery, sent(delivery), DONE, now=MIDNIGHT + HOUR)
    assert counts(day, MIDNIGHT + HOUR).took_today == Durations(1, 3600.0, 3600.0)


def test_what_comes_in_a_day_is_known_after_a_day(store: SqlExamStore, day: DayRecords):
    for number in range(1, 5):
        store.accept(new_image(number), now=MIDNIGHT)
    sizes = 1001 + 1002 + 1003 + 1004
    early = day.influx(now=MIDNIGHT + DAY - SECOND)
    assert (early.bytes, early.seconds) == (0, 0.0)
    found = day.influx(now=MIDNIGHT + 2 * DAY)
    assert (found.bytes, found.seconds) == (sizes, 2 * 86_400.0)
    assert found.oldest_kept_at == MIDNIGHT
    # A week later nothing of it is recent.
    assert day.influx(now=MIDNIGHT + 8 * DAY).bytes == 0


def test_a_destination_says_when_it_last_stored_something_and_how_long_what_waits(
    store: SqlExamStore, database: Database
):
    lines = LineRecords(database)
    delivered(store, "1.1", last_image=MIDNIGHT, after=10 * SECOND)
    store.accept(new_image(1, "1.2"), now=MIDNIGHT + HOUR)
    report(store, "A", "GONE", now=MIDNIGHT + HOUR)
    a, idle, gone = lines.destinations(["A", "IDLE"])
    assert (a.name, a.waiting, a.oldest) == ("A", 1, MIDNIGHT + HOUR)
    assert a.delivered_at == MIDNIGHT + 10 * SECOND
    assert (idle.name, idle.waiting, idle.oldest, idle.delivered_at) == ("IDLE", 0, None, None)
    assert (gone.name, gone.waiting) == ("GONE", 1)


def test_a_destination_that_left_nothing_behind_is_not_listed(
    store: SqlExamStore, database: Database
):
    delivered(store, "1.1", last_image=MIDNIGHT, after=SECOND)
    assert [record.name for record in LineRecords(database).destinations(["B"])] == ["B"]


def test_the_newest_exam_of_each_sender_is_known(store: SqlExamStore, day: DayRecords):
    store.accept(new_image(1, "1.1"), now=MIDNIGHT)
    store.accept(new_image(1, "1.2"), now=MIDNIGHT + HOUR)
    store.cancel(2, why="a test", by="anna", now=MIDNIGHT + HOUR)
    assert day.newest_exams(["MODALITY", "NOBODY"]) == {"MODALITY": MIDNIGHT + HOUR}


def test_how_a_pull_ended_is_kept(database: Database):
    fetching = FetchRecords(database)
    assert fetching.claim_pull("old MG", "w", now=MIDNIGHT, lease=LEASE, every=HOUR)
    (running,) = fetching.pulls()
    assert (running.running_until, running.ended_at) == (MIDNIGHT + LEASE, None)
    fetching.note_pull("old MG", fetched=8, failed=1, error="", now=MIDNIGHT + SECOND)
    fetching.release_pull("old MG", "w")
    (ended,) = fetching.pulls()
    assert (ended.fetched, ended.failed, ended.error) == (8, 1, "")
    assert (ended.ended_at, ended.running_until) == (MIDNIGHT + SECOND, None)
    assert ended.due_at == MIDNIGHT + HOUR


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_day_reads_no_whole_table(store: SqlExamStore, database: Database, day: DayRecords):
    delivered(store, "1.1", last_image=MIDNIGHT, after=SECOND)
    plans = Plans()
    event.listen(Engine, "before_cursor_execute", plans)
    try:
        counts(day, MIDNIGHT + HOUR)
        day.influx(now=MIDNIGHT + 2 * DAY)
        day.newest_exams(["MODALITY"])
        LineRecords(database).destinations(["A"])
    finally:
        event.remove(Engine, "before_cursor_execute", plans)
    assert plans.seen
    # The newest images, from the end of the table; a few rows; an index, of which it counts a part.
    bounded = ("SCAN images", "SCAN destination_states")
    assert {
        step
        for _, step in plans.slow
        if not step.startswith(bounded) and not re.match(r"SEARCH \w+ USING COVERING INDEX", step)
    } == set()


def test_exams_that_were_delivered_before_the_upgrade_count_too(tmp_path: Path):
    file = tmp_path / "old.db"
    restore("0002", file)
    upgrade(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(
            "SELECT j.status, j.delivered_at, max(d.delivered_at) FROM jobs j"
            " JOIN deliveries d ON d.job_id = j.id GROUP BY j.id"
        ).fetchall()
    ended = {"delivered", "committed", "purged"}
    assert ended & {status for status, _, _ in rows}
    for status, delivered_at, last in rows:
        assert delivered_at == (last if status in ended else None)
