"""Sockets under pynetdicom that cannot be held for ever and cannot be made to eat memory.

pynetdicom 3.0 believes any PDU length, waits without limit for the rest of a PDU, and wakes every
thread a thousand times a second. The socket class here puts a deadline on each PDU in and out,
refuses a PDU beyond a limit, and lets an idle association sleep longer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from cadnode.dimse.association_request import is_sound
from cadnode.dimse.state_machine import EndingStateMachine

# Process-wide switches of pynetdicom. Its own event logging prints C-FIND identifiers, which name
# patients; and a stored result is to go out byte for byte, not decoded and encoded again.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
_config.STORE_SEND_CHUNKED_DATASET = True

LONGEST_ASSOCIATE_PDU = 1 << 20
"""Bytes; 128 contexts with 30 transfer syntaxes each need about a quarter of this."""

LONGEST_FAREWELL = 1.0
"""Seconds for a peer to read our abort and close; then its connection is cut."""

FAREWELL_BYTES = 4 << 20
"""What a peer may have on its way when we abort; one that goes on and on is cut earlier."""

MOST_BYTES = 64 << 20
"""Bytes of all answers on an association that we asked for, without objects: about a hundred
thousand studies."""

AWAITING_CLOSE = "Sta13"
"""PS3.8 table 9-10."""

LONGEST_IDLE_WAIT = 0.05
"""Seconds an idle association may sleep before it looks for something to send."""


def idle_wait(quiet_since: float) -> float:
    """Seconds to wait for the next event: short while there is traffic, longer when idle."""
    return min(LONGEST_IDLE_WAIT, max(0.0, time.monotonic() - quiet_since) / 8)


class BoundedSocket(AssociationSocket):
    """An association's socket with a limit on the size and the duration of one PDU.

    `timed_out` tells a peer that went silent from one that closed; `failure` is why there is no
    connection, or what TLS found wrong with it. `deadline` (monotonic seconds) ends everything on
    this socket, however busy the peer keeps it.
    """

    def __init__(
        self,
        assoc: Association,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
        *,
        longest_pdu: int,
        pdu_seconds: float,
        first_pdu_seconds: float | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__(assoc, client_socket, address)
        self.timed_out = False
        self.failure: OSError | None = None
        self._ahead = b""
        self._farewell_ends: float | None = None
        self._farewell_bytes = 0
        self._longest_pdu = max(longest_pdu, LONGEST_ASSOCIATE_PDU)
        self._pdu_seconds = pdu_seconds
        self._deadline = deadline
        self._quiet_since = time.monotonic()
        self._first_pdu_ends = (
            None if first_pdu_seconds is None else self._quiet_since + first_pdu_seconds
        )
        self._pdu_ends = self._quiet_since
        self._in_body = False
        self._kind = 0
        if self.socket is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, and shake hands where it is TLS; at most `connection_timeout` for each."""
        try:
            self._connect(primitive)
        except OSError as error:
            self.failure = error
            self._shutdown_socket()
            self.socket = None
            primitive.result = "Evt17"
        else:
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": primitive.address_info.as_tuple})
            primitive.result = "Evt2"
        finally:
            self.provider_queue.put(primitive)
            self._ready.set()

    def _connect(self, primitive: T_CONNECT) -> None:
        sock = self.socket
        if sock is None:
            raise OSError("the connection is closed")
        sock.settimeout(self.assoc.connection_timeout)
        sock.connect(primitive.address_info.as_tuple)
        if self.tls_args:
            context, host_name = self.tls_args
            # The handshake comes second so that `shut` finds the socket that it has to cut.
            encrypted = context.wrap_socket(
                sock, server_hostname=host_name, do_handshake_on_connect=False
            )
            self.socket = encrypted
            encrypted.do_handshake()
            sock = encrypted
        self.assoc.requestor.address_info = AddressInformation.from_tuple(sock.getsockname())

    @property
    def ready(self) -> bool:
        """True when there is something to read (or the end of the connection to notice).

        poll, not select: select fails on file descriptors from 1024 on.
        """
        sock = self.socket
        if sock is None or not self._is_connected or self._farewell_is_over():
            return False
        if self.assoc.is_acceptor and not self.assoc.is_alive():
            self._end_orphan()
            return False
        if self._ahead or (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            return True
        try:
            return self._wait(sock) and (
                not isinstance(sock, ssl.SSLSocket) or self._look_ahead(sock)
            )
        except (OSError, ValueError) as error:
            self._note(error)
            self.event_queue.put("Evt17")
            return False

    def _wait(self, sock: socket.socket) -> bool:
        """Has anything come, after a moment's wait?"""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(idle_wait(self._quiet_since) * 1000))

    def _end_orphan(self) -> None:
        # Whatever a peer makes pynetdicom raise ends the association's thread and nothing else.
        self.close()
        evt.trigger(self.assoc, evt.EVT_CONN_CLOSE, {})
        self.assoc.dul.kill_dul()

    def _farewell_is_over(self) -> bool:
        # After an abort pynetdicom reads on for as long as the peer goes on sending.
        if self.assoc.dul.state_machine.current_state != AWAITING_CLOSE:
            return False
        if self._farewell_ends is None:
            self._farewell_ends = time.monotonic() + LONGEST_FAREWELL
            self._deadline = min(self._farewell_ends, self._deadline or self._farewell_ends)
        too_much = self._farewell_bytes > FAREWELL_BYTES
        return too_much or time.monotonic() >= self._farewell_ends

    def _look_ahead(self, sock: ssl.SSLSocket) -> bool:
        # What has arrived may be of TLS itself, or half a record: no reason to wait for a PDU
        # while there may be something to send.
        sock.settimeout(0)
        try:
            self._ahead = sock.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def _note(self, error: Exception) -> None:
        if isinstance(error, ssl.SSLError):
            self.failure = self.failure or error

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, fewer at the end of the connection.

        Raises TimeoutError when the PDU does not arrive in time, OSError when it is too long.
        """
        if nr_bytes > self._longest_pdu:
            raise OSError(f"a PDU of {nr_bytes} bytes is beyond the limit of {self._longest_pdu}")
        # pynetdicom reads a PDU in two calls: 6 bytes of header, then the rest.
        if not self._in_body:
            self._pdu_ends = self._first_pdu_ends or time.monotonic() + self._pdu_seconds
        elif self._first_pdu_ends is not None:
            self._first_pdu_ends = None
        self._in_body = not self._in_body
        data = bytearray(nr_bytes)
        view = memoryview(data)
        got = min(nr_bytes, len(self._ahead))
        data[:got], self._ahead = self._ahead[:got], self._ahead[got:]
        while got < nr_bytes:
            read = self._within(self._pdu_ends, lambda sock, rest=view[got:]: sock.recv_into(rest))
            if not read:
                view.release()
                del data[got:]
                return data
            got += read
        self._quiet_since = time.monotonic()
        if self._farewell_ends is not None:
            self._farewell_bytes += got
        if self._in_body:
            self._kind = data[0] if data else 0
        elif not is_sound(self._kind, memoryview(data)):
            # An invalid PDU: aborted, then closed by what comes of the exception.
            self.event_queue.put("Evt19")
            raise OSError("an association PDU that is not worth decoding")
        return data

    def send(self, bytestream: bytes) -> None:
        """Send all bytes; the end of the connection is reported when that takes too long."""
        ends = time.monotonic() + self._pdu_seconds
        try:
            view = memoryview(bytestream)
            while view:
                view = view[self._within(ends, lambda sock, rest=view: sock.send(rest)) :]
        except OSError:
            self.event_queue.put("Evt17")
        self._quiet_since = time.monotonic()

    def shut(self) -> None:
        """Cut the connection from any thread; whoever waits on it wakes with an error."""
        sock = self.socket
        if sock is not None:
            cut(sock)

    def _shutdown_socket(self) -> None:
        # pynetdicom's leaves the socket open when there is no connection left to shut down.
        self.shut()
        if self.socket is not None:
            self.socket.close()

    def _within(self, ends: float, act: Any) -> Any:
        sock = self.socket
        if sock is None:
            raise OSError("the connection is closed")
        if self._deadline is not None:
            ends = min(ends, self._deadline)
        rest = ends - time.monotonic()
        try:
            if rest <= 0:
                raise TimeoutError("the peer did not keep up within the time limit")
            sock.settimeout(rest)
            return act(sock)
        except TimeoutError:
            self.timed_out = True
            raise
        except OSError as error:
            self._note(error)
            raise


def cut(sock: socket.socket) -> None:
    """End a connection from any thread; whoever waits on it wakes with an error."""
    with contextlib.suppress(OSError):
        # Not the method of an SSLSocket: it puts the encryption aside first, and whatever another
        # thread sends in that moment would leave as plain text.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class AskingProvider(DIMSEServiceProvider):
    """The DIMSE provider of an association that we asked for: only the asker gets messages.

    pynetdicom pauses the association's own thread while a request waits for its answer, but by
    two flags read one after the other; on a busy machine that thread takes the answer away.
    Beyond `MOST_BYTES` of answers `overrun` is True and the association ends.
    """

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self.overrun = False
        self._taken = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in one P-DATA."""
        self._taken += sum(len(data) for _, data in primitive.presentation_data_value_list)
        if self._taken > MOST_BYTES:
            self.overrun = True
            self.dul.event_queue.put("Evt19")
            # pynetdicom does not wake who waits for an answer when we break off ourselves.
            self.msg_queue.put((None, None))
            return
        super().receive_primitive(primitive)

    def get_msg(self, block: bool = False) -> Any:
        """The next message for a caller that waits; none for the thread that polls."""
        return super().get_msg(block=True) if block else (None, None)


class BoundedAE(ApplicationEntity):
    """An application entity whose outgoing associations run on a `BoundedSocket`."""

    def __init__(self, ae_title: str, *, pdu_seconds: float, deadline: float) -> None:
        super().__init__(ae_title)
        self._pdu_seconds = pdu_seconds
        self._deadline = deadline
        self.opened: BoundedSocket | None = None
        self.provider: Callable[[Association], DIMSEServiceProvider] = AskingProvider
        """What takes in the messages of the next association."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: Any
    ) -> BoundedSocket:
        # The upper layer's thread is not a daemon in pynetdicom: one dead peer would keep the
        # program from ending.
        assoc.dul.daemon = True
        assoc.dul.state_machine = EndingStateMachine(assoc.dul)
        assoc.dimse = self.provider(assoc)
        self.opened = BoundedSocket(
            assoc,
            address=address,
            longest_pdu=LONGEST_ASSOCIATE_PDU,
            pdu_seconds=self._pdu_seconds,
            deadline=self._deadline,
        )
        self.opened.tls_args = tls_args
        return self.opened
