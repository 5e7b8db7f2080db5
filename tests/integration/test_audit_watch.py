"""What happens on the port and at a destination, as the audit trail is told of it."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.audit.sending import AuditedSender
from cadnode.config import load_settings
from cadnode.core.audit import (
    AuditEvent,
    Held,
    InstancesTransferred,
    NodeRefused,
    NoTrail,
    Party,
    TransferBegun,
)
from cadnode.core.jobs import Acceptance
from cadnode.core.ports import OutgoingObject
from cadnode.dimse.scu import Destination, DicomSender
from cadnode.dimse.storing import IncomingObject
from cadnode.dimse.watching import AssociationWatch
from tests.integration import pdus
from tests.integration.fake_pacs import Behaviour, FakePacs
from tests.integration.modality import FOR_PRESENTATION, Modality, image
from tests.objects import mammogram, write


@dataclass
class Recorder:
    """A trail that keeps what it is told."""

    events: list[AuditEvent] = field(default_factory=list)
    trouble: str = ""

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def close(self, seconds: float = 0) -> None:
        """Nothing."""

    def wait_for(self, number: int) -> list[AuditEvent]:
        deadline = time.monotonic() + 20
        while len(self.events) < number:
            assert time.monotonic() < deadline, self.events
            time.sleep(0.005)
        return self.events


@dataclass
class Port:
    number: int
    trail: Recorder
    own: Party


@pytest.fixture
def port(tmp_path) -> Iterator[Port]:
    """A listening node that knows MODALITY, and its trail."""
    file = tmp_path / "cadnode.toml"
    file.write_text(
        '[node]\nhost = "127.0.0.1"\nport = 0\ndata_dir = "data"\n[retention]\nreserve_mb = 1\n'
        '[[peers]]\nname = "room"\nae_title = "MODALITY"\n'
    )
    app, trail = App(load_settings(file, {})), Recorder()
    app.audit = trail
    store = app.open_store(create=True)
    scp = app.storage_scp(store.exams, app.spool())
    scp.start()
    yield Port(scp.port, trail, app.party)
    scp.stop()
    store.close()


def sent(port: Port, *objects: tuple[str, str, int]) -> None:
    with Modality(port.number) as modality:
        modality.associate()
        for uid, study, size in objects:
            modality.store(uid, image(uid, study=study, size=size))
        modality.release()


def test_one_transfer_is_reported_for_each_study_when_the_association_is_over(port):
    sent(port, ("1.2.1", "1.7", 10), ("1.2.2", "1.7", 10), ("1.2.3", "1.8", 10))
    first, second = port.trail.wait_for(2)
    assert isinstance(first, InstancesTransferred)
    assert isinstance(second, InstancesTransferred)
    assert [i.study_instance_uid for i in first.instances] == ["1.7", "1.7"]
    assert [i.study_instance_uid for i in second.instances] == ["1.8"]
    assert first.source == Party("MODALITY", "127.0.0.1")
    assert first.destination == port.own
    assert first.held is Held.NOTHING_OF_IT
    assert all(item.path.is_file() for item in (*first.instances, *second.instances))
    assert {item.sop_class_uid for item in first.instances} == {FOR_PRESENTATION}


def test_the_action_says_what_was_held_before(port):
    sent(port, ("1.2.1", "1.7", 10))
    sent(port, ("1.2.1", "1.7", 10))
    sent(port, ("1.2.1", "1.7", 12))
    sent(port, ("1.2.1", "1.8", 12))
    events = port.trail.wait_for(4)
    assert [event.held for event in events if isinstance(event, InstancesTransferred)] == [
        Held.NOTHING_OF_IT,
        Held.ALL_OF_IT,
        Held.ANOTHER_VERSION,
        Held.ALL_OF_IT,
    ]
    taken = events[-1]
    assert isinstance(taken, InstancesTransferred)
    assert (len(taken.instances), len(taken.failed)) == (0, 1), "its UID is that of another study"


def test_an_association_that_is_aborted_has_still_transferred_what_was_acknowledged(port):
    with Modality(port.number) as modality:
        modality.associate()
        modality.store("1.2.1")
        modality.abort()
    (event,) = port.trail.wait_for(1)
    assert isinstance(event, InstancesTransferred)
    assert len(event.instances) == 1


@pytest.mark.parametrize(
    ("calling", "called", "why"),
    [("STRANGER", "CADNODE", "alling"), ("MODALITY", "OTHER", "alled")],
)
def test_a_rejected_association_is_a_security_alert(port, calling, called, why):
    with Modality(port.number, calling=calling, called=called) as modality:
        assert modality.associate()[0] == pdus.ASSOCIATE_RJ
    (event,) = port.trail.wait_for(1)
    assert isinstance(event, NodeRefused)
    assert event.stranger == Party(calling, "127.0.0.1")
    assert event.why.startswith("rejected: ")
    assert why in event.why


def test_bytes_that_are_no_dicom_are_a_security_alert(port):
    with socket.create_connection(("127.0.0.1", port.number), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(4096)
    (event,) = port.trail.wait_for(1)
    assert isinstance(event, NodeRefused)
    assert event.stranger == Party("", "127.0.0.1")


def test_what_goes_to_a_destination_is_announced_and_its_outcome_reported(tmp_path):
    paths = [write(mammogram(sop_uid=f"1.2.{n}"), tmp_path / f"{n}.dcm") for n in range(3)]
    objects = [OutgoingObject(FOR_PRESENTATION, f"1.2.{n}", path) for n, path in enumerate(paths)]
    trail, own, there = Recorder(), Party("CADNODE", "node"), Party("PACS", "127.0.0.1")
    with FakePacs(Behaviour(statuses=(0x0000, 0xA900, 0xB000))) as pacs:
        sender = DicomSender(Destination("pacs", "PACS", "127.0.0.1", pacs.port), "CADNODE")
        AuditedSender(sender, trail, own=own, destination=there).send(objects)
        pacs.behaviour = Behaviour(reject=(1, 1, 3))
        AuditedSender(sender, trail, own=own, destination=there).send(objects)
    begun, over, _, alert, failed = trail.events
    assert isinstance(begun, TransferBegun)
    assert isinstance(over, InstancesTransferred)
    assert (begun.source, over.destination) == (own, there)
    assert [item.path for item in begun.instances] == paths
    assert [item.path for item in over.instances] == [paths[0], paths[2]]
    assert [item.path for item in over.failed] == [paths[1]]
    assert isinstance(alert, NodeRefused)
    assert alert.stranger == there
    assert isinstance(failed, InstancesTransferred)
    assert (len(failed.instances), len(failed.failed)) == (0, 3)


def test_a_node_without_an_audit_repository_remembers_nothing_of_an_open_association():
    watch = AssociationWatch(NoTrail(), Party("CADNODE", "here"))
    watch.begin(7)
    tracemalloc.start()
    try:
        for number in range(2000):
            path = Path(f"images/{number}")
            here = ("1.2.840.1", f"1.2.{number}", "1.3", "1.4", "1.2", "MG1", "127.0.0.1", 7)
            watch.received(IncomingObject(path, *here), path, Acceptance.NEW)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000
