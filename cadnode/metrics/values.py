"""Numbers in a file that outlive their process.

    "cadnode metrics 1\\n", padded with zeros to 24 bytes
    then one record for each series:
        u32 length of the name, u32 count of the numbers, the name (UTF-8) padded to 8 bytes,
        the numbers (float64), as the machine writes them

A record is appended once and its numbers are overwritten in place, in one write each: what a
process has counted stands there when it is killed the next moment. Not a memory map: on a full
disk a write into one ends the process, and here it is only not written.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"cadnode metrics 1\n".ljust(24, b"\0")
_HEAD = struct.Struct("<II")
_DOUBLES = "d"
LONGEST_NAME = 4096


@dataclass(slots=True)
class _Series:
    values: array[float]
    start: int
    """Where its record begins."""
    numbers: int
    """Where its numbers begin."""
    is_there: bool
    """False until the whole record has been written."""


class ValueFile:
    """The numbers of one process. Not thread-safe."""

    def __init__(self, path: Path, keep: Callable[[str], bool] = lambda _name: True) -> None:
        """Open `path` and go on with the series there that `keep` names; a file nobody can read
        begins anew. Raises OSError."""
        found = {name: values for name, values in read_values(path) if keep(name)}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._begun = self._write(_MAGIC, 0)
        self._end = len(_MAGIC)
        self._series: dict[str, _Series] = {}
        self._missing: deque[tuple[str, _Series]] = deque()
        for name, values in found.items():
            self._append(name, values)
            self.write(name)

    def series(self, name: str, count: int) -> array[float]:
        """The `count` numbers that `name` has, zeros at first; change them, then `write(name)`."""
        held = self._series.get(name)
        if held is not None and len(held.values) == count:
            return held.values
        return self._append(name, array(_DOUBLES, bytes(8 * count)))

    def write(self, name: str) -> None:
        """Put the numbers of `name` into the file, and what had no room before; on a full disk the
        old ones stay there."""
        held = self._series[name]
        if held.is_there:
            self._write(held.values.tobytes(), held.numbers)
        self._catch_up()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _catch_up(self) -> None:
        """Whoever reads the file goes no further than the first record that is not there."""
        self._begun = self._begun or self._write(_MAGIC, 0)
        while self._begun and self._missing:
            name, series = self._missing[0]
            series.is_there = self._write(_record(name, series.values), series.start)
            if not series.is_there:
                return
            self._missing.popleft()

    def _append(self, name: str, values: array[float]) -> array[float]:
        numbers = self._end + _HEAD.size + _name_size(name)
        self._series[name] = series = _Series(values, self._end, numbers, is_there=False)
        self._missing.append((name, series))
        self._end = numbers + 8 * len(values)
        return values

    def _write(self, content: bytes, offset: int) -> bool:
        try:
            return os.pwrite(self._file, content, offset) == len(content)
        except OSError:
            # No room for a number: the node has worse to do, and the next write tries again.
            return False


def read_values(path: Path) -> Iterator[tuple[str, array[float]]]:
    """Every series in `path` up to the first that is not whole; none when nobody can read it."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    if not content.startswith(_MAGIC):
        return
    position = len(_MAGIC)
    while position + _HEAD.size <= len(content):
        length, count = _HEAD.unpack_from(content, position)
        padded = -(-length // 8) * 8
        numbers = position + _HEAD.size + padded
        end = numbers + 8 * count
        if not 0 < length <= LONGEST_NAME or end > len(content):
            return
        try:
            name = content[numbers - padded : numbers - padded + length].decode()
        except UnicodeDecodeError:
            return
        yield name, array(_DOUBLES, content[numbers:end])
        position = end


def _name_size(name: str) -> int:
    return -(-len(name.encode()) // 8) * 8


def _record(name: str, values: array[float]) -> bytes:
    head = _HEAD.pack(len(name.encode()), len(values))
    return head + name.encode().ljust(_name_size(name), b"\0") + values.tobytes()
