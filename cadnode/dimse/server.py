"""A listening port: connections are taken in without letting one of them hold up the others."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from cadnode.dimse.incoming import SpoolingProvider
from cadnode.dimse.state_machine import EndingStateMachine
from cadnode.dimse.streaming import StreamingSocket
from cadnode.dimse.tls import RenewedContext, in_words
from cadnode.dimse.transport import cut

log = logging.getLogger(__name__)


class Doorstep:
    """Connections that have not been let in yet; where there are too many, the oldest is cut.

    Whoever floods the port with silent connections cuts its own ones; a good sender is let in
    within milliseconds and never becomes the oldest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[socket.socket] = []
        self._lock = threading.Lock()

    def arrive(self, sock: socket.socket) -> None:
        """One more connection."""
        with self._lock:
            self._waiting = [other for other in self._waiting if other.fileno() >= 0]
            self._waiting.append(sock)
            too_old = self._waiting[: -self._most]
            del self._waiting[: -self._most]
        for other in too_old:
            cut(other)

    def leave(self, sock: socket.socket | None) -> None:
        """The connection was let in or turned away."""
        with self._lock:
            self._waiting = [other for other in self._waiting if other is not sock]


@dataclass(frozen=True, slots=True)
class Port:
    """What the connections of a port have in common."""

    doorstep: Doorstep
    incoming_dir: Path
    room: Callable[[int], bool]
    longest_pdu: int
    association_seconds: float
    network_seconds: float
    most_threads: int
    """Of associations, also of those that have ended while an object of theirs is being kept."""
    no_tls: Callable[[str, str], None]
    """Told the address and the reason when there is no handshake."""
    tls: RenewedContext | None = None
    shared: bool = False
    """Whether other processes listen on the same address; the system spreads what comes."""


class _Unchanged(list[PresentationContext]):
    """Contexts that every association can have as they are; to copy them takes milliseconds."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> list[PresentationContext]:
        return list(self)


class Server(ThreadedAssociationServer):
    """Listens on one port, plain or TLS; a handshake takes place in the connection's own thread."""

    request_queue_size = 128
    daemon_threads = True
    port: Port

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        contexts: list[PresentationContext],
        handlers: Sequence[Any],
        port: Port,
    ) -> None:
        self.port = port
        super().__init__(
            ae,
            address,
            ae.ae_title,
            _Unchanged(contexts),
            evt_handlers=list(handlers),
            request_handler=_Handler,
        )

    @property
    def number(self) -> int:
        """The number of the port, also when 0 was asked for."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Take the address, together with others where it is shared."""
        if self.port.shared and self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection; on a TLS port not encrypted yet."""
        connection, address = super().get_request()
        if self.port.tls is not None:
            connection = self.port.tls.current().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self.port.doorstep.arrive(connection)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """False closes the connection at once."""
        return len(self.active_associations) < self.port.most_threads

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in a thread of the connection; the association takes over from it."""
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(self.port.association_seconds)
            try:
                request.do_handshake()
            except (OSError, ValueError) as error:
                # ValueError: the doorstep cut it before the handshake began.
                why = in_words(error) if isinstance(error, OSError) else "cut off"
                log.warning("no TLS with %s: %s", client_address[0], why)
                self.port.no_tls(str(client_address[0]), why)
                self.shutdown_request(request)
                return
            request.settimeout(None)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line in place of socketserver's traceback."""
        log.warning("a connection from %s came to nothing", client_address[0], exc_info=False)

    def shutdown(self) -> None:
        """Accept no more."""
        # Not pynetdicom's: it takes the server off a list that only its own start_server fills.
        TCPServer.shutdown(self)
        self.server_close()


class _Handler(RequestHandler):
    server: Server

    def _create_association(self) -> Association:
        association = super()._create_association()
        port = self.server.port
        # The plain socket has announced the connection (Evt5); its replacement does so again.
        association.dul.event_queue.get_nowait()
        association.dul.socket = StreamingSocket(
            association,
            client_socket=self.request,
            longest_pdu=port.longest_pdu,
            pdu_seconds=port.network_seconds,
            first_pdu_seconds=port.association_seconds,
        )
        association.dul.daemon = True
        association.dul.state_machine = EndingStateMachine(association.dul)
        association.dimse = SpoolingProvider(association, port.incoming_dir, port.room)
        return association
