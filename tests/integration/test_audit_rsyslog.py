"""The audit trail against a real rsyslog, by UDP and by TLS, and with nobody there."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.audit.messages import AuditSource
from cadnode.audit.syslog import Header, Transport, open_transport, syslog_message
from cadnode.audit.trail import SyslogTrail
from cadnode.checks import Check, run_checks
from cadnode.config import load_settings
from cadnode.core.audit import (
    ApplicationStarted,
    ApplicationStopped,
    Held,
    Instance,
    InstancesTransferred,
    NodeRefused,
    Party,
    TransferBegun,
)
from cadnode.core.errors import ConfigError
from cadnode.dicom.subject import subject_of
from tests.audit_schema import checked, code, objects
from tests.objects import mammogram, write
from tests.peers import free_port
from tests.rsyslog import certificates, rsyslog

AT = datetime(2026, 3, 4, 5, 6, 7, 89000, UTC)
IMAGE = "1.2.840.10008.5.1.4.1.1.1.2"
NODE, PEER = Party("CADNODE", "node"), Party("MG1", "10.0.0.11")


class Said:
    """A log that keeps what is said."""

    def __init__(self) -> None:
        self.text = ""

    def warning(self, event: str, **fields: object) -> None:
        self.text += f"{event} {fields}\n"

    error = warning


@pytest.fixture
def said(monkeypatch) -> Said:
    """What the trail logs."""
    log = Said()
    monkeypatch.setattr("cadnode.audit.trail.log", log)
    return log


def trail_to(transport: Transport, **options) -> SyslogTrail:
    source = AuditSource("MAMMO CAD", "CADNODE", "node", "receive", os.getpid())
    options = {"first_pause": 0.02, **options}
    return SyslogTrail(transport, source, subject_of=subject_of, clock=lambda: AT, **options)


def started(number: int) -> ApplicationStarted:
    return ApplicationStarted(f"process {number}", number)


def test_a_syslog_message_has_the_header_that_the_profile_asks_for():
    header = Header("node name", "cadnode", 17)
    message = syslog_message(header, b"<AuditMessage/>", at=AT, warning=False)
    assert message == (
        b"<85>1 2026-03-04T05:06:07.089Z node_name cadnode 17 DICOM+RFC3881 - "
        b"\xef\xbb\xbf<AuditMessage/>"
    )
    assert syslog_message(header, b"", at=AT, warning=True).startswith(b"<84>1 ")


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["udp", "tls"])
def test_rsyslog_reads_back_what_was_sent(tmp_path, kind):
    """Every study of a transfer is a message of its own, with the Patient ID from the file."""
    pem, files_of = None, {}
    if kind == "tls":
        pem = certificates(tmp_path / "pem")
        files_of = {"ca": pem.ca, "certificate": pem.certificate, "key": pem.key}
    files = [
        write(mammogram(study_uid=f"1.2.{n}", patient_id=f"PID-{n}"), tmp_path / f"{n}.dcm")
        for n in (1, 2)
    ]
    instances = tuple(Instance(IMAGE, file) for file in files)
    lost = Instance(IMAGE, tmp_path / "lost.dcm", "1.2.3")
    with rsyslog(tmp_path / "syslog", tls=pem) as repository:
        transport = open_transport(kind, "127.0.0.1", repository.port, **files_of)
        trail = trail_to(transport)
        trail.record(started(1))
        trail.record(NodeRefused(PEER, "rejected: calling AE title not recognised"))
        trail.record(TransferBegun(NODE, PEER, instances))
        trail.record(
            InstancesTransferred(PEER, NODE, (*instances, lost), Held.NOTHING_OF_IT, instances[:1])
        )
        trail.record(ApplicationStopped("receive", 1))
        trail.close()
        messages = repository.wait_for(lambda found: len(found) >= 8)

    roots = [checked(message) for message in messages]
    assert [code(root, "EventID")[0] for root in roots] == [
        *("110100", "110113", "110102", "110102", "110104", "110104", "110104", "110100"),
    ]
    about = [
        (found["110180"].attrib["ParticipantObjectID"], found["2"].attrib["ParticipantObjectID"])
        for found in map(objects, roots[2:7])
    ]
    whose = [("1.2.1", "PID-1"), ("1.2.2", "PID-2")]
    assert about == [*whose, *whose, ("1.2.3", "unknown")]
    heads = [line.split(b"|")[0] for line in repository.lines()]
    assert heads[0] == f"85 node cadnode {os.getpid()} DICOM+RFC3881".encode()
    assert heads[1].startswith(b"84 ")
    assert heads[4].startswith(b"84 "), "an object was not taken"


@pytest.mark.peers
def test_a_repository_that_comes_back_gets_what_has_happened_meanwhile(tmp_path, said):
    pem, port = certificates(tmp_path / "pem"), free_port()
    transport = open_transport(
        "tls", "localhost", port, ca=pem.ca, certificate=pem.certificate, key=pem.key
    )
    trail = trail_to(transport)
    trail.record(started(1))
    with rsyslog(tmp_path / "syslog", tls=pem, port=port) as repository:
        repository.wait_for(lambda found: len(found) == 1)
    trail.record(started(2))
    with rsyslog(tmp_path / "syslog", tls=pem, port=port) as repository:
        messages = repository.wait_for(lambda found: len(found) == 2)
        assert b"process 2" in messages[1]
        trail.close()
    assert "does not answer" in said.text
    assert "answers again" in said.text
    assert "are lost" not in said.text


@pytest.mark.peers
def test_a_repository_of_another_authority_gets_nothing(tmp_path, said):
    theirs, ours = certificates(tmp_path / "theirs"), certificates(tmp_path / "ours")
    with rsyslog(tmp_path / "syslog", tls=theirs) as repository:
        transport = open_transport("tls", "127.0.0.1", repository.port, ca=ours.ca)
        trail = trail_to(transport)
        trail.record(started(1))
        wait_for_log(said, "does not answer")
        trail.close()
        assert repository.messages() == []
    assert "audit messages are lost" in said.text


def wait_for_log(said: Said, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in said.text:
        assert time.monotonic() < deadline, said.text
        time.sleep(0.01)


def test_a_certificate_that_is_not_there_is_said_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match="certificate or key"):
        open_transport("tls", "localhost", 0, ca=tmp_path / "missing.pem")


@pytest.mark.peers
def test_the_check_says_whether_the_repository_answers(tmp_path):
    pem = certificates(tmp_path / "pem")

    def check(port: int, transport: str) -> Check:
        file = tmp_path / "cadnode.toml"
        file.write_text(
            f'[audit]\nhost = "127.0.0.1"\nport = {port}\ntransport = "{transport}"\n'
            'ca = "pem/ca.pem"\ncertificate = "pem/node.pem"\nkey = "pem/node.key"\n'
            '[model]\nfolder = "none"\n'
        )
        return {c.name: c for c in run_checks(App(load_settings(file, {})))}["audit"]

    with rsyslog(tmp_path / "syslog", tls=pem) as repository:
        assert check(repository.port, "tls") == Check("audit", True, "127.0.0.1 by tls answers")
    down = check(repository.port, "tls")
    assert down.well is False
    assert "refused" in down.detail
    assert check(repository.port, "udp").well is None


class Stuck:
    """A repository that takes a connection and then nothing, until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.sent: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.go.wait(20)
        self.sent.append(message)

    def connect(self) -> None:
        """It takes a connection."""

    def close(self) -> None:
        self.go.set()


