"""The real program as processes, its settings, and what its database says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.store import Store
from tests.objects import write
from tests.peers import free_port, require

PATIENCE = 180.0
"""Seconds for anything to happen on a busy machine with two cores."""


@dataclass(frozen=True)
class Target:
    """One destination of a node under test."""

    name: str
    ae_title: str
    port: int
    objects: Sequence[str] = ("mammography-cad-sr", "tid1500-sr")
    commitment: str = "off"


@dataclass(frozen=True)
class Node:
    """A running node."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "cadnode.toml"

    @property
    def log(self) -> str:
        """Everything its processes have printed."""
        return (self.folder / "node.log").read_text(errors="replace")

    def run(self, *arguments: str, status: int = 0) -> str:
        """The output of a `cadnode` command with this node's settings."""
        return run_cadnode(*arguments, "--config", str(self.config), status=status)

    def exams(self) -> list[dict[str, Any]]:
        """What `cadnode jobs list --json` says, oldest first, without starting a process."""
        with closing(self._store()) as store:
            return [asdict(exam) for exam in store.records.list_exams()][::-1]

    def detail(self, exam_id: int) -> dict[str, Any]:
        """What `cadnode jobs show ID --json` says."""
        with closing(self._store()) as store:
            return asdict(store.records.exam_detail(exam_id))

    def _store(self) -> Store:
        return App(load_settings(self.config, {})).open_store()

    def pid(self, name: str) -> int:
        """The process id of `receive` or `work`, as the log last said it."""
        started = [
            event
            for event in self.events()
            if event.get("event") == "started" and event.get("process") == name
        ]
        return int(started[-1]["pid"])

    def events(self) -> list[dict[str, Any]]:
        """The structured events among the log lines."""
        found = []
        for line in self.log.splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:  # a line that a killed process did not finish
                    continue
        return found

    def kill(self, name: str) -> None:
        """SIGKILL `receive` or `work` and wait until another one has been started."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.pid(name) != before, f"{name} is started again", self)

    def storescu(self, *files: Path, calling: str = "MG1", options: Sequence[str] = ()) -> int:
        """Send as a modality with DCMTK; returns how many images were acknowledged."""
        program = require("storescu", "dcmtk")
        command = [program, "-v", "-aet", calling, "-aec", "CADNODE", "-R", *options]
        answer = subprocess.run(
            [*command, "127.0.0.1", str(self.port), *map(str, files)],
            capture_output=True,
            env={**os.environ, "TCP_NODELAY": "1"},
            timeout=PATIENCE,
            check=False,
        )
        return len(
            re.findall(rb"Received Store Response \(Success\)", answer.stdout + answer.stderr)
        )

    def wait_for(self, *statuses: str, exams: int = 1) -> list[dict[str, Any]]:
        """Wait until there are so many exams, each in one of `statuses`."""
        wait_until(
            lambda: (
                len(self.exams()) >= exams
                and all(exam["status"] in statuses for exam in self.exams())
            ),
            f"{exams} exam(s) in {statuses}",
            self,
        )
        return self.exams()


@contextmanager
def running_node(
    folder: Path,
    targets: Sequence[Target],
    *,
    quiet_seconds: float = 3.0,
    lease_seconds: float = 3.0,
    extra: str = "",
    port: int = 0,
    web_port: int | None = None,
) -> Iterator[Node]:
    """`cadnode serve` on a free port, ended at the end; with the console where it has a port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    destinations = "".join(
        f'\n[[destinations]]\nname = "{t.name}"\nae_title = "{t.ae_title}"\nhost = "127.0.0.1"\n'
        f"port = {t.port}\nobjects = {json.dumps(list(t.objects))}\n"
        f'commitment = "{t.commitment}"\n'
        for t in targets
    )
    (folder / "cadnode.toml").write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\n'
        '[[peers]]\nname = "room 1"\nae_title = "MG1"\n'
        f"[exam]\nquiet_seconds = {quiet_seconds}\n"
        f"[work]\nlease_seconds = {lease_seconds}\npoll_seconds = 0.05\n"
        '[log]\nformat = "json"\n[retention]\nreserve_mb = 1\n'
        f"[web]\nenabled = {'false' if web_port is None else 'true'}\nport = {web_port or 0}\n"
        f"{destinations}{extra}"
    )
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cadnode", "serve", "--config", str(folder / "cadnode.toml")],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    node = Node(folder, port, process)
    try:
        wait_until(lambda: '"event": "receiving"' in node.log, "the node listens", node)
        yield node
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_cadnode(*arguments: str, status: int = 0) -> str:
    """Run the command, expect its exit status, return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "cadnode", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + (done.stderr if status else "")


def wait_until(holds: Callable[[], object], what: str, node: Node) -> None:
    """Poll until `holds`; fail with the node's log when it takes too long or the node ends."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline or node.process.poll() is not None:
            pytest.fail(f"waited in vain until {what}:\n{node.log[-6000:]}")
        time.sleep(0.05)


def write_all(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Each dataset as a file of its own."""
    return [write(dataset, folder / f"{number:02d}.dcm") for number, dataset in enumerate(datasets)]
