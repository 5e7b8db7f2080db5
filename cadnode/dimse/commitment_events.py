"""Taking in a report of storage commitment, on whatever association it comes."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from cadnode.core.errors import CadnodeError, UnreadableObject
from cadnode.core.proof import CommitmentReport, ReportTaken
from cadnode.dimse.commitment_messages import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    PUSH_MODEL_INSTANCE,
    read_report,
)
from cadnode.dimse.transport import AskingProvider

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115

TakeReport = Callable[[CommitmentReport, str], ReportTaken]
"""Takes in what somebody, named by an AE title, reports."""


def take_report(
    request: N_EVENT_REPORT, transfer_syntax_uid: str, by: str, take: TakeReport
) -> tuple[int, str]:
    """The status that answers the request, and its Transaction UID; "" when it has none.

    A report that nobody asked for, or that came before, is answered with success: who sends it
    can do no better by sending it again.
    """
    if request.AffectedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        return NO_SUCH_INSTANCE, ""
    if request.EventTypeID not in (ALL_COMMITTED, FAILURES_EXIST):
        return NO_SUCH_EVENT_TYPE, ""
    try:
        report = read_report(request.EventInformation, transfer_syntax_uid)
    except UnreadableObject as error:
        log.warning("a commitment report of %s cannot be read: %s", by, error.detail)
        return INVALID_ARGUMENT_VALUE, ""
    try:
        taken = take(report, by)
    except CadnodeError as error:
        log.error("a commitment report of %s could not be taken in: %s", by, error.detail)
        return PROCESSING_FAILURE, report.transaction_uid
    write = log.info if taken is ReportTaken.TAKEN else log.warning
    write(
        "commitment report of %s, transaction %s: %d committed, %d failed; %s",
        by,
        report.transaction_uid,
        len(report.committed),
        len(report.failed),
        taken,
    )
    return SUCCESS, report.transaction_uid


class ReportProvider(AskingProvider):
    """The DIMSE provider of an association on which we asked for a commitment.

    pynetdicom serves an N-EVENT-REPORT request in a thread of its own, which upsets the flags by
    which its other threads wait for each other. Here it waits for the thread that asked.
    """

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self._requests: queue.Queue[tuple[Any, int]] = queue.Queue()
        cast("Any", assoc)._serve_request = lambda message, context_id: self._requests.put(
            (message, context_id)
        )

    def ask(
        self, message: N_ACTION, context_id: int, answer_reports: Callable[[], None], seconds: float
    ) -> N_ACTION | None:
        """The response to the request; None when the other end broke off or was silent for so
        long. A report that comes first is answered: some archives wait for that."""
        self.send_msg(message, context_id)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            answer_reports()
            try:
                _, response = self.msg_queue.get_nowait()
            except queue.Empty:
                if not self.assoc.is_established:
                    return None
                continue
            return response if isinstance(response, N_ACTION) else None
        return None

    def answer(self, by: str, take: TakeReport, seconds: float) -> str | None:
        """Wait for a report and answer it; its Transaction UID, None when there was none."""
        try:
            request, context_id = self._requests.get(timeout=seconds)
        except queue.Empty:
            return None
        syntaxes = {
            cx.context_id: str(cx.transfer_syntax[0]) for cx in self.assoc.accepted_contexts
        }
        if not isinstance(request, N_EVENT_REPORT) or context_id not in syntaxes:
            return None
        status, transaction_uid = take_report(request, syntaxes[context_id], by, take)
        response = N_EVENT_REPORT()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.EventTypeID = request.EventTypeID
        response.Status = status
        self.send_msg(response, context_id)
        return transaction_uid
