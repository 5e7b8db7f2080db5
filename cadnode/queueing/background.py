"""Hints are given from a thread of their own: nobody who commits waits for a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Protocol

import structlog

from cadnode.core.errors import BrokerUnavailable, CadnodeError
from cadnode.core.hints import Hint
from cadnode.core.metrics import HINTS, Metrics, begin

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
"""Changed exams and studies kept in memory at most; the sweep finds those beyond."""

REST_SECONDS = 5.0
"""How long a broker that did not answer is left alone."""

CLOSE_SECONDS = 1.0

LOOK_SECONDS = 1.0
"""The longest that one turn waits for something to give."""


class DueReader(Protocol):
    """Reads from the job database what is due."""

    def of_exam(self, exam_id: int, *, now: datetime) -> Sequence[Hint]:
        """See HintRecords.of_exam."""
        ...

    def of_study(self, study_instance_uid: str, *, now: datetime) -> Sequence[Hint]:
        """See HintRecords.of_study."""
        ...


class Giver(Protocol):
    """Gives hints to a broker; used by one thread."""

    def give(self, hints: Sequence[Hint]) -> None:
        """See Broker.give."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class BackgroundHints:
    """See Hints: a lane for a thread of its own, until `closing`.

    What cannot be given is dropped, counted, and found again by the sweep.
    """

    name = "hints"

    def __init__(
        self,
        due: DueReader,
        broker: Giver,
        *,
        metrics: Metrics,
        clock: Callable[[], datetime],
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """`seconds` never go back."""
        self._due = due
        self._broker = broker
        self._metrics = metrics
        self._clock = clock
        self._seconds = seconds
        # Each changed exam or study once: many images of one study are one look at it.
        self._changed: dict[int | str, None] = {}
        self._news = threading.Condition()
        self._giving = False
        self.closing = threading.Event()
        """The lane is to end."""
        self._resting_until = 0.0
        self._trouble = ""
        for result in ("given", "lost"):
            begin(metrics, HINTS, result)

    @property
    def trouble(self) -> str:
        """See Hints.trouble."""
        return self._trouble

    def exam_changed(self, exam_id: int) -> None:
        """See Hints.exam_changed."""
        self._note(exam_id)

    def study_changed(self, study_instance_uid: str) -> None:
        """See Hints.study_changed."""
        self._note(study_instance_uid)

    def close(self) -> None:
        """See Hints.close."""
        with self._news:
            self._news.wait_for(lambda: not (self._changed or self._giving), CLOSE_SECONDS)
            self.closing.set()
            self._news.notify_all()

    def run_once(self) -> bool:
        """Wait a moment for changes, and give a hint for all that is due of them."""
        with self._news:
            self._news.wait_for(lambda: self._changed or self.closing.is_set(), LOOK_SECONDS)
            changed, self._changed = list(self._changed), {}
            self._giving = True
        try:
            self._give(changed)
        finally:
            with self._news:
                self._giving = False
                self._news.notify_all()
        if self.closing.is_set():
            self._broker.close()
        return True

    def _give(self, changed: Sequence[int | str]) -> None:
        if not changed:
            return
        if self._seconds() < self._resting_until:
            self._metrics.add(HINTS, "lost", by=len(changed))
            return
        try:
            hints = self._read(changed)
            if hints:
                self._broker.give(hints)
        except BrokerUnavailable as error:
            self._metrics.add(HINTS, "lost", by=len(changed))
            self._resting_until = self._seconds() + REST_SECONDS
            if not self._trouble:
                log.warning("no hints for the workers; the sweep gives them", detail=str(error))
            self._trouble = error.detail
        except CadnodeError as error:
            self._metrics.add(HINTS, "lost", by=len(changed))
            log.warning("what is due could not be read", detail=str(error))
        else:
            self._metrics.add(HINTS, "given", by=len(hints))
            if self._trouble and hints:
                self._trouble = ""
                log.info("the broker takes hints again")

    def _note(self, changed: int | str) -> None:
        with self._news:
            if len(self._changed) >= MOST_WAITING:
                self._metrics.add(HINTS, "lost")
                return
            self._changed[changed] = None
            self._news.notify_all()

    def _read(self, changed: Sequence[int | str]) -> Sequence[Hint]:
        now = self._clock()
        found: dict[Hint, None] = {}
        for item in changed:
            if isinstance(item, int):
                found |= dict.fromkeys(self._due.of_exam(item, now=now))
            else:
                found |= dict.fromkeys(self._due.of_study(item, now=now))
        return list(found)
