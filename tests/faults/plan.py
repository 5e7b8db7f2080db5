"""What is to go wrong, and when: a pure value made from a seed, so that any round runs again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random
from typing import Any


class Kind(StrEnum):
    """Every kind of fault, as it is named in the table."""

    KILL_RECEIVE = "SIGKILL of receive"
    KILL_WORK = "SIGKILL of work"
    KILL_SERVE = "SIGKILL of serve"
    SIGTERM = "SIGTERM under load"
    POWER_CUT = "power cut"
    ARCHIVE_DOWN = "archive down"
    ARCHIVE_SLOW = "archive slow"
    ARCHIVE_REJECTS = "archive refuses the association"
    ARCHIVE_ABORTS = "archive aborts in mid-object"
    ARCHIVE_SILENT = "archive silent"
    ARCHIVE_A700 = "archive answers A700"
    ARCHIVE_C000 = "archive answers C000"
    ARCHIVE_B000 = "archive answers B000"
    ARCHIVE_CLOSES_UNSTORED = "archive closes before it stores"
    ARCHIVE_CLOSES_STORED = "archive stores and closes unanswered"
    ARCHIVE_CLOSES_ANSWERED = "archive answers success and closes"
    ARCHIVE_LOSES = "archive answers success and loses the object"
    MODALITY_BREAKS_OFF = "modality breaks off in mid-image"
    SAME_IN_PARALLEL = "same image sent in parallel"
    SPOOL_FULL = "disk full: spool"
    RESULTS_FULL = "disk full: results"
    DATABASE_FULL = "disk full: database"
    DATABASE_LOCKED = "database locked"
    CLOCK_FORWARD = "clock jumps 1 h forward"
    CLOCK_BACK = "clock jumps 1 h back"


WHOLE_NODE = (Kind.KILL_SERVE, Kind.SIGTERM, Kind.POWER_CUT)
"""After these every process starts anew, the model included: at most two of them in a round."""

ARCHIVE = tuple(kind for kind in Kind if kind.name.startswith("ARCHIVE_"))
"""What one archive does to one association or object."""

DISKS = (Kind.SPOOL_FULL, Kind.RESULTS_FULL, Kind.DATABASE_FULL)
CLOCKS = (Kind.CLOCK_FORWARD, Kind.CLOCK_BACK)

ARCHIVES = ("first", "second")

RECEIVE_POINTS = (
    "any moment",
    "an image is on its way in",
    "an image is kept",
    "before fsync",
    "before rename",
    "before fdatasync",
    "before sendto",
)
WORK_POINTS = (
    "any moment",
    "an exam is claimed",
    "an image is being read",
    "an image is analyzed",
    "an exam is closed",
    "results are written",
    "an object is on its way out",
    "an object is delivered",
    "before fsync",
    "before rename",
    "before fdatasync",
    "before sendto",
)
"""Where on its way an exam is when the process dies; `before x` is the system call."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong `at` so many seconds after the round began."""

    number: int
    kind: Kind
    at: float
    target: str = ""
    """The archive it happens at."""
    exam: int = 0
    """The exam of the round whose first image is sent in part, or many times."""
    point: str = ""
    seconds: float = 0.0
    """How long it lasts."""


@dataclass(frozen=True)
class ExamPlan:
    """One exam that a modality sends `at` so many seconds after the round began."""

    number: int
    at: float
    views: tuple[str, ...]
    late_view: str = ""
    """A view sent when the exam has been reported, for a second revision."""


@dataclass(frozen=True)
class Round:
    """Exams and faults; everything else follows from them and from chance in the machine."""

    seed: int
    number: int
    exams: tuple[ExamPlan, ...]
    faults: tuple[Fault, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Scale:
    """How much happens in one round."""

    exams: int = 12
    faults: int = 50
    span: float = 14.0
    """Seconds over which exams and faults are spread."""
    lock_seconds: float = 30.0


SELECTION = Scale(faults=56, span=10.0, lock_seconds=3.0)
"""What `make test` does: one round, a few faults more than it asks for."""


def make_round(seed: int, number: int, available: Sequence[Kind], scale: Scale) -> Round:
    """Round `number` of a campaign: the same arguments give the same round."""
    random = Random(f"{seed}/{number}")  # noqa: S311  a schedule, not a secret
    exams = tuple(_exam(random, n, scale.span) for n in range(scale.exams))
    kinds = _kinds(random, available, scale.faults, number)
    faults = [_fault(random, n, kind, scale) for n, kind in enumerate(kinds)]
    return Round(seed, number, exams, tuple(sorted(faults, key=lambda fault: fault.at)))


def _exam(random: Random, number: int, span: float) -> ExamPlan:
    views: tuple[str, ...] = ("RCC", "LCC")
    late = ""
    match random.randrange(6):
        case 0:
            views = ("RCC",)
        case 1:
            views, late = ("RCC",), "LCC"
    return ExamPlan(number, round(random.uniform(0, span * 0.7), 2), views, late)


def _kinds(random: Random, available: Sequence[Kind], count: int, number: int) -> list[Kind]:
    """A few of what takes time, in turn, and cheap ones up to `count`."""
    kinds: list[Kind] = []

    def take(kind: Kind, how_many: int = 1) -> None:
        kinds.extend([kind] * how_many if kind in available else [])

    take(WHOLE_NODE[number % 3])
    take(WHOLE_NODE[(number + 1) % 3])
    take(Kind.KILL_WORK, 2)
    take(Kind.KILL_RECEIVE, 5)
    take(DISKS[number % 3])
    take(DISKS[(number + 1) % 3])
    take(CLOCKS[number % len(CLOCKS)])
    take(Kind.DATABASE_LOCKED, 1 if number % 4 == 1 else 0)
    take(Kind.MODALITY_BREAKS_OFF, 4)
    take(Kind.SAME_IN_PARALLEL, 4)
    cheap = [kind for kind in ARCHIVE if kind in available]
    left = max(0, count - len(kinds))
    if cheap:
        turns = cheap * (left // len(cheap) + 1)
        kinds.extend(random.sample(turns, left))
    return kinds[:count]


def _fault(random: Random, number: int, kind: Kind, scale: Scale) -> Fault:
    at = round(random.uniform(0.3, scale.span), 2)
    exam = random.randrange(scale.exams)
    target, point, seconds = random.choice(ARCHIVES), "", 0.0
    if kind in ARCHIVE and kind is not Kind.ARCHIVE_DOWN:
        # Armed from the start, so that the first objects meet them already.
        at = 0.0
    match kind:
        case Kind.KILL_RECEIVE:
            point = random.choice(RECEIVE_POINTS)
        case Kind.KILL_WORK | Kind.KILL_SERVE | Kind.SIGTERM | Kind.POWER_CUT:
            point = random.choice(WORK_POINTS if kind is Kind.KILL_WORK else WORK_POINTS[:8])
        case Kind.ARCHIVE_DOWN:
            seconds = round(random.uniform(1.0, 5.0), 1)
        case Kind.ARCHIVE_SLOW:
            seconds = round(random.uniform(0.5, 2.0), 1)
        case Kind.SPOOL_FULL | Kind.RESULTS_FULL | Kind.DATABASE_FULL:
            seconds = round(random.uniform(2.0, 6.0), 1)
        case Kind.DATABASE_LOCKED:
            seconds = scale.lock_seconds
    return Fault(number, kind, at, target, exam, point, seconds)
