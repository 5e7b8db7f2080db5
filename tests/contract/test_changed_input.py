"""What every ExamStore does with other bytes of an image it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cadnode.core.errors import IllegalMove, LeaseLost, StaleExam
from cadnode.core.exam import ImageState
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.ports import ExamStore
from cadnode.core.reasons import Reason
from tests.contract.exams import (
    DAY,
    SECOND,
    T0,
    claim,
    close,
    current_sets,
    deliver,
    new_image,
    over,
    record,
    report,
    result,
    snapshot,
    statuses,
)


class TestChangedInput:
    def test_other_bytes_of_an_image_wait_to_be_read_in_place_of_the_first(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert store.accept(new_image(1, content="b"), now=T0 + SECOND) is Acceptance.CHANGED
        exam = claim(store, now=T0 + SECOND)
        (image,) = exam.images
        assert (image.sha256, image.state, exam.revision) == ("b", ImageState.RECEIVED, 1)
        assert [event[2:4] for event in snapshot(store)["events"]][-1] == ("image-replaced", "E202")

    def test_bytes_that_change_after_the_result_make_a_revision_that_renews(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        deliver(store)
        assert store.accept(new_image(1, content="b"), now=T0 + SECOND) is Acceptance.CHANGED
        second = close(store, T0 + SECOND)
        assert (second.revision, second.renews) == (2, True)
        assert [(i.sha256, i.revision) for i in second.images] == [("b", 2), ("a", 1)]
        assert len(store.predecessors(second)) == 1
        record(store, second, "A", now=T0 + SECOND)
        assert current_sets(store) == [2]

    def test_the_same_changed_bytes_three_times_are_one_change(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        answers = [store.accept(new_image(1, content="b"), now=T0) for _ in range(3)]
        assert answers == [Acceptance.CHANGED, Acceptance.SAME, Acceptance.SAME]
        assert statuses(store) == ["delivered", "receiving"]

    def test_bytes_that_change_while_the_image_is_read_are_read_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(1, content="b"), now=T0 + SECOND)
        for attempt in (
            lambda: store.begin_image(exam, 1, now=T0),
            lambda: store.record_image(exam, 1, state=ImageState.ANALYZED, now=T0),
            lambda: store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0),
        ):
            with pytest.raises(StaleExam):
                attempt()
        store.release_exam(exam, due_at=T0 + DAY, now=T0 + SECOND)
        assert claim(store, now=T0 + SECOND).images[0].sha256 == "b"

    @pytest.mark.parametrize(
        ("reason", "state"),
        [
            (Reason.PATIENT_DIFFERS, ImageState.RECEIVED),
            (Reason.PRESENTATION_PREFERRED, ImageState.RECEIVED),
            (Reason.IMPLANT, ImageState.SET_ASIDE),
        ],
    )
    def test_what_was_set_aside_for_what_another_image_was_is_judged_again(
        self, store: ExamStore, reason: Reason, state: ImageState
    ):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        exam = claim(store)
        store.record_image(exam, 2, state=ImageState.SET_ASIDE, reason=reason, now=T0)
        store.release_exam(exam, due_at=T0, now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        assert [image.state for image in claim(store).images] == [ImageState.RECEIVED, state]

    def test_an_exam_closed_with_bytes_that_changed_is_never_reported(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = close(store)
        store.accept(new_image(1, content="b"), now=T0)
        with pytest.raises(LeaseLost):
            store.record_results(first, [result(1)], {}, now=T0)
        assert statuses(store) == ["superseded", "receiving"]
        report(store)
        assert current_sets(store) == [2]

    def test_the_replaced_file_stays_known_until_its_exam_is_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        changed = replace(new_image(1, content="b"), path="images/changed")
        store.accept(changed, now=T0)
        deliver(store)
        files = []
        for exam_id in (2, 1):
            assert over(store, T0 + DAY) == [exam_id]
            files.append(list(store.mark_purged(exam_id, now=T0 + DAY)))
        assert files == [
            ["images/changed", result(2).path],
            ["images/1.2.3-1", result(1).path],
        ]

    def test_bytes_that_come_back_after_they_were_replaced_count_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(replace(new_image(1, content="b"), path="images/changed"), now=T0)
        assert store.accept(new_image(1), now=T0) is Acceptance.CHANGED
        store.cancel(1, why="a test", by="anna", now=T0)
        assert list(store.mark_purged(1, now=T0 + DAY)) == ["images/1.2.3-1", "images/changed"]

    def test_an_image_that_names_another_study_is_refused(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        before = snapshot(store)
        moved = replace(new_image(1, content="b"), study_instance_uid="1.2.4")
        assert store.accept(moved, now=T0) is Acceptance.CONFLICT
        after = snapshot(store)
        assert after["events"].pop()[2:4] == ("image-conflict", "E202")
        assert after == before

    def test_an_exam_whose_bytes_changed_in_a_cancelled_revision_is_not_retried(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        store.cancel(2, why="a mistake", by="anna", now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        assert store.reanalyze(1, by="anna", now=T0) == 3

    @pytest.mark.parametrize("delivered", [True, False])
    def test_purged_bytes_that_come_back_say_whether_their_result_was_delivered(
        self, store: ExamStore, delivered: bool
    ):
        store.accept(new_image(1), now=T0)
        if delivered:
            deliver(store)
        else:
            store.cancel(1, why="a test", by="anna", now=T0)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1), now=T0 + DAY) is Acceptance.NEW
        (image,) = claim(store, now=T0 + DAY).images
        assert image.returned is delivered

    def test_other_bytes_after_the_purge_are_a_change_and_not_a_return(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1, content="b"), now=T0 + DAY) is Acceptance.CHANGED
        exam = claim(store, now=T0 + DAY)
        assert (exam.renews, exam.images[0].returned) == (True, False)
