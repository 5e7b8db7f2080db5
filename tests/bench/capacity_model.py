"""How many exams machines can take: by arithmetic, and by a simulation of the queues. Pure.

Everything is counted in seconds of one processor core. What an exam costs is measured; here it is
only added up, shared out among cores, and played through with exams that come at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

VIEWS = 4
QUANTUM = 0.01
"""Seconds that one job keeps a core before the next one has its turn."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Core seconds that one exam needs, by where."""

    receive: float
    """One image in the receiver."""
    send: float
    """One image in the sender; 0 where that is another machine."""
    prepare: float
    """One image in the worker, what runs on one core: decoding, resampling, the database."""
    model: float
    """One image in the model, which spreads over all cores."""
    report: float
    """One exam: the result objects built and sent."""

    @property
    def of_worker(self) -> float:
        """Core seconds of one exam in the worker."""
        return VIEWS * (self.prepare + self.model) + self.report

    @property
    def of_receiver(self) -> float:
        """Core seconds of one exam in the receiver."""
        return VIEWS * self.receive

    @property
    def of_exam(self) -> float:
        """Core seconds of one exam, all together."""
        return self.of_worker + self.of_receiver + VIEWS * self.send


def exams_per_hour(costs: Costs, *, cores: int, workers: int) -> float:
    """The most that one machine can do, everything on it: its cores are busy all the time, or its
    workers wait for their single-core part."""
    by_cores = cores / costs.of_exam
    one_worker = VIEWS * (costs.prepare + costs.model / cores) + costs.report
    return 3600 * min(by_cores, workers / one_worker)


def arrivals(exams: int, per_hour: float, seed: int) -> list[float]:
    """Moments (seconds) at which so many exams begin, at random around a mean rate."""
    generator = random.Random(seed)  # noqa: S311  a simulation
    moments, now = [], 0.0
    for _ in range(exams):
        now += generator.expovariate(per_hour / 3600)
        moments.append(now)
    return moments


@dataclass(slots=True)
class _Exam:
    unread: int = 0
    read: int = 0
    in_hand: bool = False
    complete_at: float = 0.0
    done_at: float = math.nan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation gave."""

    delays: Sequence[float] = field(default_factory=tuple)
    """Seconds from the last image of each exam to its result at the archive."""
    ended_at: float = 0.0
    """When the last one was done (seconds)."""


def simulate(
    costs: Costs, begin: Sequence[float], *, cores: int, workers: int, gap: float = 0.0
) -> Outcome:
    """Play exams through that begin at these moments, their views `gap` seconds apart.

    The cores take turns at all jobs that are ready; a worker takes the exam that is due longest,
    reads what is there of it and lets go of it until more has come.
    """
    environment = simpy.Environment()
    machine = _Machine(environment, costs, cores)
    exams = [_Exam() for _ in begin]
    for moment, exam in zip(begin, exams, strict=True):
        environment.process(machine.arrive(exam, moment, gap))
    for _ in range(workers):
        environment.process(machine.work())
    environment.run()
    return Outcome(
        tuple(exam.done_at - exam.complete_at for exam in exams),
        max(exam.done_at for exam in exams),
    )


_Steps = Generator[simpy.Event, Any, None]


class _Machine:
    def __init__(self, environment: simpy.Environment, costs: Costs, cores: int) -> None:
        self._environment = environment
        self._costs = costs
        self._cores = simpy.Resource(environment, cores)
        self._due: simpy.Store = simpy.Store(environment)

    def arrive(self, exam: _Exam, moment: float, gap: float) -> _Steps:
        """An exam comes, image after image."""
        yield self._environment.timeout(moment)
        for number in range(VIEWS):
            if number:
                yield self._environment.timeout(gap)
            yield from self._compute(self._costs.send + self._costs.receive)
            exam.unread += 1
            exam.complete_at = self._environment.now
            if not exam.in_hand:
                exam.in_hand = True
                yield self._due.put(exam)

    def work(self) -> _Steps:
        """One worker, for ever."""
        while True:
            exam = yield self._due.get()
            while exam.unread:
                exam.unread -= 1
                yield from self._compute(self._costs.prepare)
                yield self._everywhere(self._costs.model)
                exam.read += 1
            exam.in_hand = False
            if exam.read == VIEWS:
                yield from self._compute(self._costs.report)
                exam.done_at = self._environment.now

    def _everywhere(self, seconds: float) -> simpy.Event:
        cores = int(self._cores.capacity)
        parts = [self._environment.process(self._compute(seconds / cores)) for _ in range(cores)]
        return self._environment.all_of(parts)

    def _compute(self, seconds: float) -> _Steps:
        while seconds > 1e-9:
            with self._cores.request() as turn:
                yield turn
                yield self._environment.timeout(min(QUANTUM, seconds))
            seconds -= QUANTUM


@dataclass(frozen=True, slots=True)
class Programme:
    """A screening programme in its busiest hour."""

    exams_per_year: float = 5e6
    days: float = 250
    hours: float = 10
    """Of each day."""
    busy: float = 5
    """Times the mean."""
    image_mb: float = 17.0

    @property
    def per_hour(self) -> float:
        """Exams in the busy hour."""
        return self.busy * self.exams_per_year / (self.days * self.hours)

    @property
    def mb_per_second(self) -> float:
        """Received in the busy hour."""
        return self.per_hour * VIEWS * self.image_mb / 3600

    @property
    def tb_per_day(self) -> float:
        """Received on a mean day."""
        return self.exams_per_year / self.days * VIEWS * self.image_mb / 1e6


def needed(demand: float, capacity: float, *, utilisation: float = 0.7) -> int:
    """How many of something with this capacity take that demand, each kept below a share of its
    capacity so that queues stay short, and one more, so that one may fail."""
    return math.ceil(demand / (capacity * utilisation)) + 1
