"""Storage commitment on our port: senders ask us (N-ACTION), destinations report (N-EVENT-REPORT).

The report on a sender's request goes out on the same association while that stands. Who hangs up
gets it over an association of our own, see `cadnode/committing.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from cadnode.core.commitment import CommitmentRequest, NewRequest
from cadnode.core.errors import CadnodeError, UnreadableObject
from cadnode.core.proof import CommitmentReport
from cadnode.dimse.commitment_events import (
    INVALID_ARGUMENT_VALUE,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    SUCCESS,
    TakeReport,
    take_report,
)
from cadnode.dimse.commitment_messages import (
    MOST_ITEMS,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    commitment_context,
    read_request,
)
from cadnode.dimse.commitment_reporter import TAKEN, event_report

log = logging.getLogger(__name__)

NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213

GRACE_SECONDS = 0.3
"""Who does not wait for a report on this association hangs up within this time."""

LATEST_MESSAGE_ID = 0xFFFF


class Commits(Protocol):
    """What this needs of `cadnode.committing.Committer`."""

    def accept(self, request: NewRequest) -> CommitmentRequest: ...
    def judge(self, request: CommitmentRequest) -> CommitmentReport: ...
    def taken(self, request: CommitmentRequest, report: CommitmentReport) -> None: ...
    def not_taken(self, request: CommitmentRequest, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message to ourselves: what an association's own thread does between two of the peer's.

    Nobody else sends on the association meanwhile, and what the thread does first, the answer to
    the request, is on its way before.
    """

    act: Any
    msg_type: str = "turn"

    @property
    def is_valid_request(self) -> bool:
        """pynetdicom asks this of every message; it is the moment to act, and there is none."""
        self.act()
        return False


class CommitmentService:
    """A `Service` of dimse/scp.py."""

    def __init__(self, commits: Commits, take: TakeReport) -> None:
        """`commits` answers senders, `take` takes in what destinations report."""
        self._commits = commits
        self._take = take
        self._lock = threading.Lock()
        self._open: dict[Association, list[CommitmentRequest]] = {}
        """By association: what its peer waits for."""
        self._sent: dict[tuple[Association, int], tuple[CommitmentRequest, CommitmentReport]] = {}
        """By association and Message ID: reports on their way."""
        self._message_ids: dict[Association, int] = {}

    def contexts(self) -> Sequence[PresentationContext]:
        """Storage commitment, in whatever roles the other end proposes or leaves out."""
        context = commitment_context()
        context.scu_role = context.scp_role = True
        return [context]

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """For both kinds of request, for the answers to our reports, and for who hangs up."""
        return [
            (evt.EVT_N_ACTION, self._on_action),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]

    def _on_report(self, event: Event) -> tuple[int, None]:
        request = cast("N_EVENT_REPORT", event.request)
        by = str(event.assoc.requestor.ae_title).strip()
        status, _ = take_report(request, str(event.context.transfer_syntax), by, self._take)
        return status, None

    def _on_action(self, event: Event) -> tuple[int, None]:
        asked = cast("N_ACTION", event.request)
        if asked.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
            return NO_SUCH_INSTANCE, None
        if asked.ActionTypeID != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION, None
        by = str(event.assoc.requestor.ae_title).strip()
        syntax = str(event.context.transfer_syntax)
        try:
            transaction_uid, items = read_request(asked.ActionInformation, syntax)
            if self._objects_open(event.assoc) + len(items) > MOST_ITEMS:
                log.warning("%s asks for more commitments, but takes no report", by)
                return RESOURCE_LIMITATION, None
            request = self._commits.accept(
                NewRequest(transaction_uid, by, str(event.assoc.requestor.address), items)
            )
        except UnreadableObject as error:
            log.warning("a commitment request of %s cannot be read: %s", by, error.detail)
            return INVALID_ARGUMENT_VALUE, None
        except CadnodeError as error:
            log.error("a commitment request of %s was not kept: %s", by, error.detail)
            return PROCESSING_FAILURE, None
        association, context_id = event.assoc, int(event.context.context_id)
        with self._lock:
            self._open.setdefault(association, []).append(request)
        turn: Any = _Turn(lambda: self._report(association, context_id, syntax, request))
        association.dimse.msg_queue.put((context_id, turn))
        return SUCCESS, None

    def _objects_open(self, association: Association) -> int:
        with self._lock:
            return sum(len(request.items) for request in self._open.get(association, ()))

    def _report(
        self, association: Association, context_id: int, syntax: str, request: CommitmentRequest
    ) -> None:
        if _hangs_up(association):
            return
        try:
            report = self._commits.judge(request)
        except CadnodeError as error:
            log.error("a commitment request could not be judged: %s", error.detail)
            return
        with self._lock:
            if request not in self._open.get(association, ()):
                return
            message_id = self._message_ids.get(association, 0) % LATEST_MESSAGE_ID + 1
            self._message_ids[association] = message_id
            self._sent[association, message_id] = (request, report)
        association.dimse.send_msg(event_report(request, report, syntax, message_id), context_id)

    def _on_message(self, event: Event) -> None:
        message = event.message
        if not isinstance(message, N_EVENT_REPORT_RSP):
            return
        answered = message.command_set.get("MessageIDBeingRespondedTo")
        status = message.command_set.get("Status")
        with self._lock:
            sent = self._sent.pop((event.assoc, cast("int", answered)), None)
            if sent is not None:
                self._open[event.assoc].remove(sent[0])
        if sent is None:
            return
        request, report = sent
        try:
            if status in TAKEN:
                self._commits.taken(request, report)
            else:
                self._commits.not_taken(request, f"N-EVENT-REPORT answered 0x{status or 0:04X}")
        except CadnodeError as error:
            # Its lease ends, and the report is made again.
            log.error("the answer to a commitment report was not kept: %s", error.detail)

    def _on_close(self, event: Event) -> None:
        with self._lock:
            left = self._open.pop(event.assoc, [])
            self._message_ids.pop(event.assoc, None)
            for key in [key for key in self._sent if key[0] is event.assoc]:
                del self._sent[key]
        for request in left:
            try:
                self._commits.not_taken(request, "the sender ended the association first")
            except CadnodeError as error:
                log.error("a commitment request waits for its lease: %s", error.detail)


def _hangs_up(association: Association) -> bool:
    """True when the peer ends the association, or has ended it, within the grace."""
    ends = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < ends:
        if association.dul.peek_next_pdu() is not None or not association.dul.is_alive():
            return True
        time.sleep(0.01)
    return not association.is_established
