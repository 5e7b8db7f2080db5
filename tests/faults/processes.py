"""The processes of one node: found by a mark in their environment, whoever started them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "FAULTS_RUN"
"""An environment variable that every process of the node under test inherits."""

ROLES = ("serve", "receive", "work")


@dataclass(frozen=True)
class Process:
    """A running process of the node."""

    pid: int
    parent: int
    command: str

    @property
    def role(self) -> str:
        """`serve`, `receive`, `work`, or empty for a process that one of these started."""
        words = self.command.split()
        found = (
            [word for word in words[words.index("cadnode") + 1 :] if word in ROLES]
            if ("cadnode" in words)
            else []
        )
        return found[0] if found else ""


def running(mark: str) -> list[Process]:
    """Every process that carries this mark and is no zombie."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            stat = (folder / "stat").read_text()
            fields = stat.rpartition(")")[2].split()
            if command and fields[0] != "Z":
                found.append(Process(int(folder.name), int(fields[1]), command))
    return found


def by_role(processes: list[Process]) -> Mapping[str, Process]:
    """`serve`, `receive` and `work`, those that run."""
    return {process.role: process for process in processes if process.role}


def orphans(processes: list[Process], root: int) -> list[Process]:
    """Those that do not descend from `root`."""
    parents = {process.pid: process.parent for process in processes}

    def descends(pid: int) -> bool:
        while pid in parents:
            if pid == root:
                return True
            pid = parents[pid]
        return False

    return [process for process in processes if not descends(process.pid)]


def send_signal(processes: list[Process], number: signal.Signals) -> None:
    """One signal to all of them; one that has ended meanwhile is left alone."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def wait_gone(mark: str, seconds: float) -> list[Process]:
    """Wait until no process carries the mark; those that still do after `seconds`."""
    ends = time.monotonic() + seconds
    while (left := running(mark)) and time.monotonic() < ends:
        time.sleep(0.05)
    return left
