"""Objects that go from the socket straight into their files, in every shape a sender may choose."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cadnode.dimse.incoming import file_meta
from tests.integration import pdus
from tests.integration.modality import FOR_PRESENTATION, IMPLICIT, Modality, image
from tests.integration.receiver import Receiver, receiver

SOON = 5.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path, association_seconds=30, network_seconds=30) as running:
        yield running


def part(data: bytes, *, command: bool = False, last: bool = False) -> bytes:
    """A fragment without its PDU."""
    return struct.pack(">IBB", len(data) + 2, 1, int(command) | 2 * int(last)) + data


def asking(uid: str) -> bytes:
    """The command set of a C-STORE as a fragment without its PDU."""
    return part(pdus.c_store_rq(FOR_PRESENTATION, uid), command=True, last=True)


def in_pdus(*pieces: bytes) -> bytes:
    return b"".join(pdus.pdu(pdus.P_DATA, piece) for piece in pieces)


def cut(data: bytes, size: int) -> Sequence[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def fragments_of(data: bytes, size: int) -> Sequence[bytes]:
    pieces = cut(data, size)
    return [part(piece, last=place == len(pieces) - 1) for place, piece in enumerate(pieces)]


UID = "1.2.3.1"
SMALL, LARGE = image(UID, size=3000), image(UID, size=3_000_000)


@pytest.mark.parametrize(
    ("data_set", "said"),
    [
        (SMALL, in_pdus(asking(UID) + b"".join(fragments_of(SMALL, 1000)))),
        (SMALL, in_pdus(asking(UID) + part(SMALL[:10]), part(SMALL[10:], last=True))),
        (SMALL, in_pdus(asking(UID), *fragments_of(SMALL, 1))),
        (SMALL, in_pdus(asking(UID), part(b""), part(SMALL), part(b"", last=True))),
        (SMALL, in_pdus(asking(UID), b"", *fragments_of(SMALL, 999))),
        (LARGE, in_pdus(asking(UID), *fragments_of(LARGE, 131_000))),
        (LARGE, in_pdus(asking(UID), *cut(b"".join(fragments_of(LARGE, 8000)), 2 * 8006))),
    ],
    ids=[
        "one PDU for all of it",
        "a fragment in the PDU of the command",
        "a byte in each PDU",
        "empty fragments",
        "an empty PDU",
        "the longest PDUs",
        "two fragments in each PDU",
    ],
)
def test_an_object_is_kept_as_it_was_sent_however_it_is_cut(
    data_set: bytes, said: bytes, node: Receiver
) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        modality.connection.sendall(said)
        assert modality.answer()[0] == 0
        assert modality.store("1.2.3.2")[0] == 0
    kept = node.kept()[UID].read_bytes()
    assert kept == file_meta(FOR_PRESENTATION, UID, IMPLICIT) + data_set
    assert node.objects[0].sha256 == hashlib.sha256(data_set).hexdigest()


def test_the_next_request_may_come_with_the_end_of_an_object(node: Receiver) -> None:
    other = image("1.2.3.2")
    said = in_pdus(asking(UID), part(SMALL, last=True) + asking("1.2.3.2"), part(other, last=True))
    with Modality(node.port) as modality:
        modality.associate()
        modality.connection.sendall(said)
        assert [modality.answer()[0], modality.answer()[0]] == [0, 0]
        assert modality.release() == pdus.RELEASE_RP
    assert set(node.kept()) == {UID, "1.2.3.2"}


def test_an_object_that_comes_byte_by_byte_is_kept(node: Receiver) -> None:
    said = in_pdus(asking(UID), *fragments_of(image(UID, size=60), 50))
    with Modality(node.port) as modality:
        modality.associate()
        for byte in cut(said, 1):
            modality.connection.sendall(byte)
        assert modality.answer()[0] == 0
    assert set(node.kept()) == {UID}


def test_what_is_to_be_sent_does_not_wait_for_the_rest_of_an_object(node: Receiver) -> None:
    began = time.monotonic()
    with Modality(node.port) as modality:
        modality.associate()
        said = in_pdus(asking(UID), part(SMALL, last=True), asking("1.2.3.2"), part(bytes(5000)))
        modality.connection.sendall(said[:-1000])
        assert modality.answer()[0] == 0
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    "words",
    [
        pdus.pdu(pdus.P_DATA, struct.pack(">IBB", 5000, 1, 0) + b"short") + bytes(100),
        pdus.pdu(pdus.P_DATA, b"\x00\x00") + bytes(100),
        struct.pack(">BBI", pdus.P_DATA, 0, 1 << 30) + bytes(100),
        in_pdus(part(b"x", command=True)),
        pdus.pdu(0x77, bytes(100)),
        pdus.associate_rq("CADNODE", "MODALITY", []),
    ],
    ids=[
        "a fragment longer than its PDU",
        "a cut fragment",
        "a PDU of a gigabyte",
        "a command",
        "an unknown PDU",
        "a request for an association",
    ],
)
def test_nonsense_within_an_object_ends_its_association_and_leaves_nothing(
    words: bytes, node: Receiver
) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        modality.connection.sendall(in_pdus(asking(UID), *(part(bytes(16_000)),) * 20) + words)
        assert modality.seconds_until_closed() < SOON
    with Modality(node.port) as modality:
        modality.associate()
        assert modality.store("1.2.3.9")[0] == 0
    node.scp.stop()
    assert node.partial() == []


def test_a_pdu_that_drips_in_within_an_object_has_its_time(tmp_path: Path) -> None:
    with receiver(tmp_path, association_seconds=30, network_seconds=0.5) as node:
        with Modality(node.port) as modality:
            modality.associate()
            modality.connection.sendall(in_pdus(asking(UID), part(bytes(9000)))[:-5000])
            began = time.monotonic()
            try:
                while time.monotonic() - began < 4 * SOON:
                    modality.connection.sendall(b"x")
                    time.sleep(0.05)
            except ConnectionError:
                assert time.monotonic() - began < SOON
        node.scp.stop()
        assert node.partial() == []
        assert node.kept() == {}


def test_an_abort_within_an_object_is_heard(node: Receiver) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        modality.connection.sendall(in_pdus(asking(UID), part(SMALL)) + pdus.abort())
        assert modality.seconds_until_closed() < SOON
    node.scp.stop()
    assert node.partial() == []
