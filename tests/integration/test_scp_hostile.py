"""The Storage SCP against senders that hang, flood and talk nonsense."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.acse import ACSE

from tests.integration import pdus
from tests.integration.modality import Modality, image
from tests.integration.receiver import Receiver, receiver

CONTEXT = pdus.item(0x20, bytes([1, 0, 0, 0]) + pdus.item(0x30, b"1.2"))

SOON = 5.0
"""Seconds; the limits under test are 0.3 s or none at all, the rest is for a busy machine."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path, association_seconds=0.3, network_seconds=0.3) as running:
        yield running


@pytest.fixture
def patient_node(tmp_path: Path) -> Iterator[Receiver]:
    """One whose time limits are not what ends a connection here."""
    with receiver(tmp_path, association_seconds=30, network_seconds=30) as running:
        yield running


def serves(node: Receiver) -> bool:
    """True when a good sender still gets its image in."""
    with Modality(node.port) as modality:
        return modality.associate()[0] == pdus.ASSOCIATE_AC and modality.store("1.2.3.9")[0] == 0


@pytest.mark.parametrize("words", [b"", b"\x01\x00\x00", pdus.associate_rq("A", "B", [])[:50]])
def test_a_connection_without_a_whole_request_is_closed(words: bytes, node: Receiver) -> None:
    with Modality(node.port) as modality:
        modality.connection.sendall(words)

        assert modality.seconds_until_closed() < SOON
    assert serves(node)


def test_a_request_that_drips_in_is_closed(node: Receiver) -> None:
    request = pdus.associate_rq("CADNODE", "DRIP", [])
    begun = time.monotonic()
    sent = 0
    with Modality(node.port) as modality, contextlib.suppress(ConnectionError):
        while sent < len(request):
            sent += modality.connection.send(request[sent : sent + 1])
            time.sleep(0.05)

    assert sent < len(request)
    assert time.monotonic() - begun < SOON


@pytest.mark.parametrize("established", [False, True])
def test_a_pdu_of_four_gigabytes_is_not_believed(established: bool, patient_node: Receiver) -> None:
    with Modality(patient_node.port) as modality:
        if established:
            modality.associate()
        kind = pdus.P_DATA if established else pdus.ASSOCIATE_RQ
        modality.connection.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFFF))

        assert modality.seconds_until_closed() < SOON
    assert serves(patient_node)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        pdus.pdu(pdus.ASSOCIATE_RQ, b"\xff" * 500),
        pdus.pdu(pdus.P_DATA, b"\x00\x00\x00\x02\x01\x03"),
        pdus.abort(),
        bytes(range(256)) * 4,
        pdus.associate_rq("CADNODE", "MODALITY", [("1.2", "1.2.840.10008.1.2")] * 126)[:-1] * 40,
        pdus.pdu(pdus.ASSOCIATE_RQ, pdus.associate_rq("CADNODE", "A", [])[6:74] + CONTEXT * 60_000),
    ],
    ids=[
        "http",
        "broken request",
        "data before a request",
        "abort",
        "noise",
        "requests that run into each other",
        "a request of 60000 items",
    ],
)
def test_nonsense_ends_the_connection_and_nothing_else(
    words: bytes, patient_node: Receiver
) -> None:
    with Modality(patient_node.port) as modality:
        modality.connection.sendall(words)

        assert modality.seconds_until_closed() < SOON
    assert serves(patient_node)


