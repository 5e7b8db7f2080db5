"""Every query of docs/sql.md answers its question, on a database of each kind with something of
everything."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tzlocal import get_localzone_name

from cadnode.core.exam import ImageState
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import Exam, ExamStatus, Problem, StoredResult
from cadnode.core.reasons import Reason
from cadnode.core.retry import Decision, SendCause, SendOutcome, Verdict
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.tables import metadata
from tests.contract.exams import LEASE, new_image
from tests.postgres import PostgreSQL

DOCS = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
_BLOCK = r".*?```sql\n(.*?)```"
QUESTIONS = dict(re.findall(r"^### (\d+)\. " + _BLOCK, DOCS, re.MULTILINE | re.DOTALL))
ON_POSTGRESQL = dict(
    re.findall(r"^\*\*(\d+) on PostgreSQL\*\*" + _BLOCK, DOCS, re.MULTILINE | re.DOTALL)
)
AS_ON_SQLITE = re.search(r"Questions (\d+) and (\d+) are asked as they stand", DOCS)
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
NOON = (NOW - 4 * DAY).replace(hour=12, minute=5)

Answers = list[dict[str, object]]
Ask = Callable[[int], Answers]


class Site:
    """A node's database, made by what its store is asked to do."""

    def __init__(self, store: SqlExamStore) -> None:
        self.store = store
        self.exams = 0

    def exam(self, *, at: datetime, sender: str = "MG1", images: int = 1, accession: str = ""):
        """A new exam that a worker holds."""
        self.exams += 1
        known = ExamIdentifiers(accession_number=accession or None)
        for number in range(1, images + 1):
            image = new_image(number, f"1.2.{self.exams}", identifiers=known)
            values = {name: getattr(image, name) for name in image.__dataclass_fields__}
            self.store.accept(type(image)(**(values | {"calling_ae": sender})), now=at)
        exam = self.store.claim_exam("host:7:aa", now=at, lease=LEASE)
        assert exam is not None
        return exam

    def judge(self, exam: Exam, state: ImageState, *, reason: Reason | None, at: datetime) -> None:
        for image in exam.images:
            self.store.record_image(exam, image.id, state=state, reason=reason, now=at)

    def fail(self, exam: Exam, code: str, *, at: datetime) -> None:
        problem = Problem(code, "no")
        self.store.move_exam(exam, ExamStatus.FAILED, text="It failed.", problem=problem, now=at)

    def skip(self, exam: Exam, *, at: datetime) -> None:
        self.store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing to read.", now=at)

    def report(self, exam: Exam, *destinations: str, at: datetime) -> None:
        self.store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=at)
        held = self.store.claim_exam("host:7:aa", now=at, lease=LEASE)
        assert held is not None
        uid = f"2.25.{exam.id}"
        found = StoredResult("tid1500-sr", "1.2.88.33", uid, f"{uid}.1", f"r/{uid}", "aa", 9)
        self.store.record_results(
            held, [found], {name: ["tid1500-sr"] for name in destinations}, now=at
        )

    def deliver(self, destination: str, *, at: datetime, proof: bool = False) -> None:
        due = self.store.claim_deliveries(destination, "host:7:aa", now=at, lease=LEASE, limit=9)
        for delivery in due:
            outcome = SendOutcome(delivery.result.sop_instance_uid, SendCause.ANSWERED, 0)
            self.store.record_delivery(
                delivery,
                outcome,
                Decision(Verdict.DONE, None, "stored"),
                proof_due_at=at if proof else None,
                now=at,
            )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a filled database one of the questions, as whoever may only read."""
    # The queries ask how long ago; what was read when the suite began may be an hour old by now.
    global NOW, NOON
    NOW = datetime.now(UTC)
    NOON = (NOW - 4 * DAY).replace(hour=12, minute=5)
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgres")
        with server.empty() as url:
            fill_new(url)
            yield lambda number: _ask_server(url, number)
        return
    file = tmp_path_factory.mktemp("sql") / "cadnode.db"
    fill_new(f"sqlite:///{file}")
    yield lambda number: _ask_file(file, number)


def _ask_file(file: Path, number: int) -> Answers:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(QUESTIONS[str(number)])]


def _ask_server(url: str, number: int) -> Answers:
    question = ON_POSTGRESQL.get(str(number)) or QUESTIONS[str(number)]
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET TIME ZONE '{get_localzone_name()}'")
            # The question as it stands: % and : mean nothing to `psql`.
            cursor = connection.connection.cursor()
            cursor.execute(question)
            assert cursor.description is not None
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        engine.dispose()


def fill_new(url: str) -> None:
    upgrade(url)
    database = Database(url)
    fill(Site(SqlExamStore(database)))
    database.close()


def fill(site: Site) -> None:
    """Exams 1 to 9; the comments say which question finds them."""
    # 1: failed twice this week; 9: it has the accession number; 10: retried by a person.
    first = site.exam(at=NOW - 2 * DAY, accession="A1001")
    site.fail(first, "E801", at=NOW - 2 * DAY)
    site.store.retry(first.id, by="anna", now=NOW - DAY)
    again = site.store.claim_exam("host:7:aa", now=NOW - DAY, lease=LEASE)
    assert again is not None
    site.fail(again, "E801", at=NOW - DAY)
    # 2: failed long ago; 10: and was cancelled then.
    old = site.exam(at=NOW - 60 * DAY)
    site.fail(old, "E602", at=NOW - 60 * DAY)
    site.store.cancel(old.id, why="a test object", by="ben", now=NOW - 59 * DAY)
    # 3: failed otherwise, a few minutes ago; 6: its images could not be read.
    broken = site.exam(at=NOW - HOUR / 2, sender="MG2", images=2)
    site.judge(broken, ImageState.FAILED, reason=Reason.NO_PIXEL_DATA, at=NOW - HOUR / 2)
    site.fail(broken, "E501", at=NOW - HOUR / 2)
    # 4: every image set aside.
    implant = site.exam(at=NOW - 3 * DAY, images=2)
    site.judge(implant, ImageState.SET_ASIDE, reason=Reason.IMPLANT, at=NOW - 3 * DAY)
    site.skip(implant, at=NOW - 3 * DAY)
    # 5 to 8: delivered to pacs after 10, 20, 30 and 100 s, to ws after 7 s.
    for seconds in (10, 20, 30, 100):
        came = NOON
        exam = site.exam(at=came)
        site.judge(exam, ImageState.ANALYZED, reason=None, at=came)
        site.report(exam, "pacs", *(["ws"] if seconds == 10 else []), at=came)
        site.deliver("ws", at=came + 7 * SECOND, proof=True)
        site.deliver("pacs", at=came + seconds * SECOND)
    # 9: today, from a sender of its own, and waiting for its archive.
    waiting = site.exam(at=NOW - 5 * SECOND, sender="MG3", images=4)
    site.judge(waiting, ImageState.ANALYZED, reason=None, at=NOW)
    site.report(waiting, "pacs", at=NOW)


def test_there_are_ten_questions():
    assert list(QUESTIONS) == [str(number) for number in range(1, 11)]


def test_each_of_them_can_be_asked_of_postgresql():
    assert AS_ON_SQLITE is not None
    as_they_stand = set(AS_ON_SQLITE.groups())
    assert set(ON_POSTGRESQL) == set(QUESTIONS) - as_they_stand
    for number in as_they_stand:
        assert not re.search(r"julianday|datetime\(|date\(|group_concat", QUESTIONS[number])


def test_every_table_and_the_view_are_explained():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [\w`]", DOCS, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(metadata.tables)
    assert "`exam_overview`" in DOCS


def test_what_failed_this_week_is_counted_by_its_cause(ask: Ask):
    answers = ask(1)
    assert [(a["code"], a["failures"], a["exams"]) for a in answers] == [
        ("E501", 1, 1),
        ("E801", 2, 1),
    ]


def test_exams_that_wait_for_more_than_an_hour_say_for_what(ask: Ask):
    answers = ask(2)
    assert [(a["id"], a["status"]) for a in answers] == [(1, "failed")]
    assert str(answers[0]["waits_for"]).startswith("a person: retry or cancel (E801")
    assert 2 * 1440 <= int(str(answers[0]["minutes"])) < 2 * 1440 + 10


def test_deliveries_of_each_destination_with_their_median_and_the_longest(ask: Ask):
    assert ask(3) == [
        {"destination": "pacs", "objects": 4, "median_seconds": 25.0, "longest_seconds": 100.0},
        {"destination": "ws", "objects": 1, "median_seconds": 7.0, "longest_seconds": 7.0},
    ]


def test_what_each_sender_has_sent_today(ask: Ask):
    answers = {str(a["sender"]): a for a in ask(4)}
    # What came half an hour ago may be of yesterday, just after midnight.
    assert set(answers) - {"MG2"} <= {"MG3"}
    if (NOW - 5 * SECOND).astimezone().date() == datetime.now().astimezone().date():
        assert (answers["MG3"]["images"], answers["MG3"]["exams"]) == (4, 1)


def test_exams_of_which_every_image_was_set_aside_say_why(ask: Ask):
    (answer,) = ask(5)
    assert (answer["id"], answer["status"], answer["reasons"]) == (4, "skipped", "N105")


def test_images_that_could_not_be_read_are_counted_by_sender_and_reason(ask: Ask):
    assert [(a["sender"], a["reason"], a["images"]) for a in ask(6)] == [("MG2", "N201", 2)]


def test_the_way_of_an_exam_takes_so_long_day_by_day(ask: Ask):
    (answer,) = ask(7)
    day = NOON.astimezone().date().isoformat()
    assert answer["exams"] == 4
    assert (answer["half_within_seconds"], answer["most_within_seconds"]) == (20.0, 100.0)
    assert str(answer["day"]) == day


def test_results_that_are_stored_and_not_proved_are_listed(ask: Ask):
    (answer,) = ask(8)
    assert (answer["destination"], answer["exam"], answer["proof"]) == ("ws", 5, "wanted")


def test_an_accession_number_leads_to_all_that_happened(ask: Ask):
    answers = ask(9)
    assert {a["exam"] for a in answers} == {1}
    kinds = [a["kind"] for a in answers]
    assert kinds[0] == "receiving"
    assert kinds.count("failed") == 2
    assert "retry" in kinds


def test_what_persons_decided_is_told_with_who_it_was(ask: Ask):
    assert [(a["who"], a["what"], a["exam"]) for a in ask(10)] == [("anna", "retry", 1)]
