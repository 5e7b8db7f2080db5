"""The Storage SCP: the port on which modalities and archives hand over mammograms.

C-STORE answers 0x0000 only when `receive` has returned, that is when the object is kept.
Rejections as in PS3.8 table 9-21.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Protocol, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from cadnode.core.errors import ConfigError
from cadnode.core.jobs import Acceptance
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dimse.contexts import VERIFICATION, received_contexts
from cadnode.dimse.incoming import PARTIAL_SUFFIX, SpoolingProvider
from cadnode.dimse.storing import SUCCESS, IncomingObject, StoreAnswers
from cadnode.dimse.transport import BoundedSocket

log = logging.getLogger(__name__)

# Result, source, reason of a rejection.
CALLING_AE_UNKNOWN = (0x01, 0x01, 0x03)
CALLED_AE_UNKNOWN = (0x01, 0x01, 0x07)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)

STOP_SECONDS = 10.0
POLITE_SECONDS = 0.5
"""For a peer to take an abort before its connection is cut."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A sender that may store: its AE title and, when given, the host it must come from."""

    name: str
    ae_title: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class ScpSettings:
    """How the receiver listens. `incoming_dir` lies on the file system of the spool."""

    ae_title: str
    host: str
    port: int
    incoming_dir: Path
    peers: tuple[Peer, ...] = ()
    guests: tuple[Peer, ...] = ()
    """Callers that get C-ECHO and the further services, but may not store."""
    accept_unknown: bool = False
    max_pdu: int = 1 << 17
    """Bytes of one P-DATA-TF that senders may use."""
    max_associations: int = 100
    association_seconds: float = 30.0
    """From the connection to the whole A-ASSOCIATE-RQ."""
    network_seconds: float = 60.0
    """For one PDU, and for an association on which nothing comes."""


class Service(Protocol):
    """Something else that the port offers, or that watches what happens there."""

    def contexts(self) -> Sequence[PresentationContext]:
        """What it accepts, with the roles it needs."""
        ...

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """(event, handler) pairs for pynetdicom; each intervention event has one handler only."""
        ...


