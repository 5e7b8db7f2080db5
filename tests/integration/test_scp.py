"""The Storage SCP: who may send what, and what each sender is answered."""

from __future__ import annotations

import logging
import resource
import subprocess
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from cadnode.core.errors import DatabaseUnavailable, SpoolFull, UnreadableObject
from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause
from cadnode.dimse.admission import Peer
from cadnode.dimse.contexts import RECEIVED_SOP_CLASSES, RECEIVED_TRANSFER_SYNTAXES
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from cadnode.dimse.storing import IncomingObject
from tests import codecs, objects
from tests.integration import pdus
from tests.integration.modality import (
    DEFLATED,
    FOR_PRESENTATION,
    IMPLICIT,
    Modality,
    element,
    image,
)
from tests.integration.receiver import Receiver, receiver
from tests.peers import require

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path) as running:
        yield running


def results(answer: tuple[int, bytes]) -> list[int]:
    """The result of each context in an A-ASSOCIATE-AC, in order of their IDs."""
    kind, body = answer
    assert kind == pdus.ASSOCIATE_AC
    contexts = [content for kind, content in pdus.items(body[68:]) if kind == 0x21]
    return [content[2] for content in sorted(contexts)]


# Who may send what


def test_every_class_is_accepted_in_every_lossless_syntax(node: Receiver) -> None:
    contexts = [
        (sop_class, syntax)
        for sop_class in RECEIVED_SOP_CLASSES
        for syntax in RECEIVED_TRANSFER_SYNTAXES
    ]
    with Modality(node.port) as modality:
        assert results(modality.associate(contexts)) == [0] * len(contexts)


def test_other_classes_and_syntaxes_are_refused_one_by_one(node: Receiver) -> None:
    contexts = [
        (CT_IMAGE, IMPLICIT),
        (FOR_PRESENTATION, ExplicitVRBigEndian),
        (FOR_PRESENTATION, JPEGBaseline8Bit),
        (FOR_PRESENTATION, IMPLICIT),
    ]
    with Modality(node.port) as modality:
        assert results(modality.associate(contexts)) == [3, 4, 4, 0]


