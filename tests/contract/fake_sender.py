"""A destination in memory, for tests of the pipeline; it passes the contract of a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cadnode.core.errors import NotFound
from cadnode.core.ports import OutgoingObject, PeerCheck
from cadnode.core.retry import SendCause, SendOutcome


@dataclass
class FakeSender:
    """Keeps what it is sent; every field may be changed between calls."""

    held: dict[str, bytes] = field(default_factory=dict)
    """By SOP Instance UID: the file as it was sent."""
    refused_classes: frozenset[str] = frozenset()
    trouble: SendCause | None = None
    """What befalls every object, as when there is no association."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """By SOP Instance UID: the status to answer, 0x0000 for others."""
    causes: Mapping[str, SendCause] = field(default_factory=dict)
    """By SOP Instance UID: the cause in place of an answer; those after it are ABORTED, unless
    it is CONTEXT_REJECTED."""
    calls: list[tuple[str, ...]] = field(default_factory=list)
    """The SOP Instance UIDs of each call of `send`."""

    def send(self, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        contents = [_content(item) for item in objects]
        self.calls.append(tuple(item.sop_instance_uid for item in objects))
        outcomes, broken = [], self.trouble
        for item, content in zip(objects, contents, strict=True):
            outcome = self._one(item, broken)
            outcomes.append(outcome)
            if outcome.status == 0x0000:
                self.held[item.sop_instance_uid] = content
            elif outcome.cause not in (SendCause.ANSWERED, SendCause.CONTEXT_REJECTED):
                broken = self.trouble or SendCause.ABORTED
        return outcomes

    def check(self, sop_class_uids: Sequence[str]) -> PeerCheck:
        if self.trouble is not None:
            return PeerCheck(False, dict.fromkeys(sop_class_uids, False), str(self.trouble))
        accepted = {uid: uid not in self.refused_classes for uid in sop_class_uids}
        return PeerCheck(True, accepted, "C-ECHO answered 0x0000")

    def _one(self, item: OutgoingObject, broken: SendCause | None) -> SendOutcome:
        uid = item.sop_instance_uid
        if broken is not None:
            return SendOutcome(uid, broken)
        if item.sop_class_uid in self.refused_classes:
            return SendOutcome(uid, SendCause.CONTEXT_REJECTED)
        if uid in self.causes:
            return SendOutcome(uid, self.causes[uid])
        return SendOutcome(uid, SendCause.ANSWERED, self.statuses.get(uid, 0x0000))


def _content(item: OutgoingObject) -> bytes:
    try:
        return item.path.read_bytes()
    except OSError as error:
        raise NotFound(f"the stored result {item.path.name} cannot be read") from error
