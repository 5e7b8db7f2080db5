"""The archive of the demo: Orthanc where it is installed, else the small one of this repository."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cadnode.core.ports import PeerCheck
from cadnode.dimse.scu import Destination, DicomSender, Timeouts

READY_WITHIN = 30.0


class DemoFailed(Exception):
    """The demo cannot go on; the message is for the person who started it."""


@dataclass(frozen=True, slots=True)
class RunningArchive:
    """An archive that answers C-ECHO."""

    product: str
    """What it is, with its version where it says one."""
    destination: Destination
    log: Path
    http_port: int | None = None
    """Orthanc's REST and web port."""


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def log_tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log file, for an error message."""
    if not log.exists():
        return "(no log was written)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running_archive(
    folder: Path, *, node_ae_title: str, node_port: int, orthanc: str | None = None
) -> Iterator[RunningArchive]:
    """An archive on free loopback ports with its files in `folder`, stopped at the end.

    `orthanc` is the program to use, by default the one on the search path. Raises DemoFailed with
    the end of its log when it does not start.
    """
    program = orthanc or shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    folder.mkdir(parents=True, exist_ok=True)
    # An Orthanc that does not start is an error, not a reason to take the other archive quietly.
    start = _orthanc if program else _small_archive
    with start(folder, program or sys.executable, node_ae_title, node_port) as archive:
        yield archive


@contextmanager
def _orthanc(
    folder: Path, program: str, node_ae_title: str, node_port: int
) -> Iterator[RunningArchive]:
    dicom_port, http_port = free_port(), free_port()
    configuration = {
        "Name": "cadnode demo archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {
            "cadnode": {
                "AET": node_ae_title,
                "Host": "127.0.0.1",
                "Port": node_port,
                "AllowEcho": True,
                "AllowStore": True,
                "AllowFind": True,
                "AllowStorageCommitment": True,
            }
        },
        "Plugins": [],
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration, indent=2))
    destination = Destination("archive", "ORTHANC", "127.0.0.1", dicom_port)
    log = folder / "orthanc.log"
    with _process([program, str(path)], log) as process:
        _wait(destination, node_ae_title, process, log)
        version = _orthanc_version(http_port)
        yield RunningArchive(f"Orthanc {version}".strip(), destination, log, http_port)


@contextmanager
def _small_archive(
    folder: Path, program: str, node_ae_title: str, _node_port: int
) -> Iterator[RunningArchive]:
    port = free_port()
    destination = Destination("archive", "ARCHIVE", "127.0.0.1", port)
    log = folder / "archive.log"
    command = [
        *(program, "-m", "cadnode.dimse.archive", str(folder / "storage")),
        *("--ae-title", "ARCHIVE", "--port", str(port)),
    ]
    with _process(command, log) as process:
        _wait(destination, node_ae_title, process, log)
        yield RunningArchive("the small archive of cadnode", destination, log)


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        # A session of its own, so that Ctrl-C reaches the demo alone, which stops it in order.
        process = subprocess.Popen(  # noqa: S603  programs found above, no shell
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(
    destination: Destination, node_ae_title: str, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + READY_WITHIN
    sender = DicomSender(destination, node_ae_title, Timeouts(1.0, 5.0, 5.0, 5.0))
    answer: PeerCheck | None = None
    while process.poll() is None and time.monotonic() < deadline:
        if _listens(destination.port):
            answer = sender.check([])
            if answer.reachable:
                return
        time.sleep(0.05)
    why = f"ended with {process.poll()}" if process.poll() is not None else "does not answer"
    said = f" ({answer.detail})" if answer else ""
    raise DemoFailed(f"the archive {why}{said}; the end of its log:\n{log_tail(log)}")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _orthanc_version(http_port: int) -> str:
    url = f"http://127.0.0.1:{http_port}/system"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(json.load(answer).get("Version", ""))
    except (urllib.error.URLError, OSError, ValueError):
        return ""
