"""The analysis lane of a worker that is told by messages what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from cadnode.worker import AnalysisLane


class HintedLane:
    """Works when a message comes, and by itself when none has come for a while.

    A broker that is away holds nothing up for longer, and neither does a message that it lost.
    """

    name = AnalysisLane.name

    def __init__(
        self,
        lane: AnalysisLane,
        *,
        idle_seconds: float,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """`seconds` never go back."""
        self._lane = lane
        self._idle = idle_seconds
        self._seconds = seconds
        self._look_at = seconds() + idle_seconds
        self._one_at_a_time = threading.Lock()

    def take(self, exam_id: int) -> bool:
        """A message has come: do one piece of work, this exam's if it is due. True if there was
        any."""
        with self._one_at_a_time:
            try:
                return self._lane.run_once(exam_id)
            finally:
                self._look_at = self._seconds() + self._idle

    def run_once(self) -> bool:
        """Do one piece of work if no message has come for so long that there may be none."""
        if self._seconds() < self._look_at:
            return False
        with self._one_at_a_time:
            # As long as there is work, no broker is needed to go on with it.
            busy = self._lane.run_once()
            if not busy:
                self._look_at = self._seconds() + self._idle
            return busy
