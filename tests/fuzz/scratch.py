"""One file in memory, for parsers that take a path."""

from __future__ import annotations

import os
from pathlib import Path


class Scratch:
    """A file that is written anew for each input and never touches a disk (Linux)."""

    def __init__(self) -> None:
        self._handle = os.memfd_create("fuzz")
        self._path = Path(f"/proc/self/fd/{self._handle}")

    def holding(self, content: bytes) -> Path:
        """The path of the file, whose content is now `content`."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, content, 0)
        return self._path
