"""What an administrator reads out of the job database."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from cadnode.core.errors import NotFound
from cadnode.core.exam import ImageState
from cadnode.core.jobs import ExamStatus, Problem
from cadnode.core.reasons import Reason
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from tests.contract.exams import (
    DONE,
    FINDING,
    GONE,
    SECOND,
    T0,
    claim,
    close,
    header_of,
    new_image,
    report,
    result,
    retry_at,
    sent,
    take,
)


@pytest.fixture
def store(database: Database) -> SqlExamStore:
    return SqlExamStore(database)


@pytest.fixture
def records(database: Database) -> ExamRecords:
    return ExamRecords(database)


def waits_for(records: ExamRecords) -> str:
    return records.list_exams()[0].waits_for


def texts(records: ExamRecords, uid: str) -> list[str]:
    return [line.text for line in records.explain(uid)]


def test_one_line_says_how_far_an_exam_is(store: SqlExamStore, records: ExamRecords):
    for number in (1, 2, 3, 4):
        store.accept(new_image(number), now=T0)
    exam = claim(store)
    store.record_image(exam, 1, state=ImageState.ANALYZED, findings=[FINDING, FINDING], now=T0)
    store.record_image(exam, 2, state=ImageState.SET_ASIDE, reason=Reason.IMPLANT, now=T0)
    store.record_image(exam, 3, state=ImageState.FAILED, reason=Reason.NO_BREAST, now=T0)
    (line,) = records.list_exams()
    assert (line.images, line.images_waiting, line.images_analyzed) == (4, 1, 1)
    assert (line.images_set_aside, line.images_failed, line.findings) == (1, 1, 2)
    assert (line.status, line.created_at) == (ExamStatus.RECEIVING, T0)
    assert line.age_seconds >= 0


def test_the_line_says_in_words_what_the_exam_waits_for(store: SqlExamStore, records: ExamRecords):
    store.accept(new_image(), now=T0)
    assert waits_for(records) == "a worker to analyze its images"
    exam = claim(store)
    assert waits_for(records) == "being worked on by w1, lease until 2026-03-01 08:01:00 UTC"
    problem = Problem("E401", "the model is missing")
    store.release_exam(exam, due_at=T0 + SECOND, problem=problem, now=T0)
    assert waits_for(records) == (
        "another try at 2026-03-01 08:00:01 UTC after E401: the model is missing"
    )
    exam = claim(store, now=T0 + SECOND)
    store.record_image(exam, 1, state=ImageState.ANALYZED, now=T0)
    store.release_exam(exam, due_at=T0 + 60 * SECOND, now=T0)
    assert waits_for(records) == "further images until 2026-03-01 08:01:00 UTC"
    exam = claim(store, now=T0 + 60 * SECOND)
    store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0)
    assert waits_for(records) == "a worker to write its result objects"
    exam, kind = claim(store), result(1).kind
    store.record_results(exam, [result(1)], {"B": [kind], "A": [kind]}, now=T0)
    assert waits_for(records) == "delivery to A, B"
    for name, decision in (("A", GONE), ("B", DONE)):
        delivery = take(store, name)
        store.record_delivery(delivery, sent(delivery), decision, now=T0)
    assert waits_for(records) == f"a person: retry or cancel (E602: delivery to A: {GONE.text})"
    store.cancel(1, why="a test", by="anna", now=T0)
    assert waits_for(records) == "the end of its retention time"
    store.mark_purged(1, now=T0)
    assert waits_for(records) == "nothing"


def test_a_failure_without_a_problem_has_its_sentence_too(
    store: SqlExamStore, records: ExamRecords
):
    store.accept(new_image(), now=T0)
    store.move_exam(claim(store), ExamStatus.FAILED, text="It failed.", now=T0)
    assert waits_for(records) == "a person: retry or cancel"


def test_the_list_is_newest_first_in_pages_and_by_status(store: SqlExamStore, records: ExamRecords):
    for number in (1, 2, 3):
        store.accept(new_image(1, f"1.{number}"), now=T0)
    store.cancel(2, why="a test", by="anna", now=T0)
    assert [line.id for line in records.list_exams()] == [3, 2, 1]
    assert [line.id for line in records.list_exams(limit=1, offset=1)] == [2]
    assert [line.id for line in records.list_exams(ExamStatus.CANCELLED)] == [2]
    counts = records.counts()
    assert (counts[ExamStatus.RECEIVING], counts[ExamStatus.CANCELLED]) == (2, 1)
    assert set(counts) == set(ExamStatus)
    assert sum(counts.values()) == 3


def test_the_detail_of_an_exam_holds_everything_and_goes_into_json(
    store: SqlExamStore, records: ExamRecords
):
    image = new_image()
    store.accept(image, now=T0)
    exam = claim(store)
    store.record_image(
        exam, 1, state=ImageState.ANALYZED, header=header_of(image), findings=[FINDING], now=T0
    )
    store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0)
    exam = claim(store)
    store.record_results(exam, [result(1)], {"A": [result(1).kind]}, now=T0)
    delivery = take(store)
    store.record_delivery(delivery, sent(delivery, None), retry_at(T0 + SECOND), now=T0)
    detail = records.exam_detail(1)
    (shown,) = detail.images
    assert (shown.laterality, shown.view, shown.findings) == ("R", "MLO", (FINDING,))
    assert detail.results[0].sop_instance_uid == result(1).sop_instance_uid
    (way,) = detail.deliveries
    assert (way.destination, way.status, way.error_code) == ("A", "pending", "E601")
    assert (way.due_at, way.tries) == (T0 + SECOND, 1)
    assert [event.kind for event in detail.events] == [
        "receiving",
        "image-received",
        "image-analyzed",
        "analyzed",
        "result-written",
        "reported",
        "delivery-retry",
    ]
    in_json = json.loads(json.dumps(asdict(detail), default=lambda time: time.isoformat()))
    assert in_json["exam"]["created_at"] == "2026-03-01T08:00:00+00:00"
    assert in_json["images"][0]["findings"][0]["score"] == 0.75


def test_an_image_is_explained_with_its_reason_and_without_its_neighbours(
    store: SqlExamStore, records: ExamRecords
):
    store.accept(new_image(1), now=T0)
    store.accept(new_image(2), now=T0)
    store.accept(new_image(1), now=T0 + SECOND)
    exam = claim(store, now=T0 + SECOND)
    store.record_image(
        exam, 1, state=ImageState.SET_ASIDE, reason=Reason.MAGNIFICATION, now=T0 + SECOND
    )
    assert texts(records, "1.2.3.9.1") == [
        "Exam 1: The first image of the study came: a new exam.",
        "Exam 1: Image 1.2.3.9.1 was received from MODALITY and kept.",
        "Exam 1: Image 1.2.3.9.1 came again from MODALITY with the same bytes; nothing changed.",
        "Exam 1: Image 1.2.3.9.1 was set aside: a magnification or spot view is not a screening "
        "view. [N104]",
        "Now image 1.2.3.9.1 is set aside: a magnification or spot view is not a screening "
        "view [N104].",
    ]


def test_bytes_that_changed_are_part_of_the_story(store: SqlExamStore, records: ExamRecords):
    store.accept(new_image(), now=T0)
    store.accept(new_image(content="b"), now=T0)
    changed = (
        "Exam 1: Image 1.2.3.9.1 came again from MODALITY with other bytes: "
        "revision 1 reads the new ones. [E202]"
    )
    assert changed in texts(records, "1.2.3.9.1")


def test_a_study_and_a_series_are_explained_through_all_their_images(
    store: SqlExamStore, records: ExamRecords
):
    store.accept(new_image(1), now=T0)
    report(store, "A")
    store.accept(new_image(2), now=T0 + SECOND)
    store.accept(new_image(1, "9.9"), now=T0)
    for uid in ("1.2.3", "1.2.3.8"):
        story = "\n".join(texts(records, uid))
        assert "1.2.3.9.1 was received" in story
        assert "1.2.3.9.2 was received" in story
        assert "revision 2 of the exam" in story
        assert "9.9" not in story
    assert "pending at A" in "\n".join(texts(records, "1.2.3"))
    times = [line.at for line in records.explain("1.2.3")]
    assert times == sorted(times)


def test_an_image_hears_of_the_later_revision_that_corrects_its_result(
    store: SqlExamStore, records: ExamRecords
):
    store.accept(new_image(1), now=T0)
    report(store)
    store.accept(new_image(2), now=T0 + SECOND)
    assert "revision 2" in "\n".join(texts(records, "1.2.3.9.1"))
    assert "first image" not in "\n".join(texts(records, "1.2.3.9.2"))


def test_a_result_object_is_explained_with_its_deliveries(
    store: SqlExamStore, records: ExamRecords
):
    store.accept(new_image(), now=T0)
    store.record_results(
        close(store), [result(1)], {"A": [result(1).kind], "B": [result(1).kind]}, now=T0
    )
    delivery = take(store, "B")
    store.record_delivery(delivery, sent(delivery), GONE, now=T0)
    uid = result(1).sop_instance_uid
    for asked in (uid, result(1).series_instance_uid):
        story = texts(records, asked)
        assert f"Exam 1: Result object {uid} (mammography-cad-sr) was written." in story
        assert (
            story[-2] == f"Now result object {uid} (mammography-cad-sr) is pending at A, tries: 0."
        )
        assert story[-1].startswith(f"Now result object {uid} (mammography-cad-sr) is failed at B")


def test_what_was_never_seen_is_not_found(records: ExamRecords):
    with pytest.raises(NotFound):
        records.explain("1.2.3")
    with pytest.raises(NotFound):
        records.exam_detail(1)
