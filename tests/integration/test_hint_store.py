"""What is due as hints, on each engine, and the store that tells after each commit who has changed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cadnode.core.errors import LeaseLost
from cadnode.core.exam import ImageState
from cadnode.core.hints import Hint, Line
from cadnode.core.jobs import Acceptance, ExamStatus, Priority
from cadnode.core.processes import ANALYSIS, DELIVERY
from cadnode.core.retry import Decision, SendCause, SendOutcome, Verdict
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.hinting import HintingExamStore
from cadnode.storage.hints import HintRecords
from tests.contract.exams import LEASE, SECOND, T0, claim, new_image, report
from tests.postgres import database

__all__ = ["database"]

EXAMS, PACS = Line(ANALYSIS), Line(DELIVERY, "pacs")


@pytest.fixture
def store(database: Database) -> SqlExamStore:
    return SqlExamStore(database)


@pytest.fixture
def records(database: Database) -> HintRecords:
    return HintRecords(database)


def exams(hints) -> list[int]:
    return [hint.exam_id for hint in hints]


def test_an_exam_is_due_until_somebody_holds_it_and_when_the_lease_is_over(store, records):
    store.accept(new_image(), now=T0)
    (hint,) = records.of_study("1.2.3", now=T0)
    assert hint == Hint(EXAMS, hint.exam_id, Priority.NORMAL)
    assert records.of_exam(hint.exam_id, now=T0) == [hint]
    held = claim(store)
    for now, there in ((T0, []), (T0 + LEASE, [hint])):
        assert records.of_study("1.2.3", now=now) == there
        assert records.of_exam(held.id, now=now) == there
        assert records.due(["pacs"], now=now, limit=9) == there


def test_an_exam_put_off_is_due_when_its_time_has_come(store, records):
    store.accept(new_image(), now=T0)
    exam = claim(store)
    store.release_exam(exam, due_at=T0 + 9 * SECOND, now=T0)
    assert records.of_exam(exam.id, now=T0 + 8 * SECOND) == []
    assert exams(records.due([], now=T0 + 9 * SECOND, limit=9)) == [exam.id]


def test_the_sweep_sees_urgent_exams_first_then_the_oldest_and_so_many_only(store, records):
    for second, study in enumerate(("1.1", "1.2", "1.3")):
        store.accept(new_image(study=study), now=T0 + second * SECOND)
    first, second, third = exams(records.due([], now=T0 + 9 * SECOND, limit=9))
    store.set_priority(third, Priority.URGENT, by="a person", now=T0)
    due = records.due([], now=T0 + 9 * SECOND, limit=2)
    assert exams(due) == [third, first]
    assert due[0].priority is Priority.URGENT
    assert records.due([], now=T0, limit=9) == [Hint(EXAMS, first)]
    assert second not in exams(due)


def test_results_are_due_at_each_destination_once(store, records):
    store.accept(new_image(), now=T0)
    exam = report(store, "pacs", "mini")
    assert set(records.of_exam(exam.id, now=T0)) == {
        Hint(PACS, exam.id),
        Hint(Line(DELIVERY, "mini"), exam.id),
    }
    assert records.due(["pacs", "other"], now=T0, limit=9) == [Hint(PACS, exam.id)]
    store.claim_deliveries("pacs", "w1", now=T0, lease=LEASE, limit=9)
    assert records.due(["pacs"], now=T0, limit=9) == []
    assert records.due(["pacs"], now=T0 + LEASE, limit=9) == [Hint(PACS, exam.id)]


class Told:
    """Hints that remember who has changed."""

    trouble = ""

    def __init__(self) -> None:
        self.changed: list[int | str] = []

    def exam_changed(self, exam_id: int) -> None:
        self.changed.append(exam_id)

    def study_changed(self, study_instance_uid: str) -> None:
        self.changed.append(study_instance_uid)

    def close(self) -> None:
        """Nothing."""

    def take(self) -> list[int | str]:
        changed, self.changed = self.changed, []
        return changed


def test_every_step_of_an_exam_tells_who_has_changed_after_its_commit(database: Database):
    told = Told()
    store = HintingExamStore(database, told)
    assert store.accept(new_image(), now=T0) is Acceptance.NEW
    assert told.take() == ["1.2.3"]
    assert store.accept(new_image(), now=T0) is Acceptance.SAME
    assert told.take() == []
    exam = claim(store)
    store.record_image(exam, exam.images[0].id, state=ImageState.ANALYZED, now=T0)
    assert told.take() == []
    store.release_exam(exam, due_at=T0, now=T0)
    exam_id = exam.id
    assert told.take() == [exam_id]
    exam = report(store, "pacs")
    assert told.take() == [exam_id, exam_id]
    (delivery,) = store.claim_deliveries("pacs", "w1", now=T0, lease=LEASE, limit=9)
    store.release_deliveries([delivery], now=T0)
    assert told.take() == [exam_id]
    (delivery,) = store.claim_deliveries("pacs", "w1", now=T0, lease=LEASE, limit=9)
    store.record_delivery(
        delivery,
        SendOutcome(delivery.result.sop_instance_uid, SendCause.ANSWERED, 0),
        Decision(Verdict.DONE, None, "stored"),
        now=T0,
    )
    assert told.take() == [exam_id]


def test_what_changed_nothing_tells_nobody(database: Database):
    told = Told()
    store = HintingExamStore(database, told)
    store.accept(new_image(), now=T0)
    late = claim(store)
    claim(store, "w2", T0 + LEASE)
    told.take()
    with pytest.raises(LeaseLost):
        store.release_exam(late, due_at=T0, now=T0 + LEASE)
    with pytest.raises(LeaseLost):
        store.move_exam(late, ExamStatus.ANALYZED, text="x", now=T0 + LEASE + timedelta(1))
    assert told.take() == []
