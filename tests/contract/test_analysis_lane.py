"""What every ExamStore does for those who analyze: claims, images, moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from cadnode.core.errors import IllegalMove, LeaseLost, NotFound, StaleExam
from cadnode.core.exam import ImageState
from cadnode.core.jobs import ExamStatus, Problem
from cadnode.core.mammogram import Intent
from cadnode.core.ports import ExamStore
from cadnode.core.reasons import Reason
from tests.contract.exams import (
    DAY,
    FINDING,
    LEASE,
    PATCH_MAP,
    SECOND,
    T0,
    TICK,
    claim,
    close,
    header_of,
    kinds,
    new_image,
    report,
    result,
    snapshot,
    statuses,
)


class TestClaiming:
    def test_nothing_is_claimed_from_an_empty_store(self, store: ExamStore):
        assert store.claim_exam("w1", now=T0, lease=LEASE) is None

    def test_a_held_exam_is_claimed_by_nobody_else_before_its_lease_ends(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        assert claim(store).lease_until == T0 + LEASE
        assert store.claim_exam("w2", now=T0 + LEASE - TICK, lease=LEASE) is None

    def test_one_exam_is_claimed_by_its_number_before_others_that_are_due(self, store: ExamStore):
        for study in ("1.1", "1.2", "1.3"):
            store.accept(new_image(study=study), now=T0)
        first = claim(store)
        second = store.claim_exam("w2", now=T0, lease=LEASE, exam_id=first.id + 2)
        assert second is not None
        assert (second.id, second.owner, second.tries) == (first.id + 2, "w2", 1)

    def test_a_number_gives_nobody_an_exam_that_is_held_or_not_due(self, store: ExamStore):
        store.accept(new_image(study="1.1"), now=T0)
        store.accept(new_image(study="1.2"), now=T0)
        held = claim(store)
        for exam_id in (held.id, held.id + 99):
            assert store.claim_exam("w2", now=T0, lease=LEASE, exam_id=exam_id) is None
        assert store.claim_exam("w2", now=T0 + LEASE, lease=LEASE, exam_id=held.id) is not None
        store.release_exam(claim(store, "w3"), due_at=T0 + DAY, now=T0)
        assert store.claim_exam("w2", now=T0, lease=LEASE, exam_id=held.id + 1) is None

    @pytest.mark.parametrize("late", [timedelta(0), TICK])
    def test_a_lease_is_over_at_its_end_and_a_tick_after(self, store: ExamStore, late: timedelta):
        store.accept(new_image(), now=T0)
        claim(store)
        again = claim(store, "w2", T0 + LEASE + late)
        assert (again.owner, again.tries) == ("w2", 2)

    def test_the_first_owner_cannot_finish_an_exam_it_has_lost(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        first = claim(store)
        claim(store, "w2", T0 + LEASE)
        now, image_id = T0 + LEASE, first.images[0].id
        before = snapshot(store)
        with pytest.raises(LeaseLost):
            store.renew_exam(first, now=now, lease=LEASE)
        with pytest.raises(LeaseLost):
            store.begin_image(first, image_id, now=now)
        with pytest.raises(LeaseLost):
            store.record_image(first, image_id, state=ImageState.ANALYZED, now=now)
        with pytest.raises(LeaseLost):
            store.release_exam(first, due_at=now, now=now)
        with pytest.raises(LeaseLost):
            store.move_exam(first, ExamStatus.ANALYZED, text="Done.", now=now)
        with pytest.raises(LeaseLost):
            store.record_results(replace(first, status=ExamStatus.ANALYZED), [], {}, now=now)
        assert snapshot(store) == before

    def test_one_owner_cannot_use_the_claim_it_lost_after_claiming_again(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        first = claim(store)
        claim(store, now=T0 + LEASE)
        with pytest.raises(LeaseLost):
            store.move_exam(first, ExamStatus.ANALYZED, text="Done.", now=T0 + LEASE)

    def test_a_lease_that_is_over_but_taken_by_nobody_still_counts(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.move_exam(exam, ExamStatus.ANALYZED, text="Done.", now=T0 + 2 * LEASE)
        assert statuses(store) == ["analyzed"]

    def test_a_renewed_lease_runs_from_the_renewal(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.renew_exam(claim(store), now=T0 + 50 * SECOND, lease=LEASE)
        assert store.claim_exam("w2", now=T0 + 110 * SECOND - TICK, lease=LEASE) is None
        assert store.claim_exam("w2", now=T0 + 110 * SECOND, lease=LEASE) is not None

    def test_the_exam_due_longest_comes_first(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0 + SECOND)
        store.accept(new_image(1, "1.2"), now=T0)
        assert claim(store, now=T0 + DAY).study_instance_uid == "1.2"

    def test_trouble_that_is_not_the_exams_fault_is_kept_but_counts_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E401", "the model is missing")
        for _ in range(3):
            exam = claim(store)
            store.release_exam(exam, due_at=T0, problem=problem, blameless=True, now=T0)
        assert claim(store).tries == 1
        assert kinds(store).count("waiting") == 1

    def test_a_closed_exam_comes_before_one_that_still_has_to_be_read(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        store.release_exam(exam, due_at=T0 + 2 * SECOND, now=T0 + SECOND)
        second = claim(store, now=T0 + SECOND)
        store.move_exam(second, ExamStatus.ANALYZED, text="closed", now=T0 + 5 * SECOND)
        assert claim(store, now=T0 + 6 * SECOND).study_instance_uid == "1.2"

    def test_an_exam_is_not_claimed_before_it_is_due(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.release_exam(claim(store), due_at=T0 + SECOND, now=T0)
        assert store.claim_exam("w1", now=T0 + SECOND - TICK, lease=LEASE) is None
        assert claim(store, now=T0 + SECOND).tries == 1

    def test_tries_go_on_counting_while_there_is_a_problem(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E401", "the model is missing")
        store.release_exam(claim(store), due_at=T0, problem=problem, now=T0)
        store.release_exam(claim(store), due_at=T0, problem=problem, now=T0)
        assert claim(store).tries == 3
        assert kinds(store).count("waiting") == 1, "the same problem twice is one event"

    def test_an_image_that_came_meanwhile_makes_the_released_exam_due(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(2), now=T0 + SECOND)
        store.release_exam(exam, due_at=T0 + DAY, now=T0 + SECOND)
        assert len(claim(store, now=T0 + SECOND).images) == 2


class TestImages:
    def test_what_is_recorded_of_an_image_comes_back(self, store: ExamStore):
        image = new_image()
        store.accept(image, now=T0)
        exam = claim(store)
        assert store.begin_image(exam, 1, now=T0) == 1
        assert store.begin_image(exam, 1, now=T0) == 2
        store.record_image(
            exam,
            1,
            state=ImageState.ANALYZED,
            header=header_of(image),
            findings=(FINDING, FINDING),
            model="calc 1.0",
            now=T0 + SECOND,
        )
        store.release_exam(exam, due_at=T0, now=T0)
        (kept,) = claim(store).images
        assert kept.findings == (FINDING, FINDING)
        assert (kept.view_name, kept.intent) == ("RMLO", Intent.PRESENTATION)
        assert (kept.rows, kept.columns, kept.source_uids) == (4000, 3000, ("1.2.3.7",))
        # What came to an end took no worker down, however often it is read again.
        assert (kept.model, kept.tries, kept.analyzed_at) == ("calc 1.0", 0, T0 + SECOND)
        assert (kept.path, kept.size, kept.sha256) == (image.path, image.size, image.sha256)
        assert (kept.received_at, kept.calling_ae) == (T0, "MODALITY")

    @pytest.mark.parametrize(
        ("problem", "blameless", "tries"),
        [
            (None, False, 1),
            (Problem("E401", "the model is missing"), True, 1),
            (Problem("E000", "unexpected"), False, 2),
        ],
    )
    def test_an_image_is_not_blamed_for_a_stop_or_an_unfit_node(
        self, store: ExamStore, problem: Problem | None, blameless: bool, tries: int
    ):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.begin_image(exam, 1, now=T0)
        store.release_exam(exam, due_at=T0, problem=problem, blameless=blameless, now=T0)
        assert store.begin_image(claim(store), 1, now=T0) == tries

    def test_a_second_record_replaces_the_first_but_keeps_the_header(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.record_image(
            exam,
            1,
            state=ImageState.ANALYZED,
            header=header_of(new_image()),
            findings=[FINDING],
            now=T0,
        )
        store.record_image(
            exam, 1, state=ImageState.FAILED, reason=Reason.NO_BREAST, detail="dark", now=T0
        )
        store.release_exam(exam, due_at=T0, now=T0)
        (kept,) = claim(store).images
        assert (kept.state, kept.reason, kept.detail) == (
            ImageState.FAILED,
            Reason.NO_BREAST,
            "dark",
        )
        assert (kept.findings, kept.analyzed_at, kept.view_name) == ((), None, "RMLO")
        assert snapshot(store)["events"][-1][2:4] == ("image-failed", "N210")

    def test_the_patch_scores_of_an_image_come_back(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.record_image(claim(store), 1, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        kept = store.patch_map(1)
        assert kept is not None
        assert np.array_equal(kept.origins, PATCH_MAP.origins)
        assert np.allclose(kept.probability, PATCH_MAP.probability, atol=1e-3)
        assert np.allclose(kept.heat.values, PATCH_MAP.heat.values, atol=1 / 255)
        assert kept.heat.values.shape == PATCH_MAP.heat.values.shape
        assert np.allclose(kept.boxes, PATCH_MAP.boxes, atol=1e-9)
        for name in ("image_shape", "row_scale", "column_scale", "patch_size"):
            assert getattr(kept, name) == getattr(PATCH_MAP, name)
        assert (kept.thresholds, kept.recommended) == ((0.9, 0.5), 1)
        assert (kept.heat.row_step, kept.heat.column_step) == (30.5, 31.25)
        assert store.patch_map(2) is None

    def test_patch_scores_are_those_of_the_last_reading(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        analyzed = ImageState.ANALYZED
        store.record_image(exam, 1, state=analyzed, patch_map=PATCH_MAP, now=T0)
        other = replace(PATCH_MAP, probability=PATCH_MAP.probability[::-1])
        store.record_image(exam, 1, state=analyzed, patch_map=other, now=T0)
        kept = store.patch_map(1)
        assert kept is not None
        assert np.allclose(kept.probability, other.probability, atol=1e-3)
        store.record_image(exam, 1, state=ImageState.SET_ASIDE, reason=Reason.IMPLANT, now=T0)
        assert store.patch_map(1) is None

    def test_patch_scores_go_with_the_bytes_they_are_of(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(number), now=T0)
        exam = claim(store)
        for number in (1, 2):
            store.record_image(exam, number, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        assert store.patch_map(1) is None
        assert store.patch_map(2) is not None

    def test_patch_scores_are_purged_with_the_files(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.record_image(exam, 1, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=T0)
        assert store.patch_map(1) is not None
        store.mark_purged(1, now=T0 + DAY)
        assert store.patch_map(1) is None

    def test_an_image_of_another_study_is_not_found(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        exam = claim(store)
        with pytest.raises(NotFound):
            store.begin_image(exam, 2, now=T0)
        with pytest.raises(NotFound):
            store.record_image(exam, 77, state=ImageState.ANALYZED, now=T0)


class TestMoving:
    def test_a_closed_exam_is_due_at_once_and_knows_when_it_was_closed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.move_exam(claim(store), ExamStatus.ANALYZED, text="Done.", now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        assert (exam.status, exam.tries, exam.analyzed_at) == (
            ExamStatus.ANALYZED,
            1,
            T0 + SECOND,
        )

    @pytest.mark.parametrize("to", [ExamStatus.ANALYZED, ExamStatus.SKIPPED])
    def test_an_exam_that_grew_is_not_closed(self, store: ExamStore, to: ExamStatus):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(2), now=T0)
        with pytest.raises(StaleExam):
            store.move_exam(exam, to, text="Done.", now=T0)
        assert statuses(store) == ["receiving"]

    def test_a_move_the_table_does_not_have_is_refused(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        before = snapshot(store)
        with pytest.raises(IllegalMove):
            store.move_exam(exam, ExamStatus.DELIVERED, text="Done.", now=T0)
        with pytest.raises(IllegalMove):
            store.record_results(exam, [result(1)], {}, now=T0)
        assert snapshot(store) == before

    def test_a_failed_exam_keeps_its_problem_and_is_not_claimed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E801", "out of tries")
        store.move_exam(claim(store), ExamStatus.FAILED, text="Out.", problem=problem, now=T0)
        assert store.claim_exam("w1", now=T0 + DAY, lease=LEASE) is None
        assert snapshot(store)["jobs"][0][10:13] == ("receiving", "E801", "out of tries")

    def test_an_exam_is_reported_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = report(store, "A")
        with pytest.raises(LeaseLost):
            store.record_results(exam, [result(exam.id)], {"A": ["mammography-cad-sr"]}, now=T0)
        assert len(snapshot(store)["deliveries"]) == 1

    def test_an_object_that_is_already_recorded_is_refused(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        first = report(store, "A")
        store.accept(new_image(1, "1.2"), now=T0)
        second = close(store)
        before = snapshot(store)
        with pytest.raises(IllegalMove):
            store.record_results(second, [result(first.id)], {}, now=T0)
        assert snapshot(store) == before
