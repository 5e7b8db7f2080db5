"""A queue that wakes whoever waits on file descriptors."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any


class WakingQueue(queue.Queue[Any]):
    """A queue with a file descriptor that can be read while something new was put.

    pynetdicom looks into the queue of what is to be sent, again and again; on an idle connection
    an answer would wait for the next look.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bell = threading.Lock()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        self.close()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As of a queue; wakes who waits."""
        super().put(item, block, timeout)
        with self._bell:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        """To be waited for with poll; negative when closed."""
        return self._descriptor

    def hush(self) -> None:
        """Forget what was put so far; for the one thread that waits."""
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Wake nobody from now on."""
        with self._bell:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
