"""Scheduled pulls, with a clock that is moved by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import update

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.core.jobs import ExamStatus
from cadnode.pulling import PullLane
from cadnode.storage.fetching import FetchRecords
from cadnode.storage.tables import jobs
from tests.integration.fake_archive import CANCEL, UNABLE, FakeArchive
from tests.integration.fetching_node import OTHER_STUDY, STUDY, Misbehaving, beside, exam
from tests.objects import mammogram

EXAM_DAY = datetime(2024, 1, 2, 12, tzinfo=UTC)
"""The Study Date of the test objects."""

PULL = '[[pull]]\nsource = "archive"\nevery_minutes = 15\ndays = 1\n'


@dataclass
class Pulling:
    """Workers that pull from one archive."""

    found: Misbehaving
    now: datetime = EXAM_DAY
    stopping: threading.Event = field(default_factory=threading.Event)

    def worker(self, owner: str = "worker") -> PullLane:
        """One more worker process."""
        node = self.found.site
        app = App(load_settings(node.config, {}))
        return PullLane(
            app,
            app.settings.pull[0],
            node.store,
            app.spool(),
            owner=owner,
            clock=lambda: self.now,
            stopping=self.stopping,
        )

    def kept(self) -> int:
        return len(self.found.site.kept())

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[Pulling]:
    with beside(tmp_path, FakeArchive(exam()), more=PULL) as found:
        yield Pulling(found)


def test_each_turn_fetches_what_is_new_and_nothing_twice(pulling: Pulling) -> None:
    worker, archive = pulling.worker(), pulling.found.archive
    assert worker.run_once()
    first = pulling.kept()
    archive.datasets = [*archive.datasets, late_image()]
    pulling.later(minutes=16)
    assert worker.run_once()

    assert (first, pulling.kept()) == (3, 4)
    assert archive.asked[1].SOPInstanceUID == late_image().SOPInstanceUID
    assert "3 images were fetched from archive." in pulling.found.site.events()


def test_between_two_turns_the_archive_is_left_alone(pulling: Pulling) -> None:
    worker = pulling.worker()
    worker.run_once()
    queries = pulling.found.archive.queries
    for _ in range(14):
        pulling.later(minutes=1)
        assert not worker.run_once()
    assert pulling.found.archive.queries == queries


def test_of_two_workers_one_pulls(pulling: Pulling) -> None:
    workers = [pulling.worker("first"), pulling.worker("second")]

    assert [worker.run_once() for worker in workers] == [True, False]
    pulling.later(minutes=16)
    assert [worker.run_once() for worker in reversed(workers)] == [True, False]


def test_a_turn_that_takes_longer_than_its_interval_is_not_overlapped(pulling: Pulling) -> None:
    records = FetchRecords(pulling.found.site.store.database)
    lease, every = timedelta(hours=1), timedelta(minutes=15)
    name = "archive MG"
    assert records.claim_pull(name, "slow", now=pulling.now, lease=lease, every=every)
    pulling.later(minutes=50)
    records.renew_pull(name, "slow", now=pulling.now, lease=lease)
    pulling.later(minutes=50)
    assert not pulling.worker().run_once()

    pulling.later(minutes=11)
    assert pulling.worker().run_once(), "the lease of a worker that was killed ends"


def test_an_archive_that_is_down_is_asked_again_at_the_next_turn(pulling: Pulling) -> None:
    worker, archive = pulling.worker(), pulling.found.archive
    archive.before_find = lambda _event: 0xA700
    assert worker.run_once()
    archive.before_find = lambda _event: None
    pulling.later(minutes=5)
    assert not worker.run_once()
    pulling.later(minutes=10)
    assert worker.run_once()

    assert pulling.kept() == 3


def test_a_clock_that_is_set_back_holds_no_pull_up(pulling: Pulling) -> None:
    pulling.now += timedelta(hours=1)
    worker = pulling.worker()
    worker.run_once()
    pulling.later(hours=-1)

    assert worker.run_once()


def test_a_study_that_fails_does_not_hold_up_the_others(pulling: Pulling) -> None:
    archive = pulling.found.archive
    other = mammogram(study_uid=OTHER_STUDY, rows=16, columns=16)
    archive.datasets = [*archive.datasets, other]
    archive.before_image = lambda event, _number: (
        UNABLE if event.identifier.StudyInstanceUID == STUDY else None
    )
    pulling.worker().run_once()

    assert set(pulling.found.site.kept()) == {str(other.SOPInstanceUID)}


def test_what_failed_comes_at_the_next_turn(pulling: Pulling) -> None:
    worker, archive = pulling.worker(), pulling.found.archive
    archive.before_image = lambda _event, number: CANCEL if number else None
    worker.run_once()
    before = pulling.kept()
    archive.before_image = lambda _event, _number: None
    pulling.later(minutes=15)
    worker.run_once()

    assert (before, pulling.kept()) == (1, 3)


def test_what_was_purged_is_not_pulled_again(pulling: Pulling) -> None:
    worker = pulling.worker()
    worker.run_once()
    with pulling.found.site.store.database.write() as connection:
        connection.execute(update(jobs).values(status=ExamStatus.PURGED))
    pulling.later(minutes=15)
    worker.run_once()

    assert len(pulling.found.archive.asked) == 1


def test_exams_before_the_window_are_left_alone(pulling: Pulling) -> None:
    pulling.later(days=2)
    pulling.worker().run_once()

    assert pulling.kept() == 0


def test_a_worker_that_stops_ends_a_pull_in_mid_exam(pulling: Pulling) -> None:
    archive = pulling.found.archive

    def stop(event: object, number: int) -> None:
        if number:
            pulling.stopping.set()
            archive.stopping.wait(30)

    archive.before_image = stop
    worker = pulling.worker()
    thread = threading.Thread(target=worker.run_once)
    thread.start()
    thread.join(10)

    assert not thread.is_alive()
    assert pulling.kept() == 1


def late_image() -> Dataset:
    return mammogram(study_uid=STUDY, instance_number=9, rows=16, columns=16)
