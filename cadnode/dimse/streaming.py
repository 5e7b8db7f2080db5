"""The socket of an association on which objects come: their bytes go straight into their files.

pynetdicom makes three objects and four copies of every fragment, and asks its loggers and event
handlers each time. Between the command set of a C-STORE and the last byte of its data set there is
nothing for it to do; the socket reads on by itself there, under the same limits.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Any, cast

from pynetdicom.association import Association

from cadnode.dimse.incoming import BROKEN_MESSAGE, SpoolingProvider
from cadnode.dimse.p_data import DataSetParser
from cadnode.dimse.transport import LONGEST_IDLE_WAIT, BoundedSocket
from cadnode.dimse.waking import WakingQueue

READ_BYTES = 1 << 19
"""What is taken from the system at once. Two buffers of this size are held for as long as bytes
keep coming: one is read into while the other is hashed."""

DATA_TRANSFER = "Sta6"
"""PS3.8 table 9-10."""

_NOTHING_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class StreamingSocket(BoundedSocket):
    """A `BoundedSocket` of an association whose DIMSE provider is a `SpoolingProvider`.

    What pynetdicom wants to send wakes it, also from a wait for the peer.
    """

    def __init__(self, assoc: Association, **options: Any) -> None:
        self._parser: DataSetParser | None = None
        self._parser_pdu_ends = 0.0
        self._outgoing = WakingQueue()
        assoc.dul.to_provider_queue = self._outgoing
        # The wait is ours, and ends early for what is to be sent.
        assoc.dul._run_loop_delay = 0.0
        super().__init__(assoc, **options)

    @property
    def ready(self) -> bool:
        """True when there is a PDU for pynetdicom to read."""
        if self.socket is None or not self._is_connected:
            time.sleep(0.001)
            return False
        if self._may_stream() and not self._stream(self.socket):
            return False
        self._unread(b"")
        return super().ready

    def _may_stream(self) -> bool:
        return (
            self.assoc.dul.state_machine.current_state == DATA_TRANSFER
            and self._provider.streams is not None
            and (self.assoc.is_requestor or self.assoc.is_alive())
        )

    @property
    def _provider(self) -> SpoolingProvider:
        return cast("SpoolingProvider", self.assoc.dimse)

    def _stream(self, sock: socket.socket) -> bool:
        """Read until the data set is whole (True), or there is nothing to read or something to
        send (False)."""
        try:
            return self._read_on(sock)
        except BROKEN_MESSAGE:
            self._provider.discard()
            self.event_queue.put("Evt19")
        except OSError as error:
            self._note(error)
            self.event_queue.put("Evt17")
        self._parser = None
        return False

    def _read_on(self, sock: socket.socket) -> bool:
        parser = self._parser
        if parser is None:
            parser = DataSetParser(self._provider.streams or 0, self._longest_pdu)
            self._parser = parser
            self._parser_pdu_ends = time.monotonic() + self._pdu_seconds
        buffer, other = memoryview(bytearray(READ_BYTES)), memoryview(bytearray(READ_BYTES))
        rest = len(self._ahead)
        buffer[:rest], self._ahead = self._ahead, b""
        filled = rest
        sock.settimeout(0)
        while True:
            used = self._take(parser, buffer[:filled], rest)
            rest = filled - used
            if parser.whole or parser.elsewhere or self._provider.streams is None:
                self._unread(bytes(buffer[used:filled]))
                return True
            other[:rest] = buffer[used:filled]
            buffer, other = other, buffer
            within_pdu = rest > 0 or parser.within_pdu
            got = self._arrived(sock, buffer[rest:], within_pdu) if self._outgoing.empty() else None
            if got is None:
                self._ahead = bytes(buffer[:rest])
                return False
            if got == 0:
                raise OSError("the connection was closed in the middle of an object")
            filled = rest + got
            self._quiet_since = time.monotonic()
            self.assoc.dul._idle_timer.restart()

    def _take(self, parser: DataSetParser, data: memoryview, known: int) -> int:
        """Hand over what is of the data set; `known` bytes of `data` had come before. Returns how
        many bytes were used."""
        before, within_pdu = parser.pdus, known > 0 or parser.within_pdu
        pieces, used = parser.feed(data)
        began = time.monotonic()
        if pieces or parser.whole:
            self._provider.take_pieces(pieces, last=parser.whole)
        now = time.monotonic()
        # A header that had begun to come belongs to a PDU whose time is running already.
        another = parser.pdus - before > (1 if known else 0) or not within_pdu
        if another:
            self._parser_pdu_ends = now + self._pdu_seconds
        else:
            # The peer does not pay for our disk, nor for being held back.
            self._parser_pdu_ends += now - began
        return used

    def _arrived(self, sock: socket.socket, into: memoryview, within_pdu: bool) -> int | None:
        """Bytes read, 0 at the end of the connection, None when none come now."""
        while True:
            try:
                return sock.recv_into(into)
            except _NOTHING_NOW:
                if within_pdu and time.monotonic() >= self._parser_pdu_ends:
                    self.timed_out = True
                    raise TimeoutError("the peer did not keep up within the time limit") from None
                if not self._wait(sock):
                    return None

    def _wait(self, sock: socket.socket) -> bool:
        """Has anything come, after at most `LONGEST_IDLE_WAIT`? What is to be sent ends the wait,
        and there is none while pynetdicom has something to do."""
        longest = LONGEST_IDLE_WAIT if self.event_queue.empty() else 0.0
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(self._outgoing, select.POLLIN)
        woken = {descriptor for descriptor, _ in poll.poll(longest * 1000)}
        if self._outgoing.fileno() in woken:
            self._outgoing.hush()
        return sock.fileno() in woken

    def _unread(self, rest: bytes) -> None:
        """Give back to pynetdicom what comes after the data set, or what is left of its PDU."""
        parser, self._parser = self._parser, None
        if parser is not None:
            self._ahead = parser.unread_header() + self._ahead + rest

    def _shutdown_socket(self) -> None:
        super()._shutdown_socket()
        self._outgoing.close()
