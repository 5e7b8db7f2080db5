"""DICOM upper layer PDUs and DIMSE commands as plain bytes (PS3.8 section 9.3, PS3.7 annex E).

For peers that break the rules, which no toolkit will do for us.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
C_STORE_RQ, C_STORE_RSP, C_ECHO_RQ, C_ECHO_RSP = 0x0001, 0x8001, 0x0030, 0x8030
N_ACTION_RQ, N_ACTION_RSP = 0x0130, 0x8130
HAS_DATA_SET, NO_DATA_SET = 0x0001, 0x0101


@dataclass(frozen=True)
class ProposedContext:
    """One presentation context of an A-ASSOCIATE-RQ."""

    context_id: int
    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


def pdu(kind: int, body: bytes) -> bytes:
    """One PDU."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """One item or sub-item of an association PDU."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def items(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The items in `body`: (type, content)."""
    at = 0
    while at < len(body):
        kind, _, length = struct.unpack_from(">BBH", body, at)
        yield kind, body[at + 4 : at + 4 + length]
        at += 4 + length


def _fixed(called: str, calling: str) -> bytes:
    return struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())


def _user_information(max_pdu: int) -> bytes:
    return item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4"))


def associate_rq(
    called: str, calling: str, contexts: Sequence[tuple[str, str]], max_pdu: int = 16384
) -> bytes:
    """An association request; context n (from 0) has the ID 2n + 1."""
    body = _fixed(called, calling) + item(0x10, APPLICATION_CONTEXT.encode())
    for number, (sop_class, syntax) in enumerate(contexts):
        content = bytes([2 * number + 1, 0, 0, 0])
        content += item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
        body += item(0x20, content)
    return pdu(ASSOCIATE_RQ, body + _user_information(max_pdu))


def proposed_contexts(request: bytes) -> list[ProposedContext]:
    """The contexts in the body of an A-ASSOCIATE-RQ."""
    found = []
    for kind, content in items(request[68:]):
        if kind == 0x20:
            parts = list(items(content[4:]))
            found.append(
                ProposedContext(
                    content[0],
                    next(value.decode() for kind, value in parts if kind == 0x30),
                    tuple(value.decode() for kind, value in parts if kind == 0x40),
                )
            )
    return found


def associate_ac(request: bytes, refused: Sequence[str] = (), max_pdu: int = 16384) -> bytes:
    """The answer that accepts every context's first syntax, but for those in which it or the SOP
    class is among `refused`."""
    body = request[:68] + item(0x10, APPLICATION_CONTEXT.encode())
    for context in proposed_contexts(request):
        names = {context.sop_class_uid, context.transfer_syntax_uids[0]}
        result = 3 if names & set(refused) else 0
        syntax = item(0x40, context.transfer_syntax_uids[0].encode())
        body += item(0x21, bytes([context.context_id, 0, result, 0]) + syntax)
    return pdu(ASSOCIATE_AC, body + _user_information(max_pdu))


def associate_rj(result: int, source: int, reason: int) -> bytes:
    """A rejection."""
    return pdu(ASSOCIATE_RJ, bytes([0, result, source, reason]))


def release_rq() -> bytes:
    """The request to end the association."""
    return pdu(RELEASE_RQ, bytes(4))


def release_rp() -> bytes:
    """The answer to it."""
    return pdu(RELEASE_RP, bytes(4))


def abort() -> bytes:
    """An abort by the service user."""
    return pdu(ABORT, bytes(4))


def fragment(context_id: int, data: bytes, *, command: bool, last: bool) -> bytes:
    """A P-DATA-TF with one fragment."""
    value = bytes([context_id, int(command) | 2 * int(last)]) + data
    return pdu(P_DATA, struct.pack(">I", len(value)) + value)


def command(*elements: tuple[int, int | str]) -> bytes:
    """A command set in implicit little endian: (element number of group 0, value)."""
    body = b""
    for number, value in sorted(elements):
        raw = value.encode() if isinstance(value, str) else struct.pack("<H", value)
        raw += b"\x00" * (len(raw) % 2)
        body += struct.pack("<HHI", 0, number, len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def command_elements(encoded: bytes) -> dict[int, bytes]:
    """The raw values of a command set by element number."""
    found, at = {}, 0
    while at + 8 <= len(encoded):
        _, number, length = struct.unpack_from("<HHI", encoded, at)
        found[number] = encoded[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def c_store_rq(sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    """The command set of a C-STORE request."""
    return command(
        (0x0002, sop_class),
        (0x0100, C_STORE_RQ),
        (0x0110, message_id),
        (0x0700, 0),
        (0x0800, HAS_DATA_SET),
        (0x1000, sop_instance),
    )


def exactly(connection: socket.socket, count: int) -> bytes:
    """`count` bytes, fewer at the end of the connection."""
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """The next PDU as (type, body); type 0 at the end of the connection."""
    try:
        header = exactly(connection, 6)
        if len(header) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", header)
        return kind, exactly(connection, length)
    except ConnectionResetError:
        return 0, b""


def fragments(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The fragments in the body of a P-DATA-TF: (context ID, control bits, data)."""
    at = 0
    while at < len(body):
        (length,) = struct.unpack_from(">I", body, at)
        yield body[at + 4], body[at + 5], body[at + 6 : at + 4 + length]
        at += 4 + length
