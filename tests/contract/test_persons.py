"""What every ExamStore does when a person says so."""

from __future__ import annotations

import pytest

from cadnode.core.errors import IllegalMove, LeaseLost, NotFound
from cadnode.core.exam import ImageState
from cadnode.core.jobs import DeliveryStatus, ExamStatus, Priority, Problem
from cadnode.core.ports import ExamStore
from cadnode.core.proof import CommitmentReport
from cadnode.core.reasons import Reason
from cadnode.core.retry import Decision, Verdict
from tests.contract.exams import (
    DAY,
    DONE,
    GONE,
    LEASE,
    SECOND,
    T0,
    claim,
    close,
    current_sets,
    deliver,
    delivery_statuses,
    kinds,
    new_image,
    record,
    report,
    result,
    sent,
    snapshot,
    statuses,
    take,
)


class TestPersons:
    def test_a_failed_exam_starts_again_at_the_step_that_failed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E501", "the object is wrong")
        store.move_exam(close(store), ExamStatus.FAILED, text="No.", problem=problem, now=T0)
        assert store.retry(1, by="anna", now=T0 + SECOND) is ExamStatus.ANALYZED
        assert snapshot(store)["events"][-1][2:] == ("retry", None, None, "anna")
        assert claim(store, now=T0 + SECOND).tries == 1

    def test_images_that_took_their_worker_down_start_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        exam = claim(store)
        store.begin_image(exam, 1, now=T0)
        for number, reason in ((1, Reason.WORKER_LOST), (2, Reason.NO_BREAST)):
            store.record_image(exam, number, state=ImageState.FAILED, reason=reason, now=T0)
        store.move_exam(exam, ExamStatus.FAILED, text="Out of tries.", now=T0)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.RECEIVING
        first, second = claim(store).images
        assert (first.state, first.tries, first.reason) == (ImageState.RECEIVED, 0, None)
        assert (second.state, second.reason) == (ImageState.FAILED, Reason.NO_BREAST)

    def test_failed_deliveries_start_again_with_new_patience(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", DONE)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        assert store.retry(1, by="anna", now=T0 + DAY) is ExamStatus.REPORTED
        again = take(store, "A", T0 + DAY)
        assert (again.tries, again.first_try_at) == (1, T0 + DAY)
        assert not store.claim_deliveries("B", "s1", now=T0 + DAY, lease=LEASE, limit=9)
        store.record_delivery(again, sent(again), DONE, now=T0 + DAY)
        assert statuses(store) == ["delivered"]

    def test_a_retried_delivery_still_counts_as_sent(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery, 0xC000), GONE, now=T0)
        store.retry(1, by="anna", now=T0)
        store.accept(new_image(2), now=T0)
        assert len(store.predecessors(close(store))) == 1
        assert statuses(store) == ["reported", "analyzed"]

    def test_only_a_failed_exam_is_retried(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.retry(2, by="anna", now=T0)

    def test_a_person_who_knows_that_the_archive_is_back_need_not_wait(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        later = Decision(Verdict.RETRY, "E601", "no connection", T0 + DAY)
        store.record_delivery(delivery, sent(delivery), later, now=T0)
        assert not store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.REPORTED
        assert take(store).result == delivery.result

    def test_an_exam_whose_images_a_newer_revision_took_is_not_retried(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        store.cancel(2, why="a mistake", by="anna", now=T0)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.RECEIVING

    def test_a_newer_revision_without_a_result_does_not_bar_the_retry(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        store.move_exam(claim(store), ExamStatus.SKIPPED, text="Nothing new to read.", now=T0)
        # Nor once the retention time of that one is over.
        store.mark_purged(2, now=T0 + DAY)
        assert store.retry(1, by="anna", now=T0 + DAY) is ExamStatus.RECEIVING

    def test_a_cancelled_exam_sends_nothing_and_its_worker_has_lost_it(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store, "A", "B")
        on_its_way, analyzed = take(store, "A"), claim(store)
        for exam_id in (1, 2):
            store.cancel(exam_id, why="a test object", by="anna", now=T0)
        assert statuses(store) == ["cancelled", "cancelled"]
        assert {d[3] for d in snapshot(store)["deliveries"]} == {DeliveryStatus.CANCELLED}
        with pytest.raises(LeaseLost):
            store.record_delivery(on_its_way, sent(on_its_way), DONE, now=T0)
        with pytest.raises(LeaseLost):
            store.release_exam(analyzed, due_at=T0, now=T0)
        assert store.claim_exam("w1", now=T0 + DAY, lease=LEASE) is None

    def test_what_could_not_be_sent_waits_for_nobody_once_its_exam_is_cancelled(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery, 0xC000), GONE, now=T0)
        store.cancel(1, why="given up", by="anna", now=T0)
        assert delivery_statuses(store) == ["cancelled"]
        assert store.drop_destination("A", why="replaced", by="anna", now=T0) == 0

    def test_a_failed_exam_can_be_cancelled_and_a_finished_one_cannot(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.cancel(1, why="given up", by="anna", now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store)
        for exam_id in (1, 2):
            with pytest.raises(IllegalMove):
                store.cancel(exam_id, why="again", by="anna", now=T0)
        with pytest.raises(NotFound):
            store.cancel(3, why="again", by="anna", now=T0)


class TestReanalysis:
    def test_every_image_is_read_again_in_a_revision_of_its_own(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0 + SECOND)
        deliver(store, now=T0 + SECOND)
        assert store.reanalyze(1, by="anna", now=T0 + DAY) == 2
        assert snapshot(store)["events"][-1][2:] == ("reanalyze", None, None, "anna")
        second = claim(store, now=T0 + DAY)
        assert (second.revision, second.renews, second.last_image_at) == (2, True, T0 + SECOND)
        assert {image.state for image in second.images} == {ImageState.RECEIVED}
        store.release_exam(second, due_at=T0 + DAY, now=T0 + DAY)
        second = close(store, T0 + DAY)
        assert len(store.predecessors(second)) == 1
        record(store, second, "A", now=T0 + DAY)
        assert current_sets(store) == [2]

    def test_exams_that_came_later_are_read_before_it(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        deliver(store)
        store.reanalyze(1, by="anna", now=T0)
        store.accept(new_image(1, "1.2"), now=T0 + SECOND)
        assert claim(store, now=T0 + DAY).study_instance_uid == "1.2"

    def test_it_is_refused_while_a_revision_is_being_worked_on(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        with pytest.raises(IllegalMove, match="revision 1"):
            store.reanalyze(1, by="anna", now=T0)
        deliver(store)
        store.reanalyze(1, by="anna", now=T0)
        with pytest.raises(IllegalMove, match="revision 2"):
            store.reanalyze(1, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.reanalyze(9, by="anna", now=T0)

    def test_it_is_refused_when_images_were_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        with pytest.raises(IllegalMove, match="purged"):
            store.reanalyze(1, by="anna", now=T0 + DAY)

    def test_images_that_came_back_after_the_purge_can_be_read_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        store.accept(new_image(1), now=T0 + DAY)
        exam = claim(store, now=T0 + DAY)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing new.", now=T0 + DAY)
        assert store.reanalyze(1, by="anna", now=T0 + DAY) == 3
        exam = claim(store, now=T0 + DAY)
        assert (exam.renews, len(exam.images)) == (True, 1)


class TestPriority:
    def test_an_urgent_exam_is_read_before_all_others(self, store: ExamStore):
        for number in (1, 2, 3):
            store.accept(new_image(1, f"1.{number}"), now=T0 + number * SECOND)
        exam = claim(store, now=T0 + SECOND)
        store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0 + SECOND)
        store.set_priority(3, Priority.URGENT, by="anna", now=T0 + 4 * SECOND)
        assert [claim(store, now=T0 + 4 * SECOND).id for _ in range(3)] == [3, 1, 2]
        assert kinds(store)[-1] == "priority"

    def test_its_results_are_sent_before_all_others(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(1, f"1.{number}"), now=T0 + number * SECOND)
            report(store, "A", now=T0 + number * SECOND)
        store.set_priority(2, Priority.URGENT, by="anna", now=T0 + 3 * SECOND)
        now = T0 + 3 * SECOND
        claimed = store.claim_deliveries("A", "s1", now=now, lease=LEASE, limit=9)
        assert [delivery.exam_id for delivery in claimed] == [2, 1]

    def test_an_exam_that_was_urgent_before_it_was_reported_is_sent_first(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(1, f"1.{number}"), now=T0)
        store.set_priority(2, Priority.URGENT, by="anna", now=T0)
        report(store, "A"), report(store, "A")
        (first,) = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=1)
        assert first.exam_id == 2

    def test_it_goes_on_with_the_later_revisions_of_its_study(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.set_priority(1, Priority.URGENT, by="anna", now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        report(store, "A")
        store.reanalyze(2, by="anna", now=T0)
        assert [job[-2] for job in snapshot(store)["jobs"]] == [Priority.URGENT] * 3

    def test_the_same_priority_again_changes_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        before = snapshot(store)
        store.set_priority(1, Priority.NORMAL, by="anna", now=T0)
        assert snapshot(store) == before

    def test_a_finished_exam_has_nothing_that_could_go_first(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        with pytest.raises(IllegalMove, match="exam 1 is delivered"):
            store.set_priority(1, Priority.URGENT, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.set_priority(2, Priority.URGENT, by="anna", now=T0)


CAD = {"A": ["mammography-cad-sr"]}


class TestSendingAgain:
    def test_what_was_delivered_is_due_again_and_nothing_is_built(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        assert store.resend(1, CAD, by="anna", now=T0 + SECOND) == 1
        assert statuses(store) == [ExamStatus.REPORTED]
        again = take(store, now=T0 + SECOND)
        assert (again.result, again.tries) == (result(1), 1)
        store.record_delivery(again, sent(again), DONE, now=T0 + SECOND)
        assert statuses(store) == [ExamStatus.DELIVERED]
        assert kinds(store)[-3:] == ["resend", "delivery-done", "delivered"]

    def test_a_destination_that_never_got_it_gets_it(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        assert store.resend(1, {"B": ["mammography-cad-sr"]}, by="anna", now=T0 + SECOND) == 1
        assert not store.claim_deliveries("A", "s1", now=T0 + SECOND, lease=LEASE, limit=9)
        assert take(store, "B", now=T0 + SECOND).result == result(1)

    def test_a_proof_of_the_first_time_proves_nothing_of_the_second(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=T0, now=T0)
        proofs = store.claim_proofs("A", "p", now=T0, lease=LEASE, limit=9)
        store.record_request(proofs, "2.25.9", report_due_at=T0 + LEASE, now=T0)
        store.resend(1, CAD, by="anna", now=T0 + SECOND)
        committed = CommitmentReport("2.25.9", (delivery.result.sop_instance_uid,))
        store.record_report(committed, by="PACS", now=T0 + SECOND)
        with pytest.raises(LeaseLost):
            store.renew_proofs(proofs, now=T0 + SECOND, lease=LEASE)
        assert statuses(store) == [ExamStatus.REPORTED]
        again = take(store, now=T0 + 2 * SECOND)
        store.record_delivery(again, sent(again), DONE, proof_due_at=T0, now=T0 + 2 * SECOND)
        assert statuses(store) == [ExamStatus.DELIVERED]

    def test_an_exam_that_waits_or_was_never_sent_is_not_sent_again(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        with pytest.raises(IllegalMove, match="receiving"):
            store.resend(1, CAD, by="anna", now=T0)
        report(store, "A")
        before = snapshot(store)
        with pytest.raises(IllegalMove, match="reported"):
            store.resend(1, CAD, by="anna", now=T0)
        assert snapshot(store) == before

    def test_an_exam_whose_place_a_newer_revision_took_is_not_sent_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.accept(new_image(2), now=T0 + SECOND)
        deliver(store, T0 + SECOND)
        with pytest.raises(IllegalMove, match="exam 2 has taken the place of exam 1"):
            store.resend(1, CAD, by="anna", now=T0 + SECOND)

    def test_a_purged_exam_has_no_files_to_send(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        with pytest.raises(IllegalMove, match="purged"):
            store.resend(1, CAD, by="anna", now=T0 + DAY)

    def test_a_destination_that_wants_none_of_its_objects_changes_nothing(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        before = snapshot(store)
        for nobody in ({}, {"B": ["tid1500-sr"]}):
            with pytest.raises(IllegalMove):
                store.resend(1, nobody, by="anna", now=T0)
        assert snapshot(store) == before
