"""Wakes threads that would otherwise look for work only every now and then."""

from __future__ import annotations

import threading


class Bell:
    """Rung when there may be work; for any number of threads.

    Whoever waits names the number of rings heard before the last look, so that a ring during the
    look is not lost.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """So far."""
        return self._rings

    def ring(self) -> None:
        """Wake everybody who waits."""
        with self._changed:
            self._rings += 1
            self._changed.notify_all()

    def wait(self, heard: int, seconds: float) -> None:
        """Come back when it has rung more than `heard` times, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._rings > heard, seconds)
