"""The A-ASSOCIATE-RQ and what a peer says behind it (PS3.8 section 9.3)."""

from __future__ import annotations

from tests.fuzz.upper_layer import AE_TITLE, converse
from tests.integration import pdus

LONGEST = 4096
VERIFICATION = "1.2.840.10008.1.1"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"


def seeds() -> list[bytes]:
    contexts = [(VERIFICATION, "1.2.840.10008.1.2"), (MAMMOGRAM, "1.2.840.10008.1.2.4.70")]
    plain = pdus.associate_rq(AE_TITLE, "MG1", contexts)
    uid = MAMMOGRAM.encode()
    named = len(uid).to_bytes(2, "big") + uid
    items = [
        pdus.item(0x53, bytes([0, 2, 0, 2])),
        pdus.item(0x54, named + bytes([1, 1])),
        pdus.item(0x55, b"VERSION 1"),
        pdus.item(0x56, named + bytes([2, 0, 1, 1, 1, 1])),
        pdus.item(0x57, named + named + len(named).to_bytes(2, "big") + named),
        pdus.item(0x58, b"\x02\x01\x00\x04user\x00\x04pass"),
    ]
    asked = [with_items(plain, item) for item in items]
    return [
        plain,
        *asked,
        with_items(plain, b"".join(items)),
        plain + pdus.release_rq(),
        plain + pdus.abort(),
        plain + plain,
        pdus.associate_rj(1, 1, 1),
        pdus.release_rp(),
    ]


def with_items(request: bytes, more: bytes) -> bytes:
    """The request with further user information items."""
    body = request[6:]
    start = body.index(b"\x50\x00", 68)
    information = body[start + 4 :] + more
    return pdus.pdu(pdus.ASSOCIATE_RQ, body[:start] + pdus.item(0x50, information))


def one_input(data: bytes) -> None:
    converse(data, crossing=len(data) % 2 == 1)
