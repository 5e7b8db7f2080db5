"""The sweep: what is due by the database and unknown to the broker is said again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Protocol

import structlog

from cadnode.core.hints import Hint, Line, missing
from cadnode.core.metrics import HINTS, Metrics, begin

log = structlog.get_logger(__name__)

AT_ONCE = 500
"""Exams looked at in one sweep: with more waiting, every worker has enough to do."""


class DueReader(Protocol):
    """Reads from the job database what is due."""

    def due(self, destinations: Sequence[str], *, now: datetime, limit: int) -> Sequence[Hint]:
        """See HintRecords.due."""
        ...


class CountingBroker(Protocol):
    """A broker whose messages can be counted."""

    def waiting(self) -> Mapping[Line, int]:
        """See Broker.waiting."""
        ...

    def give(self, hints: Sequence[Hint]) -> None:
        """See Broker.give."""
        ...


class SweepLane:
    """A lane that sweeps every few seconds; never busy. Any number may run beside each other.

    It finds what the broker lost, what fell due by the clock alone (an exam's quiet time, another
    try, the end of a dead worker's lease), and what a command or the console has started.
    """

    name = "sweep"

    def __init__(
        self,
        due: DueReader,
        broker: CountingBroker,
        destinations: Sequence[str],
        *,
        every_seconds: float,
        clock: Callable[[], datetime],
        metrics: Metrics,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """`seconds` never go back."""
        self._due = due
        self._broker = broker
        self._destinations = destinations
        self._every = every_seconds
        self._clock = clock
        self._metrics = metrics
        self._seconds = seconds
        self._sweep_at = seconds()
        begin(metrics, HINTS, "again")

    def run_once(self) -> bool:
        """Sweep if it is time to. Raises BrokerUnavailable and DatabaseUnavailable."""
        if self._seconds() < self._sweep_at:
            return False
        self._sweep_at = self._seconds() + self._every
        # Counted first: what is given in between is then given twice, not never.
        waiting = self._broker.waiting()
        due = self._due.due(self._destinations, now=self._clock(), limit=AT_ONCE)
        again = list(missing(due, waiting))
        if again:
            self._broker.give(again)
            self._metrics.add(HINTS, "again", by=len(again))
            log.debug("said again", hints=len(again))
        return False
