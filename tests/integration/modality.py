"""A modality made of plain sockets, which sends what and as far as it is told."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType

from tests.integration import pdus

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def element(tag: int, value: bytes) -> bytes:
    """One data element in implicit little endian."""
    value += b"\x00" * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def image(
    sop_instance_uid: str,
    *,
    sop_class_uid: str = FOR_PRESENTATION,
    study: str = "1.2.3.4",
    series: str = "1.2.3.4.5",
    size: int = 1000,
) -> bytes:
    """A data set in implicit little endian with identifiers, a name and `size` bytes of pixels."""
    parts = [(0x00080016, sop_class_uid), (0x00080018, sop_instance_uid)]
    parts += [(0x00100010, "Test^Object"), (0x0020000D, study), (0x0020000E, series)]
    data_set = b"".join(element(tag, value.encode()) for tag, value in parts if value)
    return data_set + element(0x7FE00010, b"\x12\x34" * (size // 2))


class Modality:
    """One connection to the receiver."""

    def __init__(self, port: int, *, called: str = "CADNODE", calling: str = "MODALITY") -> None:
        self.called, self.calling = called, calling
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._message_id = 0

    def __enter__(self) -> Modality:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()

    def associate(
        self, contexts: Sequence[tuple[str, str]] = ((FOR_PRESENTATION, IMPLICIT),)
    ) -> tuple[int, bytes]:
        """Ask for an association; the type and body of the answer."""
        self.connection.sendall(pdus.associate_rq(self.called, self.calling, contexts))
        return pdus.read_pdu(self.connection)

    def store(
        self,
        sop_instance_uid: str,
        data_set: bytes | None = None,
        *,
        sop_class_uid: str = FOR_PRESENTATION,
        chunk: int = 16000,
        only: float = 1.0,
    ) -> tuple[int, str]:
        """Send an object, or the part `only` of it; status and error comment of the answer.

        (-1, "") in place of an answer.
        """
        data_set = image(sop_instance_uid) if data_set is None else data_set
        self._message_id += 1
        command = pdus.c_store_rq(sop_class_uid, sop_instance_uid, self._message_id)
        self.connection.sendall(pdus.fragment(1, command, command=True, last=True))
        end = int(len(data_set) * only)
        for at in range(0, end, chunk):
            piece = data_set[at : at + chunk]
            last = at + chunk >= len(data_set)
            self.connection.sendall(pdus.fragment(1, piece, command=False, last=last))
        return self.answer() if only == 1.0 else (-1, "")

    def answer(self) -> tuple[int, str]:
        """Status and error comment of the next DIMSE answer; (-1, "") when there is none."""
        kind, body = pdus.read_pdu(self.connection)
        if kind != pdus.P_DATA:
            return -1, ""
        ((_, _, data),) = pdus.fragments(body)
        elements = pdus.command_elements(data)
        status: int = struct.unpack("<H", elements[0x0900])[0]
        return status, elements.get(0x0902, b"").decode().strip()

    def echo(self) -> int:
        """C-ECHO over context 1; the status."""
        command = pdus.command(
            (0x0002, "1.2.840.10008.1.1"),
            (0x0100, pdus.C_ECHO_RQ),
            (0x0110, 1),
            (0x0800, pdus.NO_DATA_SET),
        )
        self.connection.sendall(pdus.fragment(1, command, command=True, last=True))
        return self.answer()[0]

    def abort(self) -> None:
        """Send an A-ABORT."""
        self.connection.sendall(pdus.abort())

    def release(self) -> int:
        """Ask for the end of the association; the type of the answer."""
        self.connection.sendall(pdus.release_rq())
        return pdus.read_pdu(self.connection)[0]

    def seconds_until_closed(self) -> float:
        """How long the receiver keeps the connection from now on."""
        begun = time.monotonic()
        try:
            while self.connection.recv(4096):
                pass
        except ConnectionResetError:
            return time.monotonic() - begun
        return time.monotonic() - begun
