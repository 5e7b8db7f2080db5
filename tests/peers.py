"""Real programs to test against: found or skipped, started on loopback, always ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

TOOLS = Path(__file__).parents[1] / ".venv-tools" / "bin"

READY_WITHIN = 30.0
"""Seconds a peer may take to answer on its port."""


def require(program: str, package: str) -> str:
    """The path of `program`, or a skip that says how to install it; a failure under CI=true.

    `package` is a Debian package, with "pip:" in front a Python one, or "make:tools" for what
    `make tools` installs.
    """
    installer, _, name = package.rpartition(":")
    # pynetdicom installs a storescu of its own, which an active virtual environment puts first.
    beside_python = str(Path(sys.executable).parent)
    elsewhere = [f for f in os.environ["PATH"].split(os.pathsep) if f != beside_python]
    own = {"pip": [beside_python], "make": [str(TOOLS)]}.get(installer, [])
    searched = [*elsewhere, "/usr/sbin", "/usr/local/sbin", *own]
    path = shutil.which(program, path=os.pathsep.join(searched))
    if path is None:
        command = {"pip": "pip install", "make": "make"}.get(installer, "apt-get install")
        absent(f"{program} is not installed: {command} {name}")
    return path


def absent(reason: str) -> NoReturn:
    """A skip that says what is not there; a failure under CI=true, where it has to be."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(
    port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = READY_WITHIN
) -> None:
    """Come back when `port` on loopback accepts; fail with the log when the process ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{process.args!r} ended with {process.returncode}:\n{_tail(log)}")
        if accepts(port):
            return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} did not listen on {port}:\n{_tail(log)}")


def accepts(port: int) -> bool:
    """Does anybody listen on `port` of loopback?"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            # The system may give a caller the very port that it calls: then it meets itself.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False


@contextmanager
def running(
    command: Sequence[str | Path], port: int, log: Path, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` as a process that listens on `port`; its output goes to `log`; ended at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT, cwd=cwd
        )
    try:
        wait_for_port(port, process, log)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: politely, then for good."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class StoreScp:
    """A running DCMTK `storescp`."""

    ae_title: str
    port: int
    folder: Path
    log: Path

    def files(self) -> list[Path]:
        """The objects it has stored, by name."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def storescp(
    tmp_path: Path, *, ae_title: str = "ARCHIVE", options: Sequence[str] = ()
) -> Iterator[StoreScp]:
    """A DCMTK `storescp` on a free port that stores what it gets into a folder of its own."""
    program = require("storescp", "dcmtk")
    port, folder = free_port(), tmp_path / f"storescp-{ae_title}"
    folder.mkdir(parents=True, exist_ok=True)
    log = tmp_path / f"storescp-{ae_title}.log"
    command: list[str | Path] = [
        program,
        "-v",
        "-aet",
        ae_title,
        "-od",
        folder,
        "+xa",
        *options,
        str(port),
    ]
    with running(command, port, log):
        yield StoreScp(ae_title, port, folder, log)


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc, reached over REST and DICOM on loopback."""

    ae_title: str
    port: int
    http_port: int
    log: Path

    def get(self, path: str) -> Any:
        """The parsed JSON answer to GET `path` (as "/studies?expand")."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """The body of the answer to GET `path`, as a file of an instance."""
        return self._call("GET", path, None)

    def post(self, path: str, content: Any) -> Any:
        """The parsed JSON answer to POST; `content` is sent as it is (bytes) or as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return json.loads(self._call("POST", path, body))

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        self._call("DELETE", path, None)

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", data=body, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content


@contextmanager
def orthanc(
    tmp_path: Path,
    *,
    ae_title: str = "ORTHANC",
    modalities: Mapping[str, Sequence[Any]] | None = None,
    port: int | None = None,
    http_port: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Orthanc]:
    """A real Orthanc with its own folder, loopback only over HTTP, ended at the end.

    `modalities` is Orthanc's DicomModalities: {"cadnode": ["CADNODE", "127.0.0.1", 11112]}.
    `settings` are further keys of its configuration. Give the same `tmp_path` and ports again to
    start it again with what it holds.
    """
    program = require("Orthanc", "orthanc")
    port, http_port = port or free_port(), http_port or free_port()
    folder = tmp_path / f"orthanc-{ae_title}"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": ae_title,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpPort": http_port,
        "DicomPort": port,
        "DicomAet": ae_title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomCheckModalityHost": False,
        "UnknownSopClassAccepted": True,
        "StableAge": 1,
        "Plugins": [],
        "DicomModalities": {name: list(peer) for name, peer in (modalities or {}).items()},
        **(settings or {}),
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration, indent=2))
    log = folder / "orthanc.log"
    peer = Orthanc(ae_title, port, http_port, log)
    with running([program, path], port, log) as process:
        wait_for_port(http_port, process, log)
        _wait_for_answer(peer)
        yield peer


def _wait_for_answer(peer: Orthanc) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        try:
            peer.get("/system")
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"Orthanc does not answer over HTTP:\n{_tail(peer.log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:] if log.exists() else ""
