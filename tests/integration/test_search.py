"""The search for exams against a plain look at every row, page by page and in both directions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, insert

from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus
from cadnode.core.search import (
    WAITING,
    Count,
    Cursor,
    ExamSearch,
    Order,
    SearchPage,
    guesses,
    received_on,
)
from cadnode.storage import search as searching
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.search import SearchRecords
from cadnode.storage.tables import exam_identifiers, jobs
from tests.contract.exams import KNOWN, SECOND, T0, deliver, new_image, result
from tests.integration.test_storage_plans import Plans
from tests.postgres import PostgreSQL

EXAMS = 300
PATIENTS = ("P100", "P101", "P1", "P2", "Q100", "UNKNOWN")
SENDERS = ("MG1", "MG2", "VAN")
TODAY = date(2026, 3, 20)


@dataclass(frozen=True)
class Row:
    id: int
    at: datetime
    status: ExamStatus
    sender: str
    code: str | None
    known: ExamIdentifiers


def _rows() -> list[Row]:
    dice = random.Random(20260301)  # noqa: S311
    return [
        Row(
            id=number,
            # Several in one second, and not in the order of their numbers: clocks are put right.
            at=T0 + timedelta(seconds=dice.randrange(EXAMS // 2)),
            status=dice.choice([*ExamStatus, *[ExamStatus.PURGED] * 20]),
            sender=dice.choice([*SENDERS[:2] * 8, SENDERS[2]]),
            code=dice.choice([None, None, "E602", "E601"]),
            known=ExamIdentifiers(
                dice.choice([*PATIENTS, *["UNKNOWN"] * 5, None]),
                dice.choice([f"A{number // 2}", None]),
                dice.choice([date(2026, 3, dice.randrange(1, 20)), None]),
            ),
        )
        for number in range(1, EXAMS + 1)
    ]


ROWS = _rows()


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path_factory.mktemp('search') / 'jobs.db'}"
    upgrade(url)
    database = Database(url)
    fill(database)
    yield database
    database.close()


@pytest.fixture(scope="module")
def server(postgres: PostgreSQL) -> Iterator[Database]:
    with postgres.migrated() as database:
        fill(database)
        yield database


@pytest.fixture(params=["sqlite", "server"])
def database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(request.param)
    return database


def fill(database: Database) -> None:
    """One exam for each of the rows."""
    with database.write() as connection:
        for row in ROWS:
            connection.execute(
                insert(jobs).values(
                    id=row.id,
                    study_instance_uid=f"1.2.{row.id}",
                    revision=1,
                    status=row.status,
                    calling_ae=row.sender,
                    image_count=0,
                    created_at=row.at,
                    last_image_at=row.at,
                    due_at=row.at,
                    tries=0,
                    error_code=row.code,
                )
            )
            if row.known:
                connection.execute(
                    insert(exam_identifiers).values(
                        job_id=row.id,
                        exam_created_at=row.at,
                        patient_id=row.known.patient_id,
                        accession_number=row.known.accession_number,
                        study_date=row.known.study_date,
                    )
                )


@pytest.fixture(params=["as it is", "looking at few"])
def records(
    request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> SearchRecords:
    if request.param == "looking at few":
        for name, most in (
            ("SHORT_WALK", 3),
            ("LONG_WALK", 20),
            ("MOST_SORTED", 15),
            ("MOST_JUDGED", 10),
        ):
            monkeypatch.setattr(searching, name, most)
    return SearchRecords(database)


def fits(row: Row, search: ExamSearch) -> bool:
    known = row.known
    statuses = search.statuses
    if not statuses and (search.order is Order.WAITING_LONGEST or search.error_code):
        statuses = WAITING
    patient = search.patient_id
    return all(
        (
            search.exam_id in (None, row.id),
            search.uid in (None, f"1.2.{row.id}"),
            search.accession_number in (None, known.accession_number),
            patient is None
            or known.patient_id == patient
            or (search.by_beginning and (known.patient_id or "").startswith(patient)),
            search.received_from is None or row.at >= search.received_from,
            search.received_before is None or row.at < search.received_before,
            search.studied_from is None
            or (known.study_date is not None and known.study_date >= search.studied_from),
            search.studied_to is None
            or (known.study_date is not None and known.study_date <= search.studied_to),
            not statuses or row.status in statuses,
            search.calling_ae in (None, row.sender),
            search.error_code in (None, row.code),
        )
    )


def expected(search: ExamSearch) -> list[int]:
    found = sorted((row.at, row.id) for row in ROWS if fits(row, search))
    if search.order is Order.NEWEST:
        found.reverse()
    return [number for _, number in found]


def some_searches() -> list[ExamSearch]:
    dice = random.Random(7)  # noqa: S311
    statuses = [
        *[frozenset()] * 3,
        frozenset({ExamStatus.FAILED}),
        frozenset({ExamStatus.PURGED, ExamStatus.RECEIVING}),
    ]
    found = []
    for _ in range(60):
        patient = dice.choice([None, None, *PATIENTS, "nobody"])
        found.append(
            ExamSearch(
                accession_number=dice.choice([None] * 5 + ["A17"]),
                patient_id=patient,
                by_beginning=patient is not None and len(patient) > 2 and dice.random() < 0.5,
                received_from=dice.choice([None, None, T0 + 30 * SECOND]),
                received_before=dice.choice([None, None, T0 + 100 * SECOND]),
                studied_from=dice.choice([None] * 3 + [date(2026, 3, 5)]),
                studied_to=dice.choice([None] * 3 + [date(2026, 3, 9)]),
                statuses=dice.choice(statuses),
                calling_ae=dice.choice([None, None, None, *SENDERS, "NOBODY"]),
                error_code=dice.choice([None] * 5 + ["E602"]),
                order=dice.choice(list(Order)),
            )
        )
    return [
        *found,
        ExamSearch(),
        ExamSearch(uid="1.2.77"),
        ExamSearch(exam_id=8),
        ExamSearch(exam_id=EXAMS + 1),
        ExamSearch(patient_id="P10", by_beginning=True),
        ExamSearch(patient_id="UNKNOWN", statuses=frozenset({ExamStatus.CANCELLED})),
    ]


def forwards(records: SearchRecords, search: ExamSearch, limit: int) -> list[SearchPage]:
    pages = [records.find(search, limit=limit)]
    while pages[-1].later is not None:
        pages.append(records.find(search, limit=limit, cursor=pages[-1].later))
    return pages


@pytest.mark.parametrize("search", some_searches())
def test_the_pages_together_are_every_exam_that_fits_in_order(
    records: SearchRecords, search: ExamSearch
):
    pages = forwards(records, search, 7)
    assert [one.exam.id for page in pages for one in page.exams] == expected(search)
    assert all(page.looked_until for page in pages if len(page.exams) < 7 and page.later)
    assert pages[0].earlier is None


@pytest.mark.parametrize("search", some_searches()[::3])
def test_the_same_pages_lead_back_to_the_first(records: SearchRecords, search: ExamSearch):
    pages = [page for page in forwards(records, search, 7) if page.exams]
    if len(pages) < 2:
        return
    back = [records.find(search, limit=7, cursor=pages[-1].earlier)]
    while back[-1].earlier is not None:
        back.append(records.find(search, limit=7, cursor=back[-1].earlier))
    found = [one.exam.id for page in reversed(back) for one in page.exams]
    assert found == expected(search)[: -len(pages[-1].exams)]


@pytest.mark.parametrize("search", some_searches())
def test_the_number_is_right_or_said_to_be_a_part(records: SearchRecords, search: ExamSearch):
    count, right = records.count(search), len(expected(search))
    assert count.number == right if count.exact else count.number <= right


def test_a_list_goes_on_where_it_was_when_newer_exams_come(tmp_path: Path):
    upgrade(f"sqlite:///{tmp_path / 'jobs.db'}")
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    store, records = SqlExamStore(database), SearchRecords(database)
    for number in range(4):
        store.accept(new_image(1, f"1.{number}"), now=T0 + number * SECOND)
    first = records.find(ExamSearch(), limit=2)
    store.accept(new_image(1, "1.9"), now=T0 + 9 * SECOND)
    second = records.find(ExamSearch(), limit=2, cursor=first.later)
    assert [one.exam.id for page in (first, second) for one in page.exams] == [4, 3, 2, 1]
    assert second.earlier is not None
    newer = records.find(ExamSearch(), limit=2, cursor=second.earlier)
    assert [one.exam.id for one in newer.exams] == [4, 3]
    assert newer.earlier is not None
    database.close()


def test_every_exam_is_read_in_order_for_a_file(records: SearchRecords, monkeypatch):
    monkeypatch.setattr(searching, "_STREAMED", 11)
    search = ExamSearch(patient_id="UNKNOWN")
    assert [one.exam.id for one in records.stream(search)] == expected(search)


def test_a_uid_of_anything_in_a_study_finds_every_revision(tmp_path: Path):
    upgrade(f"sqlite:///{tmp_path / 'jobs.db'}")
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    store, records = SqlExamStore(database), SearchRecords(database)
    store.accept(new_image(1, identifiers=KNOWN), now=T0)
    deliver(store)
    store.accept(new_image(2), now=T0 + SECOND)
    store.accept(new_image(1, "1.7"), now=T0)
    sent = result(1)
    image = new_image(1)
    found = records.find(ExamSearch(), limit=9)
    for uid in (
        image.study_instance_uid,
        image.series_instance_uid,
        image.sop_instance_uid,
        sent.sop_instance_uid,
        sent.series_instance_uid,
    ):
        found = records.find(ExamSearch(uid=uid), limit=9)
        assert [one.exam.id for one in found.exams] == [2, 1], uid
    assert found.exams[1].identifiers == KNOWN
    assert found.exams[0].calling_ae == "MODALITY"
    database.close()


def test_two_studies_under_one_accession_number_know_of_each_other(tmp_path: Path):
    upgrade(f"sqlite:///{tmp_path / 'jobs.db'}")
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    store, records = SqlExamStore(database), SearchRecords(database)
    for study, accession in (("1.1", "A-1"), ("1.2", "A-1"), ("1.3", "A-2"), ("1.4", None)):
        known = replace(KNOWN, accession_number=accession)
        store.accept(new_image(1, study, identifiers=known), now=T0)
    others = {number: records.others_of_accession(number, limit=5) for number in (1, 3, 4, 99)}
    assert {number: [one.exam.id for one in found] for number, found in others.items()} == {
        1: [2],
        3: [],
        4: [],
        99: [],
    }
    database.close()


def test_the_senders_are_those_that_sent(records: SearchRecords):
    assert list(records.senders()) == sorted(SENDERS)


@pytest.mark.parametrize(
    ("typed", "meaning", "first"),
    [
        ("1.2.77", "UID", 77),
        ("#8", "exam number", 8),
        ("8", "exam number", 8),
        (" A17 ", "accession number", None),
        ("a17", "accession number", None),
        ("P100", "Patient ID", None),
        ("q100", "Patient ID", None),
        ("P10", "beginning of a Patient ID", None),
        ("unk", "beginning of a Patient ID", None),
        ("van", "sender", None),
        ("failed", "status", None),
        ("20260301", "day received", None),
        ("2026-03-01", "day received", None),
    ],
)
def test_what_is_typed_is_understood_as_what_it_finds(
    records: SearchRecords, typed: str, meaning: str, first: int | None
):
    found = records.first_that_finds(guesses(typed, today=TODAY, zone=UTC))
    assert found is not None
    assert found.meaning == meaning
    if first is not None:
        assert expected(found.search) == [first]


@pytest.mark.parametrize("typed", ["", "  ", "x", "#999999", "9.9.9", "Doe^Jane", "2026-13-45"])
def test_what_finds_nothing_is_understood_as_nothing(records: SearchRecords, typed: str):
    assert records.first_that_finds(guesses(typed, today=TODAY, zone=UTC)) is None


def test_a_day_is_from_midnight_to_midnight_where_the_node_stands():
    first, last = received_on(date(2026, 3, 1), date(2026, 3, 1), UTC)
    assert first == datetime(2026, 3, 1, tzinfo=UTC)
    assert last == datetime(2026, 3, 2, tzinfo=UTC)


def test_a_cursor_survives_an_address_and_nothing_else_is_one():
    here = Cursor(T0 + timedelta(microseconds=17), 42, backwards=True)
    assert Cursor.of(str(here)) == here
    for text in ("", "f", "x20260301T080000000000-1", "f20260301T080000000000-", "f2026-1", "f-1"):
        with pytest.raises(ValueError, match=r"."):
            Cursor.of(text)


def test_a_beginning_of_two_characters_names_nobody():
    with pytest.raises(ValueError, match="at least 3 characters"):
        ExamSearch(patient_id="P1", by_beginning=True)


def test_a_search_shows_no_patient_when_it_is_printed():
    search = ExamSearch(patient_id="P-4711", accession_number="A-4711")
    assert "4711" not in repr((search, KNOWN, new_image(identifiers=KNOWN)))
    assert str(Count(3, exact=True)) == "3"
    assert str(Count(10_000, exact=False)) == "at least 10,000"


@pytest.fixture
def plans() -> Iterator[Plans]:
    plans = Plans()
    event.listen(Engine, "before_cursor_execute", plans)
    yield plans
    event.remove(Engine, "before_cursor_execute", plans)


@pytest.mark.parametrize("search", some_searches()[::4])
def test_no_search_reads_a_whole_table(sqlite: Database, plans: Plans, search: ExamSearch):
    records = SearchRecords(sqlite)
    here = Cursor(T0 + 60 * SECOND, 9)
    records.find(search, limit=5)
    records.find(search, limit=5, cursor=here)
    records.count(search)
    assert plans.seen
    # Newest first without a filter is a walk along an index, not a look at every row.
    unfiltered = ("SCAN jobs USING COVERING INDEX ix_jobs_created_at_id",)
    assert [step for _, step in plans.slow if step not in unfiltered] == []
