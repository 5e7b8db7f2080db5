"""Committing to senders: a real Orthanc and a modality that asks and listens, or hangs up."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from cadnode.committing import CommitmentLane
from cadnode.core.ports import OutgoingObject
from cadnode.dimse.admission import Peer
from cadnode.dimse.commitment_messages import (
    PUSH_MODEL_INSTANCE,
    STORAGE_COMMITMENT,
    commitment_context,
    encoded,
)
from cadnode.dimse.destination import Destination
from cadnode.dimse.scu import DicomSender
from tests.integration import pdus
from tests.integration.modality import IMPLICIT, Modality
from tests.integration.proof_node import QUICK, SECOND, SMALL, ProofNode, proof_node
from tests.objects import write
from tests.peers import free_port, orthanc

CLASS = str(SMALL.SOPClassUID)
PATIENCE = 20.0

Report = tuple[str, dict[str, str], dict[str, tuple[str, int]]]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ProofNode]:
    with proof_node(tmp_path, peers=(Peer("room 1", "MG1"), Peer("old", "ORTHANC"))) as node:
        yield node


def wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.02)


def report_when_due(node: ProofNode) -> CommitmentLane:
    """Let time go by until the receiver has handed a request over and its report is due."""
    lane = node.commitment_lane()

    def a_second_later() -> bool:
        node.now += SECOND
        return lane.run_once()

    wait_until(a_second_later)
    return lane


def store(node: ProofNode, tmp_path: Path, count: int = 2) -> list[str]:
    """Images that the node has taken in; their SOP Instance UIDs."""
    outgoing = []
    study = generate_uid()
    for _ in range(count):
        dataset, uid = SMALL.copy(), generate_uid()
        dataset.StudyInstanceUID = study
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        outgoing.append(OutgoingObject(CLASS, uid, write(dataset, tmp_path / f"{uid}.dcm")))
    us = Destination("us", "CADNODE", "127.0.0.1", node.port)
    outcomes = DicomSender(us, "MG1", QUICK).send(outgoing)
    assert [outcome.status for outcome in outcomes] == [0] * count
    return [item.sop_instance_uid for item in outgoing]


def request(uids: Sequence[str], sop_class: str = CLASS) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


class Reports:
    """What a modality was told."""

    def __init__(self, status: int = 0x0000) -> None:
        self.status = status
        self.queue: queue.Queue[Report] = queue.Queue()

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        told = event.event_information
        committed = {
            str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
            for item in told.get("ReferencedSOPSequence", ())
        }
        failed = {
            str(item.ReferencedSOPInstanceUID): (
                str(item.ReferencedSOPClassUID),
                int(item.FailureReason),
            )
            for item in told.get("FailedSOPSequence", ())
        }
        assert cast("N_EVENT_REPORT", event.request).EventTypeID == (2 if failed else 1)
        self.queue.put((str(told.TransactionUID), committed, failed))
        return self.status, None

    def next(self) -> Report:
        return self.queue.get(timeout=PATIENCE)


class Listening(Protocol):
    """A node that listens for modalities."""

    @property
    def port(self) -> int: ...


@contextmanager
def modality(
    node: Listening, reports: Reports, calling: str = "MG1"
) -> Iterator[Callable[[Dataset], int]]:
    """An association of a modality, on which it asks; the function returns the status."""
    threads: list[threading.Thread] = []

    def on_report(event: evt.Event) -> tuple[int, None]:
        threads.append(threading.current_thread())
        return reports.on_report(event)

    association = AE(calling).associate(
        "127.0.0.1",
        node.port,
        [commitment_context()],
        ae_title="CADNODE",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)],
    )
    assert association.is_established

    def ask(asked: Dataset, action: int = 1, instance: str = PUSH_MODEL_INSTANCE) -> int:
        status, _ = association.send_n_action(asked, action, STORAGE_COMMITMENT, instance)
        return int(status.Status)

    try:
        yield ask
    finally:
        # pynetdicom answers a report in a thread of its own, and does not wait for it.
        for thread in threads:
            thread.join()
        association.release()


@contextmanager
def listening(reports: Reports, port: int) -> Iterator[Destination]:
    """The port of a modality."""
    ae = AE("MG1")
    ae.add_supported_context(STORAGE_COMMITMENT)
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.on_report)],
    )
    assert server is not None
    try:
        yield Destination("room 1", "MG1", "127.0.0.1", port)
    finally:
        server.shutdown()


def action_status(modality: Modality, asked: Dataset) -> int:
    """Ask for a commitment; the status of the answer, reports left unread."""
    command = pdus.command(
        (0x0003, STORAGE_COMMITMENT),
        (0x0100, pdus.N_ACTION_RQ),
        (0x0110, 1),
        (0x0800, pdus.HAS_DATA_SET),
        (0x1001, PUSH_MODEL_INSTANCE),
        (0x1008, 1),
    )
    information = encoded(asked, IMPLICIT).getvalue()
    modality.connection.sendall(
        pdus.fragment(1, command, command=True, last=True)
        + pdus.fragment(1, information, command=False, last=True)
    )
    while True:
        kind, body = pdus.read_pdu(modality.connection)
        assert kind == pdus.P_DATA
        for _, control, data in pdus.fragments(body):
            answer = pdus.command_elements(data) if control & 1 else {}
            if answer.get(0x0100) == struct.pack("<H", pdus.N_ACTION_RSP):
                return int(struct.unpack("<H", answer[0x0900])[0])


class TestOnTheSameAssociation:
    def test_it_commits_to_what_it_keeps_and_says_why_not_for_the_rest(
        self, node: ProofNode, tmp_path: Path
    ):
        kept, cut, gone = store(node, tmp_path, 3)
        (node.folder / "images" / f"{cut}.dcm").write_bytes(b"half")
        (node.folder / "images" / f"{gone}.dcm").unlink()
        never = generate_uid()
        reports, asked = Reports(), request([kept, cut, gone, never])
        with modality(node, reports) as ask:
            assert ask(asked) == 0x0000
            transaction, committed, failed = reports.next()
            wait_until(lambda: node.requests() == [("answered", 1, 3)])
        assert transaction == asked.TransactionUID
        assert committed == {kept: CLASS}
        assert failed == dict.fromkeys((cut, gone, never), (CLASS, 274))
        assert "image-committed" in {event.kind for event in node.records.exam_detail(1).events}

    def test_another_sop_class_is_a_conflict(self, node: ProofNode, tmp_path: Path):
        (kept,) = store(node, tmp_path, 1)
        reports = Reports()
        with modality(node, reports) as ask:
            assert ask(request([kept], "1.2.840.10008.5.1.4.1.1.7")) == 0x0000
            _, committed, failed = reports.next()
        assert (committed, failed[kept][1]) == ({}, 0x0119)

    def test_who_takes_no_report_may_not_ask_on_and_on(
        self, node: ProofNode, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("cadnode.dimse.commitment_scp.MOST_ITEMS", 3)
        with Modality(node.port, calling="MG1") as deaf:
            deaf.associate([(STORAGE_COMMITMENT, IMPLICIT)])
            answers = [action_status(deaf, request([generate_uid()] * 2)) for _ in range(2)]
        assert answers == [0x0000, 0x0213]
        assert len(node.requests()) == 1

    def test_a_purged_image_is_not_committed_any_more(self, node: ProofNode, tmp_path: Path):
        (kept,) = store(node, tmp_path, 1)
        node.store.cancel(1, why="a test", by="a person", now=node.now)
        node.store.mark_purged(1, now=node.now)
        reports = Reports()
        with modality(node, reports) as ask:
            assert ask(request([kept])) == 0x0000
            assert reports.next()[2][kept][1] == 0x0112

    def test_two_requests_on_one_association_get_a_report_each(
        self, node: ProofNode, tmp_path: Path
    ):
        first, second = store(node, tmp_path, 2)
        reports = Reports()
        with modality(node, reports) as ask:
            assert ask(request([first])) == 0x0000
            told = [reports.next()]
            assert ask(request([second])) == 0x0000
            told.append(reports.next())
            wait_until(lambda: node.requests() == [("answered", 1, 0)] * 2)
        assert [list(committed) for _, committed, _ in told] == [[first], [second]]

    @pytest.mark.parametrize(
        ("action", "instance", "status"),
        [(2, PUSH_MODEL_INSTANCE, 0x0123), (1, "1.2.3", 0x0112)],
    )
    def test_what_is_no_request_to_commit_is_refused(
        self, node: ProofNode, action: int, instance: str, status: int
    ):
        with modality(node, Reports()) as ask:
            assert ask(request(["1.2.3"]), action, instance) == status  # type: ignore[call-arg]
        assert node.requests() == []

    def test_a_request_about_nothing_is_refused(self, node: ProofNode):
        with modality(node, Reports()) as ask:
            assert ask(request([])) == 0x0115
        assert node.requests() == []


class TestOnAnAssociationOfOurOwn:
    def test_who_hangs_up_gets_the_report_where_it_listens(self, node: ProofNode, tmp_path: Path):
        (kept,) = store(node, tmp_path, 1)
        reports, unheard = Reports(), Reports()
        with listening(reports, free_port()) as address:
            node.listens_at["MG1"] = address
            with modality(node, unheard) as ask:
                assert ask(request([kept])) == 0x0000
            report_when_due(node)
            assert reports.next()[1] == {kept: CLASS}
        assert node.requests() == [("answered", 1, 0)]
        assert unheard.queue.empty()

    def test_who_is_not_there_is_told_later_with_what_is_true_then(
        self, node: ProofNode, tmp_path: Path
    ):
        (kept,) = store(node, tmp_path, 1)
        port, reports = free_port(), Reports()
        node.listens_at["MG1"] = Destination("room 1", "MG1", "127.0.0.1", port)
        with modality(node, Reports()) as ask:
            assert ask(request([kept])) == 0x0000
        report_when_due(node)
        assert node.requests() == [("open", None, None)]
        lane = report_when_due(node)
        assert not lane.run_once()
        assert node.requests() == [("open", None, None)]
        (node.folder / "images" / f"{kept}.dcm").unlink()
        with listening(reports, port):
            node.now += timedelta(minutes=10)
            assert lane.run_once()
            assert reports.next()[2][kept][1] == 0x0112
        assert node.requests() == [("answered", 0, 1)]

    def test_a_report_that_is_refused_is_made_again_until_patience_ends(
        self, node: ProofNode, tmp_path: Path
    ):
        reports = Reports(status=0x0110)
        with listening(reports, free_port()) as address:
            node.listens_at["MG1"] = address
            with modality(node, Reports()) as ask:
                assert ask(request(["1.2.3"])) == 0x0000
            lane = report_when_due(node)
            assert node.requests() == [("open", None, None)]
            node.now += timedelta(hours=72)
            assert lane.run_once()
            node.now += timedelta(hours=72)
            assert not lane.run_once()
        assert node.requests() == [("given up", None, None)]

    def test_nobody_who_listens_nowhere_is_looked_for(self, node: ProofNode):
        with modality(node, Reports()) as ask:
            assert ask(request(["1.2.3"])) == 0x0000
        wait_until(lambda: node.requests() == [("given up", None, None)])

    def test_a_receiver_killed_after_its_answer_leaves_the_report_to_the_worker(
        self, node: ProofNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("cadnode.dimse.commitment_scp._hangs_up", lambda _association: True)
        monkeypatch.setattr("cadnode.committing.Committer.not_taken", lambda *_: None)
        (kept,) = store(node, tmp_path, 1)
        reports = Reports()
        with listening(reports, free_port()) as address:
            node.listens_at["MG1"] = address
            with modality(node, Reports()) as ask:
                assert ask(request([kept])) == 0x0000
            lane = node.commitment_lane()
            assert not lane.run_once()
            node.now += timedelta(minutes=1)
            assert lane.run_once()
            assert reports.next()[1] == {kept: CLASS}

    def test_orthanc_asks_hangs_up_and_is_told(self, node: ProofNode, tmp_path: Path):
        (kept,) = store(node, tmp_path, 1)
        never = generate_uid()
        with orthanc(tmp_path, modalities={"cadnode": ("CADNODE", "127.0.0.1", node.port)}) as peer:
            node.listens_at["ORTHANC"] = Destination("old", "ORTHANC", "127.0.0.1", peer.port)
            answer = peer.post(
                "/modalities/cadnode/storage-commitment",
                {"DicomInstances": [[CLASS, kept], [CLASS, never]]},
            )
            report_when_due(node)
            wait_until(lambda: peer.get(answer["Path"])["Status"] != "Pending")
            told = peer.get(answer["Path"])
        assert told["Status"] == "Failure"
        assert [item["SOPInstanceUID"] for item in told["Success"]] == [kept]
        assert [(item["SOPInstanceUID"], item["FailureReason"]) for item in told["Failures"]] == [
            (never, 0x0112)
        ]
