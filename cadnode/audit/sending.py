"""A sender whose transfers stand in the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from cadnode.core.audit import (
    AuditTrail,
    Held,
    Instance,
    InstancesTransferred,
    NodeRefused,
    Party,
    TransferBegun,
)
from cadnode.core.ports import OutgoingObject, PeerCheck, Sender
from cadnode.core.retry import SendCause, SendOutcome, is_success

_HELD_ALREADY = 0x0111


class AuditedSender:
    """A `Sender` that reports what another one sends."""

    def __init__(
        self, sender: Sender, trail: AuditTrail, *, own: Party, destination: Party
    ) -> None:
        self._sender = sender
        self._trail = trail
        self._own = own
        self._destination = destination

    def send(self, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        """As the sender does."""
        instances = tuple(Instance(item.sop_class_uid, item.path) for item in objects)
        self._trail.record(TransferBegun(self._own, self._destination, instances))
        outcomes = self._sender.send(objects)
        taken = [_taken(outcome) for outcome in outcomes]
        for cause in {outcome.cause for outcome in outcomes}:
            if cause is SendCause.REJECTED_PERMANENTLY:
                self._trail.record(NodeRefused(self._destination, f"refused us: {cause}"))
        self._trail.record(
            InstancesTransferred(
                source=self._own,
                destination=self._destination,
                instances=tuple(i for i, ok in zip(instances, taken, strict=True) if ok),
                held=Held.ALL_OF_IT,
                failed=tuple(i for i, ok in zip(instances, taken, strict=True) if not ok),
            )
        )
        return outcomes

    def check(self, sop_class_uids: Sequence[str]) -> PeerCheck:
        """As the sender does."""
        return self._sender.check(sop_class_uids)


def _taken(outcome: SendOutcome) -> bool:
    status = outcome.status
    if outcome.cause is not SendCause.ANSWERED or status is None:
        return False
    return is_success(status) or status == _HELD_ALREADY
