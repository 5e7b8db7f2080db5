"""The part of the ExamStore in memory that knows proofs of delivery and commitment to senders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cadnode.core.commitment import CommitmentRequest, KeptImage, NewRequest, RequestStatus
from cadnode.core.errors import LeaseLost, NotFound
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.proof import (
    PROVED,
    CommitmentReport,
    Proof,
    ProofDecision,
    ProofState,
    ProofVerdict,
    ReportTaken,
)
from tests.contract.fake_rows import (
    FakeCommitment,
    FakeDelivery,
    FakeProof,
    FakeRequest,
    FakeRows,
    awaits_proof,
    is_free,
)

_ENDED = {
    ProofVerdict.COMMITTED: ("proof-committed", ProofState.COMMITTED),
    ProofVerdict.VERIFIED: ("proof-verified", ProofState.VERIFIED),
    ProofVerdict.UNPROVABLE: ("proof-not-possible", ProofState.UNPROVABLE),
    ProofVerdict.GIVE_UP: ("proof-given-up", ProofState.GIVEN_UP),
}
_GOES_ON = {ProofVerdict.AWAIT: "proof-asked", ProofVerdict.LATER: "proof-retry"}


class FakeProofs(FakeRows):
    """Destinations prove what they hold, and senders are told what we hold."""

    def claim_proofs(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Proof]:
        due = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and awaits_proof(d)
            and d.proof.due_at is not None
            and d.proof.due_at <= now
            and is_free(d, now)
        ]
        claimed = []
        for d in sorted(due, key=lambda d: (d.proof.due_at, d.id))[:limit]:
            d.owner, d.until = owner, now + lease
            d.proof.tries += 1
            assert d.proof.state is not None
            assert d.delivered_at is not None
            claimed.append(
                Proof(
                    d.id,
                    d.job.id,
                    destination,
                    owner,
                    d.job.study,
                    d.result,
                    d.proof.state,
                    d.proof.tries,
                    d.proof.asks,
                    d.proof.failures,
                    d.delivered_at,
                    d.proof.text,
                )
            )
        return claimed

    def renew_proofs(self, proofs: Sequence[Proof], *, now: datetime, lease: timedelta) -> None:
        held = [proof for proof in proofs if self._holds(proof)]
        for proof in held:
            self.deliveries[proof.delivery_id].until = now + lease
        if proofs and not held:
            raise LeaseLost("none is held")

    def record_request(
        self,
        proofs: Sequence[Proof],
        transaction_uid: str,
        *,
        report_due_at: datetime,
        now: datetime,
    ) -> None:
        for held in [self._held_proof(proof) for proof in proofs]:
            held.proof.state, held.proof.due_at = ProofState.ASKED, report_due_at
            held.proof.asks += 1
            held.proof.transaction_uid = transaction_uid
        self.commitments[transaction_uid] = FakeCommitment({p.delivery_id for p in proofs})

    def record_report(self, report: CommitmentReport, *, by: str, now: datetime) -> ReportTaken:
        asked = self.commitments.get(report.transaction_uid)
        if asked is None:
            return ReportTaken.UNKNOWN
        if asked.reported:
            return ReportTaken.AGAIN
        asked.reported = True
        waiting = [
            d for d in self.deliveries.values() if d.id in asked.delivery_ids and awaits_proof(d)
        ]
        for d in waiting:
            uid = d.result.sop_instance_uid
            if uid in report.failed:
                if d.proof.transaction_uid == report.transaction_uid:
                    d.proof.state, d.proof.due_at = ProofState.REFUSED, now
                    d.proof.text = f"{by} reports 0x{report.failed[uid]:04X}"
                    d.owner = d.until = None
            elif uid in report.committed:
                self._end(d, ProofDecision(ProofVerdict.COMMITTED, ""), by, now)
        for job in {d.job.id: d.job for d in waiting}.values():
            self._settle_proofs(job, now, by)
        return ReportTaken.TAKEN

    def record_proof(self, proof: Proof, decision: ProofDecision, *, now: datetime) -> None:
        held = self._held_proof(proof)
        uid, job = held.result.sop_instance_uid, held.job
        verdict = decision.verdict
        takes_back = verdict in (ProofVerdict.DELIVER_AGAIN, ProofVerdict.FAIL)
        if takes_back and job.superseded_by is not None:
            verdict, takes_back = ProofVerdict.GIVE_UP, False
        if takes_back:
            again = verdict is ProofVerdict.DELIVER_AGAIN
            kind = "proof-refused" if again else "proof-failed"
            self._log(job, now, kind, "E604", uid, proof.owner)
            held.owner = held.until = None
            held.proof = FakeProof(failures=held.proof.failures + again)
            held.code, held.text = "E604", decision.text
            held.status = DeliveryStatus.PENDING if again else DeliveryStatus.FAILED
            if again:
                held.due_at, held.tries, held.first_try_at = decision.at or now, 0, None
            for asked in self.commitments.values():
                asked.delivery_ids.discard(held.id)
            if job.status is ExamStatus.DELIVERED:
                job.status, job.finished_at = ExamStatus.REPORTED, None
                self._log(job, now, ExamStatus.REPORTED, None, None, proof.owner)
            self._settle(job, now, proof.owner)
            return
        if verdict in _GOES_ON:
            if verdict is ProofVerdict.AWAIT or held.proof.text != decision.text:
                self._log(job, now, _GOES_ON[verdict], None, uid, proof.owner)
            held.owner = held.until = None
            held.proof.due_at, held.proof.text = decision.at, decision.text
        else:
            self._end(held, replace(decision, verdict=verdict), proof.owner, now)
        self._settle_proofs(job, now, proof.owner)

    def _end(self, delivery: FakeDelivery, decision: ProofDecision, by: str, now: datetime) -> None:
        kind, state = _ENDED[decision.verdict]
        self._log(delivery.job, now, kind, None, delivery.result.sop_instance_uid, by)
        delivery.owner = delivery.until = None
        delivery.proof.state, delivery.proof.due_at = state, None
        delivery.proof.proved_at = now if state in PROVED else None

    def _holds(self, proof: Proof) -> bool:
        d = self.deliveries[proof.delivery_id]
        return awaits_proof(d) and (d.owner, d.proof.tries) == (proof.owner, proof.tries)

    def _held_proof(self, proof: Proof) -> FakeDelivery:
        if proof.delivery_id not in self.deliveries:
            raise NotFound(f"delivery {proof.delivery_id}")
        if not self._holds(proof):
            raise LeaseLost(f"delivery {proof.delivery_id}")
        return self.deliveries[proof.delivery_id]

    def accept_request(
        self, request: NewRequest, *, owner: str, now: datetime, lease: timedelta
    ) -> CommitmentRequest:
        number, tries = len(self.requests) + 1, 1
        for known, kept in self.requests.items():
            key = (kept.value.calling_ae, kept.value.transaction_uid)
            if key == (request.calling_ae, request.transaction_uid):
                number, tries = known, kept.value.tries + 1
        value = CommitmentRequest(
            number,
            request.transaction_uid,
            request.calling_ae,
            request.calling_host,
            request.items,
            owner,
            tries,
            now,
        )
        self.requests[number] = FakeRequest(value, RequestStatus.OPEN, now, owner, now + lease)
        return value

    def claim_request(
        self, owner: str, *, now: datetime, lease: timedelta
    ) -> CommitmentRequest | None:
        due = [
            kept
            for kept in self.requests.values()
            if kept.status is RequestStatus.OPEN
            and kept.due_at <= now
            and (kept.owner is None or kept.until is None or kept.until <= now)
        ]
        if not due:
            return None
        kept = min(due, key=lambda kept: (kept.due_at, kept.value.id))
        kept.owner, kept.until = owner, now + lease
        kept.value = replace(kept.value, owner=owner, tries=kept.value.tries + 1)
        return kept.value

    def kept_images(self, sop_instance_uids: Sequence[str]) -> Mapping[str, KeptImage]:
        return {
            image.value.sop_instance_uid: KeptImage(
                image.value.sop_instance_uid,
                image.value.sop_class_uid,
                image.value.path,
                image.value.size,
            )
            for image in self.images.values()
            if image.value.sop_instance_uid in sop_instance_uids
            and image.job.status is not ExamStatus.PURGED
        }

    def release_request(
        self, request: CommitmentRequest, *, due_at: datetime, text: str, now: datetime
    ) -> None:
        kept = self._held_request(request)
        kept.due_at, kept.text = due_at, text
        kept.owner = kept.until = None

    def end_request(
        self,
        request: CommitmentRequest,
        status: RequestStatus,
        *,
        report: CommitmentReport | None = None,
        text: str = "",
        now: datetime,
    ) -> None:
        kept = self._held_request(request)
        kept.status, kept.text = status, text or None
        kept.owner = kept.until = None
        if report is None:
            return
        kept.committed, kept.failed = len(report.committed), len(report.failed)
        for image in self.images.values():
            uid = image.value.sop_instance_uid
            if uid in report.committed:
                self._log(image.job, now, "image-committed", None, uid, request.owner)

    def _held_request(self, request: CommitmentRequest) -> FakeRequest:
        kept = self.requests[request.id]
        held = kept.status is RequestStatus.OPEN and kept.owner == request.owner
        if not held or kept.value.tries != request.tries:
            raise LeaseLost(f"request {request.id}")
        return kept
