"""Copies of objects on the disk of this machine: bounded, checked before they are believed."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cadnode.core.file_ports import PARTIAL_SUFFIX
from cadnode.storage.locks import in_turn, shared

IN_USE_SECONDS = 180.0
"""A copy that was asked for so lately may be open, or about to be: it stays whatever the limit."""

UNUSED_SECONDS = 86_400.0
"""A copy that nobody has asked for in so long goes in any case: its object may have been purged."""

LEFT_BEHIND_SECONDS = 3600.0
"""A copy that has been on its way for so long was left behind by a process that died."""


class FileCache:
    """Files by name in one folder, shared by the processes of a machine; any of them may go.

    The least recently used ones go first. Nothing here is synced: `is_whole` looks at each file
    once in the life of a process before it is handed out. A lock beside the folder stands between
    who asks for a copy and who is about to delete it: what was handed out and is not there would
    count as lost.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        *,
        is_whole: Callable[[Path, str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`is_whole` says whether a file is what its name promises."""
        self._folder = folder
        self._file_of_lock = folder.parent / "locks" / folder.name
        self._limit = limit_bytes
        self._is_whole = is_whole
        self._clock = clock
        self._lock = threading.Lock()
        self._believed: dict[str, int] = {}

    @property
    def folder(self) -> Path:
        """Where the copies lie."""
        return self._folder

    def place(self, name: str) -> Path:
        """Where the copy called `name` lies, or would lie."""
        return self._folder / name

    def aside(self) -> Path:
        """A path of its own for a copy that is on its way; `add` takes it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder / f".{secrets.token_hex(8)}{PARTIAL_SUFFIX}"

    def find(self, name: str) -> Path | None:
        """The copy, now the most recently used one; None when there is none to be believed."""
        path, now = self.place(name), self._clock()
        try:
            with shared(self._file_of_lock):
                number = path.stat().st_ino
                os.utime(path, (now, now))
            with self._lock:
                believed = self._believed.get(name) == number
            if not believed and not self._is_whole(path, name):
                with in_turn(self._file_of_lock):
                    # Another process may have fetched it meanwhile.
                    if path.stat().st_ino == number:
                        path.unlink()
                return None
        except FileNotFoundError:
            return None
        self._believe(name, number)
        return path

    def add(self, file: Path, name: str, *, in_use: bool) -> Path:
        """Take in a file whose content is right; `in_use` when it is wanted at once."""
        used = self._clock() - (0.0 if in_use else IN_USE_SECONDS)
        os.utime(file, (used, used))
        number = file.stat().st_ino
        path = self.place(name)
        file.replace(path)
        self._believe(name, number)
        self.shrink_to(self._limit)
        return path

    def rename(self, name: str, to: str) -> None:
        """What is called `name` is called `to` from now on, and looked at before it is believed;
        there may be no copy of it."""
        with self._lock:
            self._believed.pop(name, None)
            self._believed.pop(to, None)
        with suppress(OSError):
            self.place(name).replace(self.place(to))

    def forget(self, name: str) -> None:
        """Delete the copy if there is one."""
        with self._lock:
            self._believed.pop(name, None)
        self.place(name).unlink(missing_ok=True)

    def shrink_to(self, limit_bytes: int) -> None:
        """Delete what was used least recently and is not in use, until no more than so many bytes
        are left, and what has not been used for long."""
        now, copies = self._clock(), self._copies()
        self._forget_all_but({name for _, _, name in copies})
        total = sum(size for _, size, _ in copies)
        for used, size, name in sorted(copies):
            unused = LEFT_BEHIND_SECONDS if name.endswith(PARTIAL_SUFFIX) else IN_USE_SECONDS
            fits = total <= limit_bytes and now - used < UNUSED_SECONDS
            if fits or now - used < unused:
                continue
            if self._let_go(name, used):
                total -= size

    def size(self) -> int:
        """Bytes of all copies."""
        return sum(size for _, size, _ in self._copies())

    def _copies(self) -> list[tuple[float, int, str]]:
        """When each was used last, its bytes and its name."""
        copies = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    copies.append((status.st_mtime, status.st_size, entry.name))
        return copies

    def _let_go(self, name: str, used: float) -> bool:
        """Delete a copy; False, and it stays, when it was asked for since it was last `used`."""
        with in_turn(self._file_of_lock):
            with suppress(FileNotFoundError):
                if self.place(name).stat().st_mtime != used:
                    return False
            self.forget(name)
            return True

    def _forget_all_but(self, names: set[str]) -> None:
        """Other processes delete copies too."""
        with self._lock:
            for name in self._believed.keys() - names:
                del self._believed[name]

    def _believe(self, name: str, number: int) -> None:
        with self._lock:
            self._believed[name] = number
