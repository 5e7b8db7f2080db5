"""Locks between processes of one machine, for what a transaction cannot cover: files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadnode.core.errors import SpoolFull


@contextmanager
def shared(file: Path) -> Iterator[None]:
    """Hold `file` together with others; waits while somebody holds it alone. Raises SpoolFull."""
    handle = _open(file)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Hold `file` alone; waits while anybody else holds it. Raises SpoolFull."""
    handle = _open(file)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Hold `file` alone; False, at once and without holding it, while anybody else does.

    Raises SpoolFull.
    """
    handle = _open(file)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _open(file: Path) -> int:
    # A lock belongs to what was opened, so threads of one process exclude each other too.
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolFull(f"no lock can be had on the data disk: {error.strerror}") from error
