"""Delivering: claimed result objects go over one association, and each outcome is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from cadnode.core.errors import LeaseLost, NotFound
from cadnode.core.jobs import Delivery
from cadnode.core.metrics import DELIVERIES, LEASES_LOST, Metrics, NoMetrics, begin
from cadnode.core.ports import ExamStore, OutgoingObject, PeerCheck, ResultFiles, Sender
from cadnode.core.retry import RetryRules, SendCause, SendOutcome, Verdict, decide

log = structlog.get_logger(__name__)

_RESULTS = {Verdict.DONE: "stored", Verdict.RETRY: "retry", Verdict.GIVE_UP: "failed"}


class Outgoing:
    """The last step of an exam, over the ports it needs."""

    def __init__(
        self,
        *,
        store: ExamStore,
        files: ResultFiles,
        senders: Mapping[str, Sender],
        retry: RetryRules,
        proof_after: Mapping[str, timedelta],
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._senders = senders
        self._retry = retry
        self._proof_after = proof_after
        self._clock = clock
        self._jitter = jitter
        self._metrics = metrics or NoMetrics()
        begin(self._metrics, LEASES_LOST, "delivery")
        for destination in senders:
            for result in _RESULTS.values():
                begin(self._metrics, DELIVERIES, destination, result)

    def deliver(self, destination: str, deliveries: Sequence[Delivery]) -> Sequence[SendOutcome]:
        """Send the claimed objects over one association, write down each outcome, return them."""
        outcomes = self._send(
            self._senders[destination],
            [
                OutgoingObject(
                    sop_class_uid=delivery.result.sop_class_uid,
                    sop_instance_uid=delivery.result.sop_instance_uid,
                    path=self._files.path_of(delivery.result.path),
                )
                for delivery in deliveries
            ],
        )
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            self._sent(delivery, outcome)
        return outcomes

    def probe(self, destination: str) -> PeerCheck:
        """One C-ECHO: does the destination answer?"""
        return self._senders[destination].check(())

    def not_sent(self, delivery: Delivery, detail: str) -> None:
        """Write down that sending one object ended in an error nobody planned for."""
        uid = delivery.result.sop_instance_uid
        self._sent(delivery, SendOutcome(uid, SendCause.BROKE_OFF, detail=detail))

    def _sent(self, delivery: Delivery, outcome: SendOutcome) -> None:
        decision = decide(
            outcome,
            tries=delivery.tries,
            first_try_at=delivery.first_try_at,
            now=self._clock(),
            jitter=self._jitter(),
            rules=self._retry,
        )
        try:
            now = self._clock()
            after = self._proof_after.get(delivery.destination)
            self._store.record_delivery(
                delivery,
                outcome,
                decision,
                proof_due_at=None if after is None else now + after,
                now=now,
            )
        except LeaseLost:
            # Cancelled by a person meanwhile, or too late; the others' outcomes still count.
            log.warning("lease lost", exam=delivery.exam_id, destination=delivery.destination)
            self._metrics.add(LEASES_LOST, "delivery")
            return
        self._metrics.add(DELIVERIES, delivery.destination, _RESULTS[decision.verdict])
        write = log.info if decision.verdict is Verdict.DONE else log.warning
        write(
            "delivery",
            exam=delivery.exam_id,
            destination=delivery.destination,
            verdict=decision.verdict,
            detail=decision.text,
            **({"code": decision.code} if decision.code else {}),
        )

    def _send(self, sender: Sender, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        try:
            return sender.send(objects)
        except NotFound as error:
            if len(objects) > 1:
                # One lost file must not hold up the others: find it by sending one by one.
                return [outcome for item in objects for outcome in self._send(sender, [item])]
            lost = objects[0].sop_instance_uid
            return [SendOutcome(lost, SendCause.FILE_LOST, detail=error.detail)]
