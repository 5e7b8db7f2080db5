"""The clock of the node's processes, moved while they run.

Only the time of day moves; the monotonic clock goes on as it does when an administrator or NTP
sets a machine's clock. `clock_shim.c` says why this is not libfaketime.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

HOUR = 3600

_SOURCE = Path(__file__).with_name("clock_shim.c")


def why_no_clock() -> str:
    """Why the clock cannot be moved on this machine; empty when it can."""
    return "" if shutil.which("cc") else "there is no C compiler: apt-get install gcc libc6-dev"


@dataclass
class Clock:
    """How far the node's clock is off; its processes see a change at once."""

    folder: Path
    _page: mmap.mmap | None = field(default=None, init=False)
    offset: int = field(default=0, init=False)
    """Seconds."""

    def __post_init__(self) -> None:
        if why_no_clock():
            return
        compiler = shutil.which("cc") or "cc"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", str(_SOURCE), "-o", str(self._library)],
            check=True,
            capture_output=True,
        )
        self._file.write_bytes(struct.pack("q", 0))
        with self._file.open("r+b") as stream:
            self._page = mmap.mmap(stream.fileno(), 8)

    @property
    def environment(self) -> dict[str, str]:
        """What the node's processes must find in their environment."""
        if self._page is None:
            return {}
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self._file)}

    def set(self, offset: int) -> None:
        """Set the node's clock so many seconds off."""
        if self._page is not None:
            self._page[:] = struct.pack("q", offset)
            self.offset = offset

    def now(self) -> datetime:
        """The time of day as the node sees it."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    @property
    def _library(self) -> Path:
        return self.folder / "clock_shim.so"

    @property
    def _file(self) -> Path:
        return self.folder / "clock"
