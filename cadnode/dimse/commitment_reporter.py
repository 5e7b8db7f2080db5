"""Bringing our commitment reports to senders, over associations of our own (PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.uid import UID
from pynetdicom import build_role
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from cadnode.core.commitment import CommitmentRequest
from cadnode.core.proof import CommitmentReport
from cadnode.dimse.commitment_messages import (
    PUSH_MODEL_INSTANCE,
    STORAGE_COMMITMENT,
    commitment_context,
    encoded,
    event_type,
    report_data_set,
)
from cadnode.dimse.destination import Destination, Line, Timeouts, within


def reporting_roles() -> list[Any]:
    """The role selection by which we are the SCP on an association that we open (PS3.4 J.3.3)."""
    return [build_role(STORAGE_COMMITMENT, scp_role=True)]


TAKEN = frozenset({0x0000, 0x0107, 0x0116})


class DicomReporter:
    """A `CommitmentReporter` of core/proof_ports.py."""

    def __init__(
        self,
        address: Callable[[CommitmentRequest], Destination | None],
        own_ae_title: str,
        timeouts: Timeouts | None = None,
    ) -> None:
        """`address` says where the one who asked listens, None when the settings do not."""
        self._address = address
        self._own_ae_title = own_ae_title
        self._timeouts = timeouts or Timeouts()

    def report(self, request: CommitmentRequest, report: CommitmentReport) -> str | None:
        """See CommitmentReporter.report."""
        sender = self._address(request)
        if sender is None:
            return "the settings do not say where the sender listens"
        line = Line(sender, self._own_ae_title, self._timeouts)
        answer = within(self._timeouts.delivery, lambda: _report(line, request, report), line.cut)
        return "no answer came in time" if answer is None else answer or None


def _report(line: Line, request: CommitmentRequest, report: CommitmentReport) -> str:
    """Why the report was not taken; "" when it was."""
    trouble = line.open([commitment_context()], roles=reporting_roles())
    if trouble is not None:
        return f"{trouble.cause}: {trouble.detail}"
    # Whatever the other end made of the roles: who accepts the context knows what comes.
    context = line.association.accepted_contexts[0]
    syntax = str(context.transfer_syntax[0])
    message = event_report(request, report, syntax, message_id=1)
    line.association.dimse.send_msg(message, int(context.context_id or 0))
    _, answer = line.association.dimse.get_msg(block=True)
    if answer is None or not isinstance(answer, N_EVENT_REPORT):
        return f"N-EVENT-REPORT: {line.after_silence().detail}"
    line.close()
    return "" if answer.Status in TAKEN else f"N-EVENT-REPORT answered 0x{answer.Status or 0:04X}"


def event_report(
    request: CommitmentRequest, report: CommitmentReport, transfer_syntax_uid: str, message_id: int
) -> Any:
    """The N-EVENT-REPORT request."""
    message = N_EVENT_REPORT()
    message.MessageID = message_id
    message.AffectedSOPClassUID = UID(STORAGE_COMMITMENT)
    message.AffectedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
    message.EventTypeID = event_type(report)
    message.EventInformation = encoded(report_data_set(request.items, report), transfer_syntax_uid)
    return message
