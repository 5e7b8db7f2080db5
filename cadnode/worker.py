"""Lanes: claim, run the step, write down the outcome. The only place that catches everything.

A lane holds its work by a lease that a second thread renews while the step runs. A worker that
dies simply stops renewing: the lease runs out and the same step runs again somewhere else.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

import structlog

from cadnode.bell import Bell
from cadnode.core.breaker import BreakerRules, LineEvent, LineState, heard, needs_note
from cadnode.core.delivery_ports import DeliveryStore
from cadnode.core.errors import (
    CadnodeError,
    ImageUnreachable,
    LeaseLost,
    ModelUnfit,
    SpoolFull,
    StaleExam,
    unexpected,
)
from cadnode.core.jobs import Delivery, Exam, ExamStatus, Problem
from cadnode.core.metrics import LEASES_LOST, Metrics, NoMetrics, begin
from cadnode.core.ports import ExamStore
from cadnode.core.retry import RetryRules, SendOutcome, backoff
from cadnode.pipeline import Pipeline

log = structlog.get_logger(__name__)

UNFIT_PAUSE = timedelta(seconds=30)
"""How long exams wait before a broken model or a full disk is looked at again."""

SAME_TROUBLE_SECONDS = 60.0
"""How often the log repeats what keeps a lane from working: it is tried many times a second."""

DELIVERIES_AT_ONCE = 32
"""Objects sent over one association at most, so that one lease covers them."""


class Interrupted(Exception):
    """The step was stopped between two batches, because the worker stops or lost its lease."""


class Lane(Protocol):
    """Something that can do one piece of work at a time."""

    name: str

    def run_once(self) -> bool:
        """Do one piece of work if any is due. True if there was any."""
        ...


class AnalysisLane:
    """Claims exams and advances them."""

    name = "analysis"

    def __init__(
        self,
        store: ExamStore,
        pipeline: Pipeline,
        *,
        owner: str,
        lease: timedelta,
        retry: RetryRules,
        clock: Callable[[], datetime],
        stopping: threading.Event,
        metrics: Metrics | None = None,
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        """`stepped` is called after each step: it may have left something to deliver."""
        self._metrics = metrics or NoMetrics()
        begin(self._metrics, LEASES_LOST, self.name)
        self._store = store
        self._pipeline = pipeline
        self._owner = owner
        self._lease = lease
        self._retry = retry
        self._clock = clock
        self._stopping = stopping
        self._stepped = stepped

    def run_once(self, exam_id: int | None = None) -> bool:
        """Advance that exam if it is due and nobody holds it; else the one that has been due
        longest."""
        exam = None if exam_id is None else self._claim(exam_id)
        exam = exam or self._claim()
        if exam is None:
            return False
        renew = Renewal(
            lambda: self._store.renew_exam(exam, now=self._clock(), lease=self._lease), self._lease
        )

        def pulse() -> None:
            renew.check()
            if self._stopping.is_set():
                raise Interrupted

        try:
            with renew.running():
                self._pipeline.advance(exam, pulse)
        except Interrupted:
            self._hand_back(exam, self._clock(), None)
        except LeaseLost:
            log.warning("lease lost", exam=exam.id)
            self._metrics.add(LEASES_LOST, self.name)
        except StaleExam:
            self._hand_back(exam, self._clock(), None)
        except (ModelUnfit, SpoolFull, ImageUnreachable) as error:
            # Neither is the exam's fault, and the next one would fare no better.
            log.error("the node is unfit; exams wait", exam=exam.id, detail=str(error))
            problem = Problem(error.code, error.detail)
            self._hand_back(exam, self._clock() + UNFIT_PAUSE, problem, blameless=True)
        except CadnodeError as error:
            self._went_badly(exam, error, Problem(error.code, error.detail))
        except Exception as error:
            self._went_badly(exam, error, Problem("E000", unexpected(error)))
        self._stepped()
        return True

    def _claim(self, exam_id: int | None = None) -> Exam | None:
        return self._store.claim_exam(
            self._owner, now=self._clock(), lease=self._lease, exam_id=exam_id
        )

    def _went_badly(self, exam: Exam, error: Exception, problem: Problem) -> None:
        log.error("the step failed", exam=exam.id, status=exam.status, detail=problem.text)
        if isinstance(error, CadnodeError) and not error.retry:
            self._fail(exam, problem)
            return
        self._hand_back(exam, self._clock() + backoff(exam.tries, 1.0, self._retry), problem)

    def _fail(self, exam: Exam, problem: Problem) -> None:
        try:
            self._store.move_exam(
                exam,
                ExamStatus.FAILED,
                text=f"{problem.code} {problem.text}",
                problem=problem,
                now=self._clock(),
            )
        except CadnodeError as error:
            log.warning("could not mark the exam failed", exam=exam.id, detail=str(error))

    def _hand_back(
        self, exam: Exam, due_at: datetime, problem: Problem | None, *, blameless: bool = False
    ) -> None:
        try:
            self._store.release_exam(
                exam, due_at=due_at, problem=problem, blameless=blameless, now=self._clock()
            )
        except CadnodeError as error:
            # The lease ends by itself and the step runs again.
            log.warning("could not hand the exam back", exam=exam.id, detail=str(error))


class DeliveryLane:
    """Claims what is due at one destination and sends it; one lane per destination.

    While the destination does not answer its line is open (core/breaker.py): nothing is claimed,
    and one probe at a time asks whether it is back.
    """

    def __init__(
        self,
        destination: str,
        store: DeliveryStore,
        pipeline: Pipeline,
        *,
        owner: str,
        lease: timedelta,
        clock: Callable[[], datetime],
        retry: RetryRules | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = f"delivery to {destination}"
        rules = retry or RetryRules()
        self._patience = rules.give_up_after
        self._breaker = BreakerRules.beside(rules)
        self._jitter = jitter
        self._destination = destination
        self._store = store
        self._pipeline = pipeline
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._holding: Sequence[Delivery] = ()

    def run_once(self) -> bool:
        """Send what is due, or ask a destination that did not answer whether it is back."""
        line = self._store.line(self._destination)
        if line.state is LineState.OPEN:
            return self._probe()
        deliveries = self._store.claim_deliveries(
            self._destination,
            self._owner,
            now=self._clock(),
            lease=self._lease,
            limit=DELIVERIES_AT_ONCE,
        )
        if not deliveries:
            return False
        self._holding = deliveries
        renew = Renewal(lambda: self._renew(deliveries), self._lease)
        try:
            with renew.running():
                outcomes = self._deliver(deliveries)
        except ImageUnreachable:
            # Nothing was sent: what keeps the objects does not answer, and they wait for it.
            self.hand_back()
            raise
        finally:
            self._holding = ()
        event = heard(outcomes)
        if event is not None and needs_note(line, event):
            self._note(event, _trouble(outcomes))
        return True

    def hand_back(self) -> None:
        """Give up what is being sent, for another process to send at once: this one ends now."""
        if self._holding:
            self._store.release_deliveries(self._holding, now=self._clock())

    def _probe(self) -> bool:
        name, lease = self._destination, self._lease
        if not self._store.hold_probe(name, now=self._clock(), lease=lease):
            return False
        # Another process must not ask meanwhile, and shall ask soon when this one dies.
        renew = Renewal(
            lambda: self._store.renew_probe(name, now=self._clock(), lease=lease), lease
        )
        with renew.running():
            answer = self._pipeline.probe(name)
        event = LineEvent.ECHOED if answer.reachable else LineEvent.SILENT
        self._note(event, answer.detail)
        return True

    def _note(self, event: LineEvent, error: str) -> None:
        line = self._store.note_line(
            self._destination,
            event,
            error=error,
            jitter=self._jitter(),
            rules=self._breaker,
            give_up_after=self._patience,
            now=self._clock(),
        )
        write = log.warning if line.state is LineState.OPEN else log.info
        said = {"detail": error} if error else {}
        write("line", destination=self._destination, state=line.state, heard=event, **said)

    def _deliver(self, deliveries: Sequence[Delivery]) -> Sequence[SendOutcome]:
        try:
            return self._pipeline.deliver(self._destination, deliveries)
        except CadnodeError:
            raise
        except Exception as error:
            log.error("sending broke off", lane=self.name, detail=unexpected(error))
            if len(deliveries) == 1:
                self._pipeline.not_sent(deliveries[0], unexpected(error))
                return ()
            # One object must not hold up the others: find it by sending one by one.
            return [outcome for delivery in deliveries for outcome in self._deliver([delivery])]

    def _renew(self, deliveries: Sequence[Delivery]) -> None:
        self._store.renew_deliveries(deliveries, now=self._clock(), lease=self._lease)


def _trouble(outcomes: Sequence[SendOutcome]) -> str:
    """The first thing that went wrong; empty when the destination answered."""
    if heard(outcomes) is LineEvent.ANSWERED:
        return ""
    first = outcomes[0]
    return f"{first.cause} ({first.detail})" if first.detail else str(first.cause)


class Renewal:
    """Renews a lease from a thread of its own while a step runs."""

    def __init__(self, renew: Callable[[], None], lease: timedelta) -> None:
        self._renew = renew
        self._every = lease.total_seconds() / 3
        self._done = threading.Event()
        self._lost = False

    def check(self) -> None:
        """Raise LeaseLost when a renewal found the lease gone."""
        if self._lost:
            raise LeaseLost("the lease could not be renewed")

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _loop(self) -> None:
        while not self._done.wait(self._every):
            try:
                self._renew()
            except LeaseLost:
                self._lost = True
                return
            except CadnodeError as error:
                log.warning("could not renew a lease", detail=str(error))


def run_lane(
    lane: Lane, *, stopping: threading.Event, poll_seconds: float, bell: Bell | None = None
) -> None:
    """Work until `stopping`; a lane survives whatever one piece of work does to it.

    A lane with a bell looks for work when it rings, and every `poll_seconds` all the same; it is
    to be rung once `stopping` is set.
    """
    said, again_from = "", 0.0
    while not stopping.is_set():
        heard = 0 if bell is None else bell.rings
        trouble = ""
        try:
            busy = lane.run_once()
        except CadnodeError as error:
            trouble = str(error)
            busy = False
        except Exception as error:
            trouble = unexpected(error)
            busy = False
        if trouble and (trouble != said or monotonic() >= again_from):
            log.error("the lane rests", lane=lane.name, detail=trouble)
            said, again_from = trouble, monotonic() + SAME_TROUBLE_SECONDS
        if busy:
            continue
        if bell is None:
            stopping.wait(poll_seconds)
        elif not stopping.is_set():
            bell.wait(heard, poll_seconds)
