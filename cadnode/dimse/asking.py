"""What takes in the messages on an association where we retrieve."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pynetdicom.association import Association

from cadnode.dimse.incoming import SpoolingProvider

LOOK_SECONDS = 0.2


class RetrievingProvider(SpoolingProvider):
    """C-STORE sub-operations go to files in `folder`; other messages are bounded in size.

    The peer may be silent for the association's `dimse_timeout`, counted from its last byte: a
    large object on a slow line is no silence. `stopping` ends the wait at once.
    """

    def __init__(
        self,
        assoc: Association,
        folder: Path,
        room: Callable[[int], bool],
        stopping: threading.Event,
    ) -> None:
        super().__init__(assoc, folder, room)
        self._stopping = stopping

    def get_msg(self, block: bool = False) -> Any:
        """The next message for a caller that waits; none for the thread that polls."""
        if not block:
            return None, None
        asked = time.monotonic()
        while not self._stopping.is_set():
            try:
                return self.msg_queue.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                quiet = time.monotonic() - max(asked, self._quiet_since)
                if quiet >= (self.dimse_timeout or 0):
                    break
        return None, None

    def discard(self) -> None:
        """As for a sender; who waits for an answer is told that none will come."""
        super().discard()
        self.msg_queue.put((None, None))