def test_nobody_waits_for_a_repository_that_is_stuck_and_what_is_lost_is_counted(said):
    transport = Stuck()
    trail = trail_to(transport, most_waiting=10)
    begun = time.monotonic()
    for number in range(1000):
        trail.record(started(number))
    assert time.monotonic() - begun < 5
    transport.go.set()
    trail.close()
    assert 10 <= len(transport.sent) <= 12
    assert f"{{'messages': {1000 - len(transport.sent)}}}" in said.text


def test_udp_to_a_port_where_nobody_listens_is_noticed(said):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    trail = trail_to(open_transport("udp", "127.0.0.1", port))
    for number in range(20):
        trail.record(started(number))
    wait_for_log(said, "does not answer")
    trail.close(0.1)


def test_a_file_that_is_no_dicom_file_says_nothing_of_a_patient(tmp_path):
    Path(tmp_path / "x").write_bytes(b"PID-1" * 100)
    instance = Instance(IMAGE, tmp_path / "x", "1.2.3")
    transport = Stuck()
    transport.go.set()
    trail = trail_to(transport)
    trail.record(InstancesTransferred(PEER, NODE, (instance,), Held.NOTHING_OF_IT))
    trail.close()
    (message,) = transport.sent
    assert b"PID-1" not in message
    assert b'"unknown"' in message
