"""SHA-256 of what comes in, computed beside the thread that reads and writes where a core is free."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

WORTH_A_THREAD = 1 << 17
"""Bytes; handing over less costs more than it saves."""


class _Helpers:
    """Threads that hash, one for every second core, started when there is something for them."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._jobs: SimpleQueue[tuple[Any, Sequence[memoryview], threading.Lock]] = SimpleQueue()
        self._most = most
        self._started = 0
        self._starting = threading.Lock()

    def take(self, digest: Any, pieces: Sequence[memoryview], busy: threading.Lock) -> bool:
        """False when none is free. Else `busy`, which the caller holds, is released when they have
        been added to `digest`."""
        if not self._free.acquire(blocking=False):
            return False
        if self._started < self._most:
            self._start()
        self._jobs.put((digest, pieces, busy))
        return True

    def _start(self) -> None:
        with self._starting:
            if self._started < self._most:
                threading.Thread(target=self._run, name="hashing", daemon=True).start()
                self._started += 1

    def _run(self) -> None:
        while True:
            digest, pieces, busy = self._jobs.get()
            try:
                for piece in pieces:
                    digest.update(piece)
            finally:
                del digest, pieces
                self._free.release()
                busy.release()


_helpers = _Helpers((os.cpu_count() or 1) // 2)


class BesideHash:
    """A SHA-256 that grows, for one thread. What was given to `update` may be overwritten after the
    next call of `update` or `hexdigest`, not earlier."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._busy = threading.Lock()

    def update(self, pieces: Sequence[memoryview]) -> None:
        """Add these bytes, in their order."""
        self._busy.acquire()
        worth = sum(len(piece) for piece in pieces) >= WORTH_A_THREAD
        if worth and _helpers.take(self._digest, pieces, self._busy):
            return
        for piece in pieces:
            self._digest.update(piece)
        self._busy.release()

    def hexdigest(self) -> str:
        """Of all bytes so far."""
        with self._busy:
            return self._digest.hexdigest()
