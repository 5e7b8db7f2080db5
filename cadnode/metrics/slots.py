"""Which process writes which file: `receive.0`, and `receive.1` only while another one runs.

A slot is held by a lock that the system takes back however the process ends. Whoever starts next
under the same name goes on with the numbers of the one that died, so that counters do not fall and
files do not pile up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".values"
_LOCK = ".lock"
MOST_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for the numbers of one process."""

    name: str
    path: Path
    lock: int
    """The open file that holds the lock."""


def take_slot(folder: Path, process: str) -> Slot:
    """The first free slot of that name. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MOST_SLOTS):
        name = f"{process}.{number}"
        lock = _lock(folder / f"{name}{_LOCK}")
        if lock is not None:
            _sign(lock)
            return Slot(name, folder / f"{name}{SUFFIX}", lock)
    raise OSError(f"{MOST_SLOTS} processes called {process} record already")


def files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Each file of numbers, and whether the process that writes it is alive."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with _free(path) as free:
            yield path, not free


def forget(folder: Path) -> None:
    """Remove the numbers of processes that are gone: the node starts, and counts from zero."""
    for path in folder.glob(f"*{SUFFIX}"):
        with _free(path) as free:
            if free:
                path.unlink(missing_ok=True)


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    # Shared: two who look at once do not take each other for its process.
    lock = _lock(path.with_suffix(_LOCK), fcntl.LOCK_SH)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: Path, how: int = fcntl.LOCK_EX) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def running(folder: Path) -> Mapping[str, frozenset[int]]:
    """By name, of every process that has recorded here since the start: the process ids of those
    that are alive; 0 where one could not write down its own."""
    found: dict[str, frozenset[int]] = {}
    for path, alive in files(folder):
        name = path.name.removesuffix(SUFFIX).rpartition(".")[0]
        signed = {_signed(path.with_suffix(_LOCK))} if alive else set()
        found[name] = found.get(name, frozenset()) | signed
    return found


def _sign(lock: int) -> None:
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError:
        # A full disk: nobody learns which process it is.
        return


def _signed(lock: Path) -> int:
    try:
        return int(lock.read_bytes() or b"0")
    except (OSError, ValueError):
        return 0
