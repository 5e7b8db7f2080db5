"""The archive of the demo: Orthanc where it is installed, else the small one of this repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cadnode.demo.running import free_port, require_alive, running, wait_for_echo
from cadnode.dimse.scu import Destination


@dataclass(frozen=True, slots=True)
class RunningArchive:
    """An archive that answers C-ECHO."""

    product: str
    """What it is, with its version where it says one."""
    destination: Destination
    process: subprocess.Popen[bytes]
    log: Path

    def require_alive(self) -> None:
        """Raise DemoFailed when it has ended."""
        require_alive("the archive", self.process, self.log)


@contextmanager
def running_archive(
    folder: Path, log: Path, *, node_ae_title: str, node_port: int, small: bool = False
) -> Iterator[RunningArchive]:
    """An archive on free loopback ports with its files in `folder`, stopped at the end.

    Orthanc where it is on the search path and `small` is not asked for. Raises DemoFailed with the
    end of its log when it does not start.
    """
    program = None if small else find_orthanc()
    folder.mkdir(parents=True, exist_ok=True)
    # An Orthanc that does not start is an error, not a reason to take the other archive quietly.
    started = (
        _orthanc(program, folder, log, node_ae_title, node_port)
        if program
        else _small_archive(folder, log, node_ae_title)
    )
    with started as archive:
        yield archive


def find_orthanc() -> str | None:
    """Where Orthanc is installed; Debian puts it where only root looks."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _orthanc(
    program: str, folder: Path, log: Path, node_ae_title: str, node_port: int
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
    with running([program, str(path)], log) as process:
        wait_for_echo("the archive", destination, node_ae_title, process, log)
        version = _orthanc_version(http_port)
        yield RunningArchive(f"Orthanc {version}".strip(), destination, process, log)


@contextmanager
def _small_archive(folder: Path, log: Path, node_ae_title: str) -> Iterator[RunningArchive]:
    port = free_port()
    destination = Destination("archive", "ARCHIVE", "127.0.0.1", port)
    command = [
        *(sys.executable, "-m", "cadnode.dimse.archive", str(folder / "storage")),
        *("--ae-title", "ARCHIVE", "--port", str(port)),
    ]
    with running(command, log) as process:
        wait_for_echo("the archive", destination, node_ae_title, process, log)
        yield RunningArchive("the small archive of cadnode", destination, process, log)


def _orthanc_version(http_port: int) -> str:
    url = f"http://127.0.0.1:{http_port}/system"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(json.load(answer).get("Version", ""))
    except (urllib.error.URLError, OSError, ValueError):
        return ""