# pydicom warns of the broken values before it raises, or does not raise.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "words",
    [
        pdus.fragment(1, b"\xff" * 40, command=True, last=True),
        pdus.fragment(1, pdus.command((0x0100, 0x7777)), command=True, last=True),
        pdus.fragment(9, pdus.c_store_rq("1.2", "1.2.3"), command=True, last=True),
        pdus.fragment(1, pdus.c_store_rq("1.2", "1." * 40 + "1"), command=True, last=True)
        + pdus.fragment(1, b"x", command=False, last=True),
        pdus.fragment(1, pdus.c_store_rq("1.2", "1.2.3"), command=True, last=True) * 2,
        pdus.fragment(1, bytes(16000), command=True, last=False) * 8,
        pdus.pdu(pdus.P_DATA, b"\x00\x00"),
        pdus.fragment(1, pdus.c_store_rq("1.2", "1.2.3"), command=True, last=True)
        + pdus.fragment(3, b"x", command=False, last=True),
        pdus.associate_rq("CADNODE", "MODALITY", [("1.2", "1.2.840.10008.1.2")]),
    ],
    ids=[
        "no command set",
        "unknown command",
        "context never accepted",
        "UID too long",
        "command within a data set",
        "command set without end",
        "cut fragment",
        "another context within a message",
        "a request within an association",
    ],
)
def test_a_message_that_breaks_the_rules_ends_its_association(
    words: bytes, patient_node: Receiver
) -> None:
    with Modality(patient_node.port) as modality:
        modality.associate()
        modality.connection.sendall(words)

        assert modality.seconds_until_closed() < SOON
    assert serves(patient_node)
    assert patient_node.partial() == []


def test_a_sender_that_falls_silent_in_mid_image_is_let_go(node: Receiver) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        modality.store("1.2.3.1", image("1.2.3.1", size=1 << 20), only=0.5)

        assert modality.seconds_until_closed() < SOON
    assert serves(node)
    node.scp.stop()
    assert node.partial() == []


def test_silent_connections_do_not_lock_out_a_sender(tmp_path: Path) -> None:
    with receiver(tmp_path, max_associations=10, association_seconds=20) as node:
        silent = [Modality(node.port) for _ in range(20)]
        for modality in silent:
            modality.connection.sendall(b"\x01\x00\x00")

        assert serves(node)
        for modality in silent:
            modality.connection.close()


def test_when_the_silent_ones_are_too_many_the_oldest_goes_first(tmp_path: Path) -> None:
    with receiver(tmp_path, max_associations=10, association_seconds=20) as node:
        silent = [Modality(node.port) for _ in range(25)]
        assert serves(node)
        assert silent[0].seconds_until_closed() < SOON
        silent[-1].associate()
        assert silent[-1].store("1.2.3.8")[0] == 0x0000
        for modality in silent:
            modality.connection.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_association_whose_thread_has_died_does_not_stay_open(
    patient_node: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_self: ACSE) -> None:
        raise IndexError

    with Modality(patient_node.port) as modality, monkeypatch.context() as mistake:
        mistake.setattr(ACSE, "negotiate_association", break_down)
        modality.connection.sendall(pdus.associate_rq("CADNODE", "MODALITY", []))
        assert modality.seconds_until_closed() < SOON
    assert serves(patient_node)


def test_a_request_that_is_not_worth_decoding_is_aborted_as_an_invalid_pdu(node: Receiver) -> None:
    with Modality(node.port) as modality:
        request = pdus.associate_rq("CADNODE", "A", [])[6:74] + CONTEXT
        modality.connection.sendall(pdus.pdu(pdus.ASSOCIATE_RQ, request))

        assert pdus.read_pdu(modality.connection)[0] == pdus.ABORT


def test_a_connection_that_ends_without_a_request_leaves_no_thread(patient_node: Receiver) -> None:
    def acceptors() -> int:
        return sum("AcceptorThread" in thread.name for thread in threading.enumerate())

    for _ in range(20):
        with Modality(patient_node.port) as modality:
            modality.connection.sendall(b"\x01")
    assert serves(patient_node)

    ends = time.monotonic() + SOON
    while acceptors() and time.monotonic() < ends:
        time.sleep(0.02)
    assert acceptors() == 0


def test_a_class_that_was_not_agreed_on_is_not_taken_over_the_context_of_another(
    tmp_path: Path,
) -> None:
    ct = "1.2.840.10008.5.1.4.1.1.2"
    with receiver(tmp_path) as node, Modality(node.port) as modality:
        modality.associate()

        status, _ = modality.store("1.2.3.9", image("1.2.3.9", sop_class_uid=ct), sop_class_uid=ct)

        assert status == 0x0122
        assert node.kept() == {}
        assert modality.store("1.2.3.10")[0] == 0x0000
