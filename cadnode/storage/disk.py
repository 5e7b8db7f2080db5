"""The disk below a folder that may not be there yet."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """In bytes."""

    total: int
    free: int
    problem: str
    """Why nothing can be kept there, in plain words; empty when it can."""


def disk_of(folder: Path) -> Disk:
    """The disk of `folder`, or of the nearest folder above it that is there."""
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        usage = shutil.disk_usage(existing)
        flags = os.statvfs(existing).f_flag
    except OSError as error:
        return Disk(0, 0, f"{folder} cannot be looked at ({error.strerror})")
    return Disk(usage.total, usage.free, _problem(folder, existing, usage.total, flags))


def _problem(folder: Path, existing: Path, total: int, flags: int) -> str:
    begin = "" if existing == folder else f"{folder} cannot be made: "
    if not existing.is_dir():
        return f"{begin}{existing} is no folder"
    if not total:
        return f"{begin}{existing} is on a file system that keeps no files"
    if flags & os.ST_RDONLY:
        return f"{begin}{existing} is on a file system that is mounted read-only"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{begin}{existing} is not writable for this user"
    return ""
