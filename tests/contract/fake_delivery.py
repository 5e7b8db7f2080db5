"""The part of the ExamStore in memory that is the delivery lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cadnode.core.errors import LeaseLost, NotFound
from cadnode.core.jobs import Delivery, DeliveryStatus
from cadnode.core.proof import ProofState
from cadnode.core.retry import Decision, SendOutcome, Verdict
from tests.contract.fake_rows import FakeDelivery, FakeProof, FakeRows, is_free


class FakeDelivering(FakeRows):
    """Result objects go to their destinations."""

    def claim_deliveries(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Delivery]:
        due = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status is DeliveryStatus.PENDING
            and d.due_at <= now
            and is_free(d, now)
        ]
        self._withdraw_superseded(due, now)
        due = [d for d in due if d.status is DeliveryStatus.PENDING]
        claimed = []
        for d in sorted(due, key=lambda d: (-d.job.priority, d.due_at, d.id))[:limit]:
            d.owner, d.until = owner, now + lease
            d.tries, d.attempts = d.tries + 1, d.attempts + 1
            d.first_try_at = d.first_try_at or now
            claimed.append(
                Delivery(d.id, d.job.id, destination, owner, d.result, d.tries, d.first_try_at)
            )
        return claimed

    def renew_deliveries(
        self, deliveries: Sequence[Delivery], *, now: datetime, lease: timedelta
    ) -> None:
        held = [
            d
            for d in deliveries
            if (kept := self.deliveries[d.id]).status is DeliveryStatus.PENDING
            and (kept.owner, kept.tries) == (d.owner, d.tries)
        ]
        for delivery in held:
            self.deliveries[delivery.id].until = now + lease
        if deliveries and not held:
            raise LeaseLost("none is held")

    def record_delivery(
        self,
        delivery: Delivery,
        outcome: SendOutcome,
        decision: Decision,
        *,
        proof_due_at: datetime | None = None,
        now: datetime,
    ) -> None:
        held = self._held_delivery(delivery)
        kind = {
            Verdict.DONE: "delivery-done",
            Verdict.RETRY: "delivery-retry",
            Verdict.GIVE_UP: "delivery-failed",
        }[decision.verdict]
        withdrawn = held.job.superseded_by is not None and decision.verdict is not Verdict.DONE
        uid = held.result.sop_instance_uid
        if withdrawn:
            self._log(held.job, now, "withdrawn", decision.code, uid, delivery.owner)
        elif decision.verdict is not Verdict.RETRY or held.text != decision.text:
            self._log(held.job, now, kind, decision.code, uid, delivery.owner)
        held.owner = held.until = None
        held.dicom_status, held.code, held.text = outcome.status, decision.code, decision.text
        if decision.verdict is Verdict.DONE:
            held.status, held.text = DeliveryStatus.DELIVERED, None
            wanted = None if proof_due_at is None else ProofState.WANTED
            held.delivered_at = now
            held.proof = FakeProof(wanted, proof_due_at, failures=held.proof.failures)
        elif withdrawn:
            held.status = DeliveryStatus.SUPERSEDED
        elif decision.verdict is Verdict.GIVE_UP:
            held.status = DeliveryStatus.FAILED
        else:
            held.due_at = decision.retry_at or now
        self._settle(held.job, now, delivery.owner)

    def release_deliveries(self, deliveries: Sequence[Delivery], *, now: datetime) -> None:
        for delivery in deliveries:
            try:
                held = self._held_delivery(delivery)
            except LeaseLost:
                continue
            held.owner = held.until = None
            held.due_at = now
            held.tries, held.attempts = held.tries - 1, held.attempts - 1
            if not held.tries:
                held.first_try_at = None

    def _held_delivery(self, delivery: Delivery) -> FakeDelivery:
        if delivery.id not in self.deliveries:
            raise NotFound(f"delivery {delivery.id}")
        held = self.deliveries[delivery.id]
        if (held.owner, held.tries) != (delivery.owner, delivery.tries):
            raise LeaseLost(f"delivery {delivery.id}")
        return held
