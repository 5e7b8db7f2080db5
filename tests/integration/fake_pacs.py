"""An archive that misbehaves on purpose, made of plain sockets.

with FakePacs(Behaviour(statuses=(0x0000, 0xA700))) as pacs:
    DicomSender(Destination("fake", "PACS", "127.0.0.1", pacs.port), "CADNODE")
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType

from tests.integration import pdus


class OnRequest(Enum):
    """What it does with an association request."""

    ACCEPT = auto()
    SAY_NOTHING = auto()
    HALF_AN_ACCEPT = auto()
    CLOSE = auto()
    ABORT = auto()


class OnObject(Enum):
    """What it does with an object."""

    ANSWER = auto()
    ABORT_MIDWAY = auto()
    CLOSE_MIDWAY = auto()
    STOP_READING = auto()
    NO_ANSWER = auto()
    HALF_AN_ANSWER = auto()
    DRIP_THE_ANSWER = auto()


@dataclass(frozen=True)
class Behaviour:
    """How it behaves; the default is a good archive."""

    on_request: OnRequest = OnRequest.ACCEPT
    reject: tuple[int, int, int] | None = None
    """Result, source and reason of a rejection (PS3.8 table 9-21)."""
    refused: tuple[str, ...] = ()
    """SOP classes and transfer syntaxes that it does not accept."""
    statuses: tuple[int, ...] = ()
    """C-STORE status for the first, second, ... object; 0x0000 beyond."""
    on_object: Mapping[int, OnObject] = field(default_factory=dict)
    """By the number of the object, from 0, over all associations."""
    confirm_release: bool = True


@dataclass(frozen=True)
class ReceivedObject:
    """An object that arrived whole; `data_set` as it was encoded on the wire."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


class FakePacs:
    """Listens on a free port of the loopback address; `behaviour` may be changed at any time."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.received: list[ReceivedObject] = []
        self.associations = 0
        self.begun = 0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.socket()
        # Small, so that a peer which stops reading is felt at once.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> FakePacs:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for sock in (self._listener, *self._connections):
            _hang_up(sock)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                kind, request = pdus.read_pdu(connection)
                if kind == pdus.ASSOCIATE_RQ and self._negotiate(connection, request):
                    self._converse(connection, request)
            except OSError:
                # The other end gave up, which is what most of these behaviours are for.
                return

    def _negotiate(self, connection: socket.socket, request: bytes) -> bool:
        behaviour = self.behaviour
        self.associations += 1
        if behaviour.reject is not None:
            connection.sendall(pdus.associate_rj(*behaviour.reject))
            return False
        answer = pdus.associate_ac(request, behaviour.refused)
        match behaviour.on_request:
            case OnRequest.ACCEPT:
                connection.sendall(answer)
                return True
            case OnRequest.SAY_NOTHING:
                self._stopping.wait(30)
            case OnRequest.HALF_AN_ACCEPT:
                connection.sendall(answer[: len(answer) // 2])
                self._stopping.wait(30)
            case OnRequest.ABORT:
                connection.sendall(pdus.abort())
            case OnRequest.CLOSE:
                pass
        return False

    def _converse(self, connection: socket.socket, request: bytes) -> None:
        syntaxes = {
            context.context_id: context.transfer_syntax_uids[0]
            for context in pdus.proposed_contexts(request)
        }
        encoded, data_set, number = b"", bytearray(), 0
        elements: dict[int, bytes] = {}
        while True:
            kind, body = pdus.read_pdu(connection)
            if kind == pdus.RELEASE_RQ and self.behaviour.confirm_release:
                connection.sendall(pdus.release_rp())
            if kind != pdus.P_DATA:
                return
            for context_id, control, data in pdus.fragments(body):
                if control & 1:
                    encoded, data_set = encoded + data, bytearray()
                    if not control & 2:
                        continue
                    elements = pdus.command_elements(encoded)
                    encoded = b""
                    if _number(elements[0x0100]) == pdus.C_ECHO_RQ:
                        connection.sendall(_response(context_id, elements, pdus.C_ECHO_RSP, 0))
                        continue
                    number, self.begun = self.begun, self.begun + 1
                    continue
                if self._break_off(connection, number):
                    return
                data_set += data
                if control & 2 and not self._answer(
                    connection, context_id, elements, syntaxes[context_id], bytes(data_set), number
                ):
                    return

    def _break_off(self, connection: socket.socket, number: int) -> bool:
        match self.behaviour.on_object.get(number):
            case OnObject.ABORT_MIDWAY:
                connection.sendall(pdus.abort())
                pdus.read_pdu(connection)
                return True
            case OnObject.CLOSE_MIDWAY:
                return True
            case OnObject.STOP_READING:
                self._stopping.wait(30)
                return True
        return False

    def _answer(
        self,
        connection: socket.socket,
        context_id: int,
        elements: dict[int, bytes],
        syntax: str,
        data_set: bytes,
        number: int,
    ) -> bool:
        """Answer the whole object; False when the conversation ends here."""
        behaviour = self.behaviour
        status = behaviour.statuses[number] if number < len(behaviour.statuses) else 0x0000
        response = _response(context_id, elements, pdus.C_STORE_RSP, status)
        match behaviour.on_object.get(number, OnObject.ANSWER):
            case OnObject.NO_ANSWER:
                self._stopping.wait(30)
                return False
            case OnObject.HALF_AN_ANSWER:
                connection.sendall(response[: len(response) // 2])
                self._stopping.wait(30)
                return False
            case OnObject.DRIP_THE_ANSWER:
                for at in range(len(response)):
                    connection.sendall(response[at : at + 1])
                    if self._stopping.wait(0.1):
                        break
                return False
        if status == 0x0000:
            self.received.append(
                ReceivedObject(_text(elements[0x0002]), _text(elements[0x1000]), syntax, data_set)
            )
        connection.sendall(response)
        return True


def _response(context_id: int, request: dict[int, bytes], kind: int, status: int) -> bytes:
    elements: list[tuple[int, int | str]] = [
        (0x0002, _text(request[0x0002])),
        (0x0100, kind),
        (0x0120, _number(request[0x0110])),
        (0x0800, pdus.NO_DATA_SET),
        (0x0900, status),
    ]
    if 0x1000 in request:
        elements.append((0x1000, _text(request[0x1000])))
    return pdus.fragment(context_id, pdus.command(*elements), command=True, last=True)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\x00").decode()


def _number(raw: bytes) -> int:
    number: int = struct.unpack("<H", raw)[0]
    return number


def _hang_up(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has hung up itself.
        return