class StorageScp:
    """Listens for C-ECHO and C-STORE.

    `receive` keeps one object for good and is called from many threads at once; `room` says
    whether that many more bytes may be written; `services` answer what else comes on this port.
    """

    def __init__(
        self,
        settings: ScpSettings,
        receive: Callable[[IncomingObject], Acceptance],
        room: Callable[[int], bool] = lambda _size: True,
        services: Sequence[Service] = (),
    ) -> None:
        self._settings = settings
        self._services = services
        self._store = StoreAnswers(receive)
        self._room = room
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, also when the settings say 0."""
        return int(self._server.server_address[1]) if self._server else self._settings.port

    def start(self) -> None:
        """Bind the address, sweep partial files that a killed process left, and listen.

        Raises ConfigError when the address cannot be bound.
        """
        settings = self._settings
        settings.incoming_dir.mkdir(parents=True, exist_ok=True)
        ae = ApplicationEntity(settings.ae_title)
        ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        # The limit is ours to check: pynetdicom counts connections that have not said a word.
        ae.maximum_associations = 1_000_000
        ae.maximum_pdu_size = settings.max_pdu
        ae.acse_timeout = settings.association_seconds
        ae.dimse_timeout = settings.network_seconds
        ae.network_timeout = settings.network_seconds
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._store.answer),
            (evt.EVT_CONN_CLOSE, _discard_partial),
            (evt.EVT_ABORTED, _discard_partial),
            *(handler for service in self._services for handler in service.handlers()),
        ]
        contexts = received_contexts()
        for service in self._services:
            contexts.extend(service.contexts())
        try:
            self._server = _Server(
                ae,
                (settings.host, settings.port),
                settings.ae_title,
                contexts,
                evt_handlers=handlers,
                request_handler=_Handler,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {error}"
            ) from error
        # Only now: whoever else holds this address may be writing there.
        for partial in settings.incoming_dir.glob(f"*{PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)
        self._server.settings = settings
        self._server.room = self._room
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="storage-scp", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, let running stores finish (at most 10 s), then end what is left."""
        server = self._server
        if server is None:
            return
        server.shutdown()
        self._store.wait_until_idle(STOP_SECONDS)
        associations = server.active_associations
        for association in associations:
            association.abort(block=False)
        _join(associations, POLITE_SECONDS)
        for association in associations:
            sock = association.dul.socket
            if isinstance(sock, BoundedSocket):
                sock.shut()
        _join(associations, POLITE_SECONDS)
        self._server = None

    def _on_requested(self, event: Event) -> None:
        request = cast("A_ASSOCIATE", event.assoc.requestor.primitive)
        address = str(event.assoc.requestor.address)
        called, calling = request.called_ae_title, request.calling_ae_title
        if called != self._settings.ae_title:
            code, why = CALLED_AE_UNKNOWN, "the called AE title is not ours"
        elif not self._known(calling, address) and not self._as_guest(event, calling, address):
            code, why = CALLING_AE_UNKNOWN, "the calling AE title or its address is not known"
        elif self._established() >= self._settings.max_associations:
            code, why = LOCAL_LIMIT_EXCEEDED, "too many associations"
        else:
            return
        log.warning("rejected %r at %s calling %r: %s", calling, address, called, why)
        event.assoc.acse.send_reject(*code)
        event.assoc.is_rejected = True
        # Waits until the rejection is on its way; the association's thread closes the socket next.
        event.assoc.kill()

    def _established(self) -> int:
        server = self._server
        return sum(a.is_established for a in server.active_associations) if server else 0

    def _known(self, calling_ae: str, address: str) -> bool:
        if self._settings.accept_unknown:
            return True
        return _is_one_of(self._settings.peers, calling_ae, address)

    def _as_guest(self, event: Event, calling_ae: str, address: str) -> bool:
        """True for a guest, who is then offered what guests may have."""
        if not _is_one_of(self._settings.guests, calling_ae, address):
            return False
        contexts = [cx for cx in received_contexts() if cx.abstract_syntax == VERIFICATION]
        contexts.extend(cx for service in self._services for cx in service.contexts())
        event.assoc.acceptor.supported_contexts = contexts
        return True


class _Server(ThreadedAssociationServer):
    """Listens; closes connections beyond twice the associations before they cost a thread."""

    request_queue_size = 128
    daemon_threads = True
    settings: ScpSettings
    room: Callable[[int], bool]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        limit = 2 * self.settings.max_associations + 10
        return len(self.active_associations) < limit

    def shutdown(self) -> None:
        # Not pynetdicom's: it takes the server off a list that only its own start_server fills.
        TCPServer.shutdown(self)
        self.server_close()


class _Handler(RequestHandler):
    server: _Server

    def _create_association(self) -> Association:
        association = super()._create_association()
        settings = self.server.settings
        # The plain socket has announced the connection (Evt5); its replacement does so again.
        association.dul.event_queue.get_nowait()
        association.dul.socket = BoundedSocket(
            association,
            client_socket=self.request,
            longest_pdu=settings.max_pdu,
            pdu_seconds=settings.network_seconds,
            first_pdu_seconds=settings.association_seconds,
        )
        association.dul.daemon = True
        association.dimse = SpoolingProvider(association, settings.incoming_dir, self.server.room)
        return association


def _is_one_of(peers: Sequence[Peer], calling_ae: str, address: str) -> bool:
    return any(
        peer.ae_title == calling_ae and (peer.host is None or _is_host(peer.host, address))
        for peer in peers
    )


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    ends = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))


def _discard_partial(event: Event) -> None:
    cast("SpoolingProvider", event.assoc.dimse).discard()


def _is_host(host: str, address: str) -> bool:
    if host == address:
        return True
    try:
        return address in {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
