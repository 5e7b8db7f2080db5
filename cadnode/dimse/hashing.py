"""SHA-256 of what comes in, computed beside the thread that reads and writes where a core is free."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

WORTH_A_THREAD = 1 << 16
"""Bytes; handing over less costs more than it saves."""

_HELPERS = max(1, (os.cpu_count() or 1) // 2) if (os.cpu_count() or 1) > 1 else 0
_helpers = ThreadPoolExecutor(max(1, _HELPERS), thread_name_prefix="hashing")
_free = threading.Semaphore(_HELPERS)


class BesideHash:
    """A SHA-256 that grows. What was given to `update` may be overwritten after the next call of
    `update` or `hexdigest`, not earlier."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._pending: Future[None] | None = None

    def update(self, pieces: Sequence[memoryview]) -> None:
        """Add these bytes, in their order."""
        self._settle()
        worth = sum(len(piece) for piece in pieces) >= WORTH_A_THREAD
        if worth and _free.acquire(blocking=False):
            self._pending = _helpers.submit(self._add_beside, pieces)
        else:
            self._add(pieces)

    def hexdigest(self) -> str:
        """Of all bytes so far."""
        self._settle()
        return self._digest.hexdigest()

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _add_beside(self, pieces: Sequence[memoryview]) -> None:
        try:
            self._add(pieces)
        finally:
            _free.release()

    def _add(self, pieces: Sequence[memoryview]) -> None:
        for piece in pieces:
            self._digest.update(piece)
