"""Several receivers on one address: each has a number and a folder to write into.

What a killed receiver has left in its folder is removed by whoever starts next, and must not be
what another one is writing at this moment: a number is held by a lock that the system takes back
however the process ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cadnode.core.errors import ConfigError
from cadnode.core.file_ports import PARTIAL_SUFFIX
from cadnode.storage.locks import alone


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of several receivers writes."""

    number: int
    """From 1."""
    folder: Path


def number_of(name: str) -> int:
    """Which of several receivers the supervisor means: 2 for "receive 2", 1 for "receive"."""
    last = name.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 1


@contextmanager
def take_place(incoming: Path, locks: Path, receivers: int, wanted: int = 1) -> Iterator[Place]:
    """Number `wanted`, or the first that is free, for as long as the context lasts.

    A receiver that is alone writes into `incoming` itself. Raises ConfigError when all `receivers`
    run already.
    """
    if receivers == 1:
        yield Place(1, incoming)
        return
    numbers = sorted(range(1, receivers + 1), key=lambda number: number != wanted)
    with ExitStack() as stack:
        for number in numbers:
            if stack.enter_context(alone(_lock(locks, number))):
                yield Place(number, _folder(incoming, number))
                return
        raise ConfigError(
            f"[node] receivers = {receivers}: so many run already with this data folder"
        )


def clear_up(incoming: Path, locks: Path, receivers: int) -> None:
    """Remove what receivers that no longer run have left behind.

    To be called once the address is bound: no receiver with other settings is running then.
    """
    for folder in _folders(incoming):
        with alone(_lock(locks, int(folder.name.rpartition("-")[2]))) as free:
            if free:
                _empty(folder)
    if receivers > 1:
        _empty(incoming)


def _folders(incoming: Path) -> Sequence[Path]:
    return sorted(incoming.glob("receiver-[0-9]*"))


def _folder(incoming: Path, number: int) -> Path:
    return incoming / f"receiver-{number}"


def _lock(locks: Path, number: int) -> Path:
    return locks / f"receiver-{number}"


def _empty(folder: Path) -> None:
    for partial in folder.glob(f"*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)
