"""What every ExamStore knows of proofs of delivery."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from cadnode.core.errors import IllegalMove, LeaseLost, NotFound
from cadnode.core.jobs import Delivery, DeliveryStatus, ExamStatus
from cadnode.core.ports import ExamStore
from cadnode.core.proof import (
    CommitmentReport,
    Proof,
    ProofDecision,
    ProofState,
    ProofVerdict,
    ReportTaken,
)
from tests.contract.exams import (
    DAY,
    DONE,
    GONE,
    LEASE,
    SECOND,
    T0,
    TICK,
    close,
    kinds,
    new_image,
    record,
    report,
    sent,
    snapshot,
    statuses,
    take,
)

COMMITTED = ProofDecision(ProofVerdict.COMMITTED, "it commits to it")
VERIFIED = ProofDecision(ProofVerdict.VERIFIED, "C-FIND names it")
UNPROVABLE = ProofDecision(ProofVerdict.UNPROVABLE, "it offers nothing")
FAIL = ProofDecision(ProofVerdict.FAIL, "it does not hold it; delivered 4 times")


def later(now: datetime, text: str = "no answer") -> ProofDecision:
    return ProofDecision(ProofVerdict.LATER, text, now + SECOND)


def again(now: datetime) -> ProofDecision:
    return ProofDecision(ProofVerdict.DELIVER_AGAIN, "it does not hold it", now + SECOND)


def delivered(store: ExamStore, *destinations: str, study: str = "1.2.3") -> list[Delivery]:
    """A delivered exam whose proofs are due at T0."""
    store.accept(new_image(study=study), now=T0)
    report(store, *(destinations or ("A",)))
    return [finish(store, name) for name in destinations or ("A",)]


def finish(store: ExamStore, destination: str = "A", now: datetime = T0) -> Delivery:
    delivery = take(store, destination, now)
    store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=now, now=now)
    return delivery


def claim(
    store: ExamStore, destination: str = "A", now: datetime = T0, owner: str = "p1"
) -> list[Proof]:
    return list(store.claim_proofs(destination, owner, now=now, lease=LEASE, limit=9))


def ask(store: ExamStore, uid: str = "9.1", now: datetime = T0, destination: str = "A") -> Proof:
    """Claim the one proof that is due, ask for it, and hand it back until LEASE has gone by."""
    (proof,) = claim(store, destination, now)
    store.record_request([proof], uid, report_due_at=now + LEASE, now=now)
    awaited = ProofDecision(ProofVerdict.AWAIT, "it will report", now + LEASE)
    store.record_proof(proof, awaited, now=now)
    return proof


def reported(proof: Proof, uid: str = "9.1", reason: int | None = None) -> CommitmentReport:
    sop = proof.result.sop_instance_uid
    return (
        CommitmentReport(uid, (sop,))
        if reason is None
        else CommitmentReport(uid, (), {sop: reason})
    )


def proofs(store: ExamStore) -> list[object]:
    return [line[13] for line in snapshot(store)["deliveries"]]


def delivery_statuses(store: ExamStore) -> list[object]:
    return [line[3] for line in snapshot(store)["deliveries"]]


class TestClaiming:
    def test_a_proof_is_due_from_its_time_on(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=T0 + SECOND, now=T0)
        assert claim(store, now=T0 + SECOND - TICK) == []
        (proof,) = claim(store, now=T0 + SECOND)
        assert (proof.state, proof.tries, proof.asks) == (ProofState.WANTED, 1, 0)
        assert (proof.study_instance_uid, proof.result) == ("1.2.3", delivery.result)
        assert proof.delivered_at == T0

    def test_without_a_time_no_proof_is_wanted(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert proofs(store) == [None]
        assert claim(store, now=T0 + DAY) == []

    def test_a_delivery_that_did_not_go_well_has_nothing_to_prove(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), GONE, proof_due_at=T0, now=T0)
        assert proofs(store) == [None]

    def test_only_those_of_the_destination_come_and_the_oldest_first(self, store: ExamStore):
        delivered(store, "A", "B", study="1.2.3")
        delivered(store, "A", study="1.2.4")
        assert [p.exam_id for p in claim(store, "A")] == [1, 2]
        assert [p.exam_id for p in claim(store, "B")] == [1]

    def test_a_claim_holds_for_one_lease(self, store: ExamStore):
        delivered(store)
        assert claim(store)
        assert claim(store, now=T0 + LEASE - TICK, owner="p2") == []
        (proof,) = claim(store, now=T0 + LEASE, owner="p2")
        assert proof.tries == 2

    def test_a_renewed_claim_holds_longer(self, store: ExamStore):
        delivered(store)
        held = claim(store)
        store.renew_proofs(held, now=T0 + SECOND, lease=LEASE)
        assert claim(store, now=T0 + LEASE, owner="p2") == []
        assert claim(store, now=T0 + SECOND + LEASE, owner="p2")
        with pytest.raises(LeaseLost):
            store.renew_proofs(held, now=T0 + 2 * LEASE, lease=LEASE)

    @pytest.mark.parametrize("decision", [COMMITTED, later(T0), again(T0), FAIL])
    def test_the_first_owner_cannot_write_down_a_proof_it_has_lost(
        self, store: ExamStore, decision: ProofDecision
    ):
        delivered(store)
        (lost,) = claim(store)
        claim(store, now=T0 + LEASE, owner="p2")
        before = snapshot(store)
        with pytest.raises(LeaseLost):
            store.record_proof(lost, decision, now=T0 + LEASE)
        with pytest.raises(LeaseLost):
            store.record_request([lost], "9.1", report_due_at=T0, now=T0 + LEASE)
        assert snapshot(store) == before

    def test_a_delivery_nobody_knows_is_not_found(self, store: ExamStore):
        delivered(store)
        (proof,) = claim(store)
        with pytest.raises(NotFound):
            store.record_proof(replace(proof, delivery_id=99), COMMITTED, now=T0)


class TestOutcomes:
    @pytest.mark.parametrize("decision", [COMMITTED, VERIFIED])
    def test_a_proof_makes_the_exam_committed(self, store: ExamStore, decision: ProofDecision):
        delivered(store)
        assert statuses(store) == [ExamStatus.DELIVERED]
        (proof,) = claim(store)
        store.record_proof(proof, decision, now=T0 + SECOND)
        assert statuses(store) == [ExamStatus.COMMITTED]
        assert claim(store, now=T0 + DAY) == []

    def test_the_exam_waits_for_every_proof(self, store: ExamStore):
        delivered(store, "A", "B")
        for name, status in (("A", ExamStatus.DELIVERED), ("B", ExamStatus.COMMITTED)):
            (proof,) = claim(store, name)
            store.record_proof(proof, COMMITTED, now=T0)
            assert statuses(store) == [status]

    def test_a_proof_that_comes_before_the_last_delivery_counts_after_it(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        finish(store, "A")
        (proof,) = claim(store)
        store.record_proof(proof, COMMITTED, now=T0)
        assert statuses(store) == [ExamStatus.REPORTED]
        delivery = take(store, "B")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == [ExamStatus.COMMITTED]
        assert kinds(store)[-2:] == [ExamStatus.DELIVERED, ExamStatus.COMMITTED]

    def test_what_cannot_be_proved_leaves_the_exam_delivered(self, store: ExamStore):
        delivered(store)
        (proof,) = claim(store)
        store.record_proof(proof, UNPROVABLE, now=T0)
        assert (statuses(store), proofs(store)) == (
            [ExamStatus.DELIVERED],
            [ProofState.UNPROVABLE],
        )
        assert kinds(store)[-1] == "proof-not-possible"

    def test_later_makes_it_due_then_and_the_same_trouble_leaves_one_event(self, store: ExamStore):
        delivered(store)
        for number in range(3):
            now = T0 + number * SECOND
            (proof,) = claim(store, now=now)
            assert proof.tries == number + 1
            store.record_proof(proof, later(now), now=now)
            assert claim(store, now=now + SECOND - TICK) == []
        assert kinds(store).count("proof-retry") == 1

    def test_what_is_not_held_is_due_for_delivery_again(self, store: ExamStore):
        (first,) = delivered(store)
        (proof,) = claim(store)
        store.record_proof(proof, again(T0), now=T0)
        assert (statuses(store), delivery_statuses(store)) == (
            [ExamStatus.REPORTED],
            [DeliveryStatus.PENDING],
        )
        assert claim(store, now=T0 + DAY) == []
        second = take(store, now=T0 + SECOND)
        assert (second.result, second.tries) == (first.result, 1)
        assert second.first_try_at == T0 + SECOND
        store.record_delivery(second, sent(second), DONE, proof_due_at=T0 + SECOND, now=T0 + SECOND)
        (proof,) = claim(store, now=T0 + SECOND)
        assert (proof.failures, proof.tries, proof.asks) == (1, 1, 0)
        assert statuses(store) == [ExamStatus.DELIVERED]

    def test_a_failed_proof_fails_the_exam_and_a_person_starts_it_anew(self, store: ExamStore):
        delivered(store, "A", "B")
        (proof,) = claim(store)
        store.record_proof(proof, again(T0), now=T0)
        finish(store, now=T0 + SECOND)
        (proof,) = claim(store, now=T0 + SECOND)
        store.record_proof(proof, FAIL, now=T0 + SECOND)
        assert statuses(store) == [ExamStatus.FAILED]
        job = snapshot(store)["jobs"][0]
        assert job[11:13] == ("E604", f"delivery to A: {FAIL.text}")
        assert job[9] is None
        assert store.retry(1, by="anna", now=T0 + DAY) is ExamStatus.REPORTED
        finish(store, now=T0 + DAY)
        (proof,) = claim(store, now=T0 + DAY)
        assert proof.failures == 0

    @pytest.mark.parametrize("decision", [again(T0), FAIL])
    def test_of_a_superseded_exam_nothing_is_sent_again(
        self, store: ExamStore, decision: ProofDecision
    ):
        delivered(store)
        store.accept(new_image(2), now=T0)
        record(store, close(store), "A")
        (proof,) = claim(store)
        store.record_proof(proof, decision, now=T0)
        assert statuses(store) == [ExamStatus.DELIVERED, ExamStatus.REPORTED]
        assert proofs(store) == [ProofState.GIVEN_UP, None]


class TestReports:
    def test_a_report_commits_whoever_holds_the_proof(self, store: ExamStore):
        delivered(store)
        (proof,) = claim(store)
        store.record_request([proof], "9.1", report_due_at=T0 + LEASE, now=T0)
        taken = store.record_report(reported(proof), by="PACS", now=T0 + SECOND)
        assert taken is ReportTaken.TAKEN
        assert statuses(store) == [ExamStatus.COMMITTED]
        with pytest.raises(LeaseLost):
            store.record_proof(proof, later(T0), now=T0 + SECOND)

    def test_a_failure_makes_the_proof_due_with_its_reason(self, store: ExamStore):
        delivered(store)
        proof = ask(store)
        store.record_report(reported(proof, reason=0x0112), by="PACS", now=T0 + SECOND)
        (proof,) = claim(store, now=T0 + SECOND)
        assert proof.state is ProofState.REFUSED
        assert "PACS reports 0x0112" in str(proof.text)
        assert statuses(store) == [ExamStatus.DELIVERED]

    def test_only_the_first_report_of_a_transaction_counts(self, store: ExamStore):
        delivered(store)
        proof = ask(store)
        store.record_report(reported(proof, reason=0x0112), by="PACS", now=T0)
        before = snapshot(store)
        assert store.record_report(reported(proof), by="PACS", now=T0) is ReportTaken.AGAIN
        assert snapshot(store) == before

    def test_a_transaction_nobody_asked_for_is_unknown(self, store: ExamStore):
        delivered(store)
        proof = ask(store)
        before = snapshot(store)
        taken = store.record_report(reported(proof, "9.2"), by="PACS", now=T0)
        assert taken is ReportTaken.UNKNOWN
        assert snapshot(store) == before

    def test_without_a_report_it_is_due_again_and_counts_what_was_asked(self, store: ExamStore):
        delivered(store)
        ask(store)
        assert claim(store, now=T0 + LEASE - TICK) == []
        (proof,) = claim(store, now=T0 + LEASE)
        assert (proof.state, proof.asks, proof.tries) == (ProofState.ASKED, 1, 2)

    def test_an_earlier_transaction_may_commit_but_not_refuse(self, store: ExamStore):
        delivered(store)
        ask(store, "9.1")
        ask(store, "9.2", now=T0 + LEASE)
        proof = ask(store, "9.3", now=T0 + 2 * LEASE)
        store.record_report(reported(proof, "9.1", reason=0x0112), by="PACS", now=T0 + DAY)
        assert proofs(store) == [ProofState.ASKED]
        store.record_report(reported(proof, "9.2"), by="PACS", now=T0 + DAY)
        assert proofs(store) == [ProofState.COMMITTED]

    def test_a_transaction_from_before_the_next_delivery_says_nothing(self, store: ExamStore):
        delivered(store)
        ask(store, "9.1")
        proof = ask(store, "9.2", now=T0 + LEASE)
        store.record_report(reported(proof, "9.2", reason=0x0112), by="PACS", now=T0 + LEASE)
        (refused,) = claim(store, now=T0 + LEASE)
        store.record_proof(refused, again(T0 + LEASE), now=T0 + LEASE)
        finish(store, now=T0 + DAY)
        taken = store.record_report(reported(proof, "9.1"), by="PACS", now=T0 + DAY)
        assert taken is ReportTaken.TAKEN
        assert proofs(store) == [ProofState.WANTED]

    def test_an_object_of_another_transaction_is_left_alone(self, store: ExamStore):
        delivered(store, study="1.2.3")
        first = ask(store, "9.1")
        delivered(store, study="1.2.4")
        second = ask(store, "9.2")
        both = CommitmentReport(
            "9.1", (first.result.sop_instance_uid, second.result.sop_instance_uid)
        )
        store.record_report(both, by="PACS", now=T0)
        assert proofs(store) == [ProofState.COMMITTED, ProofState.ASKED]

    def test_what_the_report_does_not_mention_is_still_asked_for(self, store: ExamStore):
        delivered(store)
        ask(store)
        store.record_report(CommitmentReport("9.1"), by="PACS", now=T0)
        assert proofs(store) == [ProofState.ASKED]


class TestPersons:
    def test_retry_makes_the_proofs_of_a_delivered_exam_due_at_once(self, store: ExamStore):
        delivered(store)
        ask(store)
        assert store.retry(1, by="anna", now=T0 + SECOND) is ExamStatus.DELIVERED
        assert len(claim(store, now=T0 + SECOND)) == 1

    def test_cancel_gives_up_only_the_proofs_of_a_delivered_exam(self, store: ExamStore):
        delivered(store, "A", "B")
        (proof,) = claim(store)
        store.record_proof(proof, COMMITTED, now=T0)
        store.cancel(1, why="the archive is gone", by="anna", now=T0)
        assert statuses(store) == [ExamStatus.DELIVERED]
        assert proofs(store) == [ProofState.COMMITTED, ProofState.GIVEN_UP]
        with pytest.raises(IllegalMove):
            store.cancel(1, why="again", by="anna", now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)

    def test_a_cancelled_exam_proves_nothing_any_more(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        finish(store, "A")
        (proof,) = claim(store)
        store.cancel(1, why="a test", by="anna", now=T0)
        with pytest.raises(LeaseLost):
            store.record_proof(proof, again(T0), now=T0)
        assert statuses(store) == [ExamStatus.CANCELLED]

    def test_a_dropped_destination_proves_nothing_any_more(self, store: ExamStore):
        delivered(store, "A", "B")
        assert store.drop_destination("A", why="it is gone", by="anna", now=T0) == 1
        assert claim(store, "A") == []
        assert len(claim(store, "B")) == 1


class TestRetention:
    def test_an_exam_that_awaits_a_proof_is_not_purged(self, store: ExamStore):
        delivered(store)
        assert store.purgeable(finished_before=T0 + DAY, limit=9) == []
        with pytest.raises(IllegalMove):
            store.mark_purged(1, now=T0 + DAY)
        (proof,) = claim(store)
        store.record_proof(proof, COMMITTED, now=T0)
        assert [e.exam_id for e in store.purgeable(finished_before=T0 + DAY, limit=9)] == [1]
        store.mark_purged(1, now=T0 + DAY)

    @pytest.mark.parametrize("decision", [UNPROVABLE, ProofDecision(ProofVerdict.GIVE_UP, "off")])
    def test_one_that_needs_no_proof_any_more_is(self, store: ExamStore, decision: ProofDecision):
        delivered(store)
        (proof,) = claim(store)
        store.record_proof(proof, decision, now=T0)
        assert [e.exam_id for e in store.purgeable(finished_before=T0 + DAY, limit=9)] == [1]

    def test_one_that_is_delivered_again_is_not(self, store: ExamStore):
        delivered(store)
        (proof,) = claim(store)
        store.record_proof(proof, again(T0), now=T0)
        assert store.purgeable(finished_before=T0 + DAY, limit=9) == []
