"""One accepted association without network and without threads, fed from bytes.

The peer's end of a socket pair holds everything it will ever say; the state machine of the upper
layer, the negotiation and the services then run to the end in this one thread.
"""

from __future__ import annotations

import queue
import socket
import tempfile
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation

from cadnode.core.jobs import Acceptance
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID
from cadnode.dimse.contexts import received_contexts
from cadnode.dimse.incoming import SpoolingProvider
from cadnode.dimse.scp import ScpSettings, StorageScp
from cadnode.dimse.state_machine import EndingStateMachine
from cadnode.dimse.storing import IncomingObject, StoreAnswers
from cadnode.dimse.streaming import StreamingSocket

AE_TITLE = "CADNODE"
MANY_STEPS = 10_000
"""Of the state machine for one input: more means that it runs in a circle."""

_temporary = tempfile.TemporaryDirectory(prefix="cadnode-fuzz-incoming-")
incoming_dir = Path(_temporary.name)


def _receive(incoming: IncomingObject) -> Acceptance:
    incoming.path.unlink()
    return Acceptance.NEW


_answers = StoreAnswers(_receive)
_scp = StorageScp(
    ScpSettings(AE_TITLE, "127.0.0.1", 0, incoming_dir, accept_unknown=True), _receive
)
_contexts = received_contexts()
_ae = ApplicationEntity(AE_TITLE)
_ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)


def accepted_contexts() -> dict[int, PresentationContext]:
    """Contexts 1, 3, 5, ...: one for each SOP class, in its first transfer syntax."""
    accepted = {}
    for number, context in enumerate(received_contexts()):
        context.context_id = 2 * number + 1
        context.transfer_syntax = list(context.transfer_syntax[:1])
        context.result = 0
        context._as_scp = True
        accepted[context.context_id] = context
    return accepted


class _Pipe(socket.socket):
    """Our end of a socket pair, which takes the options of a TCP connection."""

    def setsockopt(self, *_option: object) -> None:
        pass

    said = b""

    def send(self, data: Any, _flags: int = 0) -> int:
        """Keep it: nobody reads, and a full buffer would be waited on."""
        if self.fileno() < 0:
            raise OSError("closed")
        self.said += bytes(data)
        return len(data)


def converse(
    said: bytes, accepted: dict[int, PresentationContext] | None = None, *, crossing: bool = False
) -> bytes:
    """What the node answers to a peer that says so much and closes.

    With `accepted` the association is there already, with these contexts. With `crossing` the
    peer's words arrive before our answers leave.
    """
    end, theirs = socket.socketpair()
    with _Pipe(fileno=end.detach()) as ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(said) + 4096)
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        association = _association(ours)
        if accepted is not None:
            association._accepted_cx = accepted
            association.is_established = True
            association.dul.state_machine.current_state = "Sta6"
            association.dul.event_queue.get_nowait()
        _run(association, crossing=crossing)
        association.dimse.discard()
        association.dul.artim_timer.stop()
        return ours.said


def _association(connection: socket.socket) -> Any:
    association: Any = Association(_ae, "acceptor")
    association.is_alive = _always
    association.dul.socket = StreamingSocket(
        association,
        client_socket=connection,
        longest_pdu=1 << 17,
        pdu_seconds=5.0,
        first_pdu_seconds=5.0,
    )
    association.dul.state_machine = EndingStateMachine(association.dul)
    association.dimse = SpoolingProvider(association, incoming_dir, lambda _size: True)
    association.acceptor.ae_title = AE_TITLE
    association.acceptor.maximum_length = 1 << 17
    association.acceptor.address_info = AddressInformation("127.0.0.1", 11112)
    association.acceptor.supported_contexts = _contexts
    association.requestor.address_info = AddressInformation("127.0.0.1", 40000)
    association.bind(evt.EVT_C_ECHO, _success)
    association.bind(evt.EVT_C_STORE, _answers.answer)
    return association


def _always() -> bool:
    """The association's own thread: it is this one."""
    return True


def _success(_event: Event) -> int:
    return 0


def _run(association: Any, *, crossing: bool) -> None:
    dul = association.dul
    for _ in range(MANY_STEPS):
        if dul._kill_thread:
            return
        waits = bool(dul._process_recv_primitive())
        if crossing or not (waits or dul.event_queue.qsize()):
            dul._is_transport_event()
        try:
            event = dul.event_queue.get(block=False)
        except queue.Empty:
            return
        dul.state_machine.do_action(event)
        _serve(association)
    raise AssertionError("the upper layer runs in a circle")


def _serve(association: Any) -> None:
    """What the association's own thread does with what has come in."""
    primitive = association.dul.peek_next_pdu()
    if isinstance(primitive, A_ASSOCIATE) and not association.is_established:
        association.dul.receive_pdu(wait=False)
        association.requestor.primitive = primitive
        _scp._on_requested(Event(association, evt.EVT_REQUESTED, {}))
        if not association.is_rejected:
            association.acse.negotiate_association()
    while association.is_established and not association.dimse.msg_queue.empty():
        context_id, message = association.dimse.get_msg(block=False)
        if message is None or context_id is None:
            return
        association._serve_request(message, context_id)
