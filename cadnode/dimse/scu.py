"""The Storage SCU: the way to one destination (PS3.4 annex B).

A stored file is sent as it is, byte for byte, where the destination accepts its transfer syntax;
only between the uncompressed syntaxes is a data set encoded anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom.presentation import PresentationContext

from cadnode.core.errors import NotFound
from cadnode.core.ports import OutgoingObject, PeerCheck
from cadnode.core.retry import SendCause, SendOutcome
from cadnode.dimse.contexts import (
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    proposed_contexts,
)
from cadnode.dimse.destination import (
    Destination,
    Line,
    Timeouts,
    Trouble,
    accepted_syntaxes,
    within,
)

__all__ = ["Destination", "DicomSender", "Timeouts"]

MOST_CLASSES_AT_ONCE = 60
"""SOP classes in one check; an association has room for 128 contexts."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    object: OutgoingObject
    transfer_syntax_uid: str


class DicomSender:
    """Sends to one destination; a `Sender` of core/ports.py."""

    def __init__(
        self,
        destination: Destination,
        own_ae_title: str,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._destination = destination
        self._own_ae_title = own_ae_title
        self._timeouts = timeouts or Timeouts()

    def send(self, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        """One outcome per object, in order, over one association.

        Raises NotFound when a stored file is gone or is no DICOM file: that is our trouble, not
        the destination's.
        """
        if not objects:
            return []
        outgoing = [_Outgoing(item, _transfer_syntax_of(item.path)) for item in objects]
        line = self._line()
        outcomes: list[SendOutcome] = []
        within(self._timeouts.delivery, lambda: _deliver(line, outgoing, outcomes), line.cut)
        late = Trouble(SendCause.NO_ANSWER, "the time for the delivery was over")
        # A copy: a thread that was given up may still add to the list.
        known = outcomes[: len(objects)]
        return known + _all(late, objects[len(known) :])

    def check(self, sop_class_uids: Sequence[str]) -> PeerCheck:
        """C-ECHO, and which of at most 60 storage SOP classes the destination accepts."""
        line = self._line()
        classes = list(sop_class_uids)[:MOST_CLASSES_AT_ONCE]
        found = within(self._timeouts.delivery, lambda: _check(line, classes), line.cut)
        return found or PeerCheck(False, {}, str(SendCause.NO_ANSWER))

    def _line(self) -> Line:
        return Line(self._destination, self._own_ae_title, self._timeouts)


def _deliver(line: Line, outgoing: Sequence[_Outgoing], outcomes: list[SendOutcome]) -> None:
    """Add one outcome for each object, as it is known."""
    contexts = proposed_contexts(
        (item.object.sop_class_uid, item.transfer_syntax_uid) for item in outgoing
    )
    trouble = line.open(contexts)
    if trouble is not None:
        outcomes.extend(_all(trouble, [item.object for item in outgoing]))
        return
    accepted = accepted_syntaxes(line.association)
    for number, item in enumerate(outgoing):
        if trouble is not None:
            outcomes.append(_outcome(item.object, trouble))
            continue
        status, cause = _store(line, item, accepted.get(item.object.sop_class_uid, set()), number)
        if status is not None:
            outcomes.append(SendOutcome(item.object.sop_instance_uid, SendCause.ANSWERED, status))
            continue
        outcomes.append(_outcome(item.object, cause))
        if cause.cause is not SendCause.CONTEXT_REJECTED:
            trouble = Trouble(SendCause.ABORTED, f"not sent: before it, {cause.detail}")
    line.close()


def _store(
    line: Line, item: _Outgoing, accepted: set[str], number: int
) -> tuple[int | None, Trouble]:
    """The status of the answer, or the trouble in its place."""
    silence = Trouble(SendCause.NO_ANSWER, "the time for the delivery was over")
    if line.over_time():
        return None, silence
    same = item.transfer_syntax_uid in accepted
    convertible = item.transfer_syntax_uid in UNCOMPRESSED_TRANSFER_SYNTAXES and accepted
    if not (same or convertible):
        return None, Trouble(
            SendCause.CONTEXT_REJECTED,
            f"SOP class {item.object.sop_class_uid} in transfer syntax {item.transfer_syntax_uid}",
        )
    try:
        answer = line.association.send_c_store(
            item.object.path if same else dcmread(item.object.path), msg_id=number % 65535 + 1
        )
    except RuntimeError:
        # The peer ended the association since the last answer.
        return None, line.after_silence()
    status = answer.get("Status")
    return (None, line.after_silence()) if status is None else (int(status), silence)


def check_contexts(sop_class_uids: Iterable[str]) -> list[PresentationContext]:
    """What is proposed to a destination that is only looked at: C-ECHO, and what it is to take."""
    syntax = UNCOMPRESSED_TRANSFER_SYNTAXES[0]
    return proposed_contexts((uid, syntax) for uid in (VERIFICATION, *sop_class_uids))


def _check(line: Line, sop_class_uids: Sequence[str]) -> PeerCheck:
    trouble = line.open(check_contexts(sop_class_uids))
    if trouble is not None:
        return PeerCheck(
            trouble.cause is SendCause.CONTEXT_REJECTED,
            dict.fromkeys(sop_class_uids, False),
            f"{trouble.cause}: {trouble.detail}",
        )
    taken = accepted_syntaxes(line.association)
    accepted = {uid: uid in taken for uid in sop_class_uids}
    if VERIFICATION not in taken:
        line.close()
        return PeerCheck(True, accepted, "the destination does not take C-ECHO")
    status = line.association.send_c_echo().get("Status")
    line.close()
    if status is None:
        return PeerCheck(False, accepted, f"C-ECHO: {line.after_silence().detail}")
    return PeerCheck(status == 0, accepted, f"C-ECHO answered 0x{int(status):04X}")


def _transfer_syntax_of(path: Path) -> str:
    try:
        return str(read_file_meta_info(path).TransferSyntaxUID)
    except (OSError, InvalidDicomError, AttributeError) as error:
        raise NotFound(f"the stored result {path.name} cannot be read") from error


def _outcome(item: OutgoingObject, trouble: Trouble) -> SendOutcome:
    return SendOutcome(item.sop_instance_uid, trouble.cause, detail=trouble.detail)


def _all(trouble: Trouble, objects: Sequence[OutgoingObject]) -> list[SendOutcome]:
    return [_outcome(item, trouble) for item in objects]