@pytest.mark.parametrize(
    ("called", "calling", "rejection"),
    [
        ("WRONG", "KNOWN", (1, 1, 7)),
        ("cadnode", "KNOWN", (1, 1, 7)),
        ("CADNODE", "STRANGER", (1, 1, 3)),
        ("CADNODE", "ELSEWHERE", (1, 1, 3)),
        ("CADNODE", "KNOWN", None),
        ("CADNODE", "AT HOME", None),
        ("CADNODE", "BY NAME", None),
    ],
)
def test_only_known_peers_that_call_us_by_our_title_are_let_in(
    called: str, calling: str, rejection: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    peers = (
        Peer("anywhere", "KNOWN"),
        Peer("here", "AT HOME", "127.0.0.1"),
        Peer("named", "BY NAME", "localhost"),
        Peer("there", "ELSEWHERE", "192.0.2.1"),
    )
    with (
        receiver(tmp_path, accept_unknown=False, peers=peers) as node,
        Modality(node.port, called=called, calling=calling) as modality,
    ):
        kind, body = modality.associate()

    if rejection is None:
        assert kind == pdus.ASSOCIATE_AC
    else:
        assert (kind, tuple(body[1:])) == (pdus.ASSOCIATE_RJ, rejection)


def test_beyond_the_limit_of_associations_the_rejection_is_transient(tmp_path: Path) -> None:
    with receiver(tmp_path, max_associations=2) as node:
        modalities = [Modality(node.port) for _ in range(3)]
        kinds = [modality.associate() for modality in modalities]
        for modality in modalities:
            modality.connection.close()

    assert [kind for kind, _ in kinds] == [pdus.ASSOCIATE_AC, pdus.ASSOCIATE_AC, pdus.ASSOCIATE_RJ]
    assert tuple(kinds[2][1][1:]) == (2, 3, 2)


@pytest.mark.peers
def test_echoscu_gets_its_answer(node: Receiver) -> None:
    command = [require("echoscu", "dcmtk"), "-aec", "CADNODE", "127.0.0.1", str(node.port)]

    assert subprocess.run(command, check=False, timeout=20).returncode == 0


# What is kept


@pytest.mark.parametrize("syntax", codecs.LOSSLESS_SYNTAXES)
def test_an_image_is_kept_as_it_was_sent_in_every_syntax(
    syntax: str, node: Receiver, tmp_path: Path
) -> None:
    sent = objects.mammogram()
    codecs.encode(sent, syntax)
    path = objects.write(sent, tmp_path / "sent.dcm")
    uid = str(sent.SOPInstanceUID)

    destination = Destination("node", "CADNODE", "127.0.0.1", node.port)
    (outcome,) = DicomSender(destination, "MOD", Timeouts(answer=20)).send(
        [OutgoingObject(str(sent.SOPClassUID), uid, path)]
    )

    assert (outcome.cause, outcome.status) == (SendCause.ANSWERED, 0x0000)
    kept = dcmread(node.kept()[uid])
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept == dcmread(path)
    (incoming,) = node.objects
    assert incoming.transfer_syntax_uid == syntax
    assert incoming.study_instance_uid == sent.StudyInstanceUID
    assert incoming.series_instance_uid == sent.SeriesInstanceUID
    assert (incoming.calling_ae, incoming.calling_host) == ("MOD", "127.0.0.1")


@pytest.mark.peers
@pytest.mark.parametrize(
    ("option", "syntax"),
    [
        ("-xi", "1.2.840.10008.1.2"),
        ("-xe", "1.2.840.10008.1.2.1"),
        ("-xd", "1.2.840.10008.1.2.1.99"),
        ("-xr", "1.2.840.10008.1.2.5"),
        ("-xs", "1.2.840.10008.1.2.4.70"),
        ("-xt", "1.2.840.10008.1.2.4.80"),
        ("-xv", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_storescu_as_the_modality_in_all_that_it_can_send(
    option: str, syntax: str, node: Receiver, tmp_path: Path
) -> None:
    sent = objects.mammogram()
    codecs.encode(sent, syntax)
    path = objects.write(sent, tmp_path / "sent.dcm")
    command = [require("storescu", "dcmtk"), "-aec", "CADNODE", option, "127.0.0.1"]

    done = subprocess.run(
        [*command, str(node.port), str(path)],
        check=False,
        timeout=20,
        capture_output=True,
        env={"TCP_NODELAY": "1"},
    )

    assert done.returncode == 0, done.stderr
    kept = dcmread(node.kept()[str(sent.SOPInstanceUID)])
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept.PixelData.rstrip(b"\x00") == dcmread(path).PixelData.rstrip(b"\x00")


def test_the_same_image_twice_makes_the_same_file(node: Receiver) -> None:
    with Modality(node.port) as modality, Modality(node.port, calling="OTHER") as other:
        modality.associate()
        other.associate()

        assert modality.store("1.2.3.1") == (0x0000, "")
        assert other.store("1.2.3.1") == (0x0000, "")

    assert len(node.kept()) == 1
    assert node.partial() == []


def test_other_content_under_one_uid_is_refused_as_a_duplicate(node: Receiver) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        modality.store("1.2.3.1", image("1.2.3.1", size=1000))

        status, comment = modality.store("1.2.3.1", image("1.2.3.1", size=2000))

    assert status == 0x0111
    assert comment
    assert node.partial() == []


def test_one_instance_sent_in_parallel_is_kept_once(node: Receiver) -> None:
    meet = threading.Barrier(3)
    answers: list[int] = []

    def wait(_incoming: IncomingObject) -> None:
        meet.wait(10)

    def send() -> None:
        with Modality(node.port) as modality:
            modality.associate()
            answers.append(modality.store("1.2.3.1")[0])

    node.before_keeping = wait
    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == [0x0000] * 3
    assert len(node.kept()) == 1
    assert node.partial() == []


# What a sender is answered when an object is not kept


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpoolFull("no room"), 0xA700),
        (UnreadableObject("odd"), 0xC000),
        (DatabaseUnavailable("locked"), 0x0110),
        (OSError(5, "input/output error"), 0x0110),
        (RuntimeError("a mistake of ours about Test^Object"), 0x0110),
    ],
)
def test_an_object_that_is_not_kept_is_answered_with_a_failure(
    error: Exception, status: int, node: Receiver
) -> None:
    def fail(_incoming: IncomingObject) -> None:
        raise error

    node.before_keeping = fail
    with Modality(node.port) as modality:
        modality.associate()
        first = modality.store("1.2.3.1")
        node.before_keeping = lambda _incoming: None
        second = modality.store("1.2.3.1")

    assert first[0] == status
    assert first[1]
    assert "Test" not in first[1]
    assert second == (0x0000, "")
    assert node.partial() == []


NESTED = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x05\x11\xff\xff\xff\xff" * 20000


@pytest.mark.parametrize(
    ("data_set", "status"),
    [
        (image("1.2.3.1", study=""), 0xC000),
        (image("1.2.3.1", series=""), 0xC000),
        (image("1.2.3.1", study="not a UID"), 0xC000),
        (image("1.2.3.1", study="1." * 40 + "1"), 0xC000),
        (image("1.2.3.1", study="../../etc/passwd"), 0xC000),
        (image("", sop_class_uid=FOR_PRESENTATION), 0xC000),
        (image("1.2.3.2"), 0xA900),
        (image("1.2.3.1", sop_class_uid=CT_IMAGE), 0xA900),
        (b"\x00" * 1000, 0xC000),
        (b"\xff" * 1000, 0xC000),
        (b"\x08\x00", 0xC000),
        (b"\x08\x00\x05\x11\xff\xff\xff\xff" + NESTED, 0xC000),
    ],
    ids=[
        "no study",
        "no series",
        "study not a UID",
        "study too long",
        "study a path",
        "no instance",
        "another instance",
        "another class",
        "zeros",
        "ones",
        "cut short",
        "nested without end",
    ],
)
def test_a_data_set_that_is_not_what_was_announced_is_refused(
    data_set: bytes, status: int, node: Receiver
) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        answer = modality.store("1.2.3.1", data_set)
        afterwards = modality.store("1.2.3.1")

    assert answer[0] == status
    assert answer[1]
    assert afterwards == (0x0000, "")
    assert len(node.objects) == 1
    assert node.partial() == []


def test_a_deflated_bomb_is_not_inflated(node: Receiver) -> None:
    # 256 MiB of zeros in front of the identifiers.
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(b"\x08\x00\x05\x00UN\x00\x00\x00\x00\x00\x10")
    block = bytes(1 << 24)
    bomb += b"".join(packer.compress(block) for _ in range(16)) + packer.flush()

    tracemalloc.start()
    try:
        with Modality(node.port) as modality:
            modality.associate([(FOR_PRESENTATION, DEFLATED)])
            status, _ = modality.store("1.2.3.1", bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert status == 0xC000
    assert peak < 32 << 20


def test_without_room_the_answer_is_out_of_resources(node: Receiver) -> None:
    node.room = lambda _size: False
    with Modality(node.port) as modality:
        modality.associate()
        full = modality.store("1.2.3.1", image("1.2.3.1", size=100_000))
        node.room = lambda _size: True
        again = modality.store("1.2.3.1")

    assert full[0] == 0xA700
    assert again == (0x0000, "")
    assert node.partial() == []


def test_a_disk_that_fills_in_mid_image_is_answered_and_the_association_stands(
    node: Receiver,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Modality(node.port) as modality:
        modality.associate()
        # The kernel refuses to let a file grow beyond this, as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            full = modality.store("1.2.3.1", image("1.2.3.1", size=3 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        again = modality.store("1.2.3.1", image("1.2.3.1", size=3 << 20))

    assert full[0] == 0xA700
    assert again == (0x0000, "")
    assert node.partial() == []


# How it ends


def test_an_abort_in_mid_image_keeps_what_was_acknowledged(node: Receiver) -> None:
    with Modality(node.port) as modality:
        modality.associate()
        assert modality.store("1.2.3.1") == (0x0000, "")
        modality.store("1.2.3.2", image("1.2.3.2", size=1 << 20), only=0.5)
        modality.abort()
        modality.seconds_until_closed()
    node.scp.stop()

    assert list(node.kept()) == ["1.2.3.1"]
    assert node.partial() == []


def test_stopping_lets_a_running_store_finish(node: Receiver) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(_incoming: IncomingObject) -> None:
        inside.set()
        go_on.wait(10)

    node.before_keeping = wait
    answers: list[tuple[int, str]] = []
    with Modality(node.port) as modality:
        modality.associate()
        sending = threading.Thread(target=lambda: answers.append(modality.store("1.2.3.1")))
        sending.start()
        inside.wait(10)
        stopping = threading.Thread(target=node.scp.stop)
        stopping.start()
        stopping.join(0.5)
        assert stopping.is_alive()
        go_on.set()
        sending.join(10)
        stopping.join(15)

    assert answers == [(0x0000, "")]
    assert list(node.kept()) == ["1.2.3.1"]


def test_after_stopping_nobody_listens(node: Receiver) -> None:
    port = node.port
    node.scp.stop()

    with pytest.raises(ConnectionRefusedError):
        Modality(port)


def test_starting_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "0123.part").write_bytes(b"half an image")

    with receiver(tmp_path) as node:
        assert node.partial() == []


def test_the_log_names_no_patient(node: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Modality(node.port) as modality:
        modality.associate()
        modality.store("1.2.3.1")
        modality.store("1.2.3.1", image("1.2.3.1", study=""))
        modality.store("1.2.3.1", image("1.2.3.2"))
        modality.store("1.2.3.3", element(0x00100010, b"Test^Object") + b"\xff" * 99)
        modality.release()

    assert "0xC000" in caplog.text
    assert "Test^Object" not in caplog.text
