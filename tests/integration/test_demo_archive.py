"""Both archives of the demo take objects, answer C-FIND, and are gone afterwards."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause
from cadnode.demo.archive_choice import running_archive
from cadnode.demo.collecting import held_by
from cadnode.demo.node_process import NODE_AE_TITLE
from cadnode.demo.running import DemoFailed, free_port, require_alive, running, wait_for_echo
from cadnode.dimse.scu import Destination, DicomSender
from tests.objects import mammogram, write
from tests.peers import require


@pytest.mark.parametrize(
    "small",
    [pytest.param(False, marks=pytest.mark.peers, id="orthanc"), pytest.param(True, id="small")],
)
def test_an_archive_holds_what_was_sent_and_ends_with_the_block(
    tmp_path: Path, small: bool
) -> None:
    if not small:
        require("Orthanc", "orthanc")
    dataset = mammogram()
    path = write(dataset, tmp_path / "image.dcm")
    study, instance = str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)
    with running_archive(
        tmp_path / "archive",
        tmp_path / "archive.log",
        node_ae_title=NODE_AE_TITLE,
        node_port=free_port(),
        small=small,
    ) as archive:
        assert ("small archive" in archive.product) is small
        archive.require_alive()
        assert held_by(archive.destination, study) == frozenset()
        sender = DicomSender(archive.destination, NODE_AE_TITLE)
        (outcome,) = sender.send([OutgoingObject(str(dataset.SOPClassUID), instance, path)])
        assert (outcome.cause, outcome.status) == (SendCause.ANSWERED, 0)
        assert held_by(archive.destination, study) == {instance}
        process = archive.process
    assert process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", archive.destination.port), timeout=1)
    with pytest.raises(DemoFailed, match="C-FIND"):
        held_by(archive.destination, study)


def test_a_program_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    nowhere = Destination("archive", "ARCHIVE", "127.0.0.1", free_port())
    command = [sys.executable, "-c", "import sys; sys.exit('no such plug-in')"]
    with running(command, log) as process:
        with pytest.raises(DemoFailed, match="the archive ended with status 1") as why:
            wait_for_echo("the archive", nowhere, "TEST", process, log)
        assert "no such plug-in" in str(why.value)
        with pytest.raises(DemoFailed, match="ended with status 1"):
            require_alive("the archive", process, log)


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "stubborn.log"
    with running([sys.executable, "-c", code], log, stop_seconds=0.2) as process:
        while "up" not in log.read_text():
            assert process.poll() is None
    assert process.returncode == -9
