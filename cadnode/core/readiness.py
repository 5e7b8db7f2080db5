"""Can the node do its work? For load balancers and monitoring: pure rules over what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cadnode.core.breaker import LineState, LineStatus
from cadnode.core.processes import (
    ANALYSIS,
    DELIVERY,
    RECEIVE,
    WORK,
    ProcessRecord,
    doing,
    seen,
)

NO_DATABASE = "the job database does not answer"


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing the node is there for."""

    name: str
    """`receive`, `analyze` or `deliver`."""
    ready: bool
    reason: str
    """Why not; or what is worth knowing although it can."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the node can do at this moment."""

    abilities: tuple[Ability, ...]

    @property
    def ready(self) -> bool:
        """True when it can do everything."""
        return all(ability.ready for ability in self.abilities)


def without_database() -> Readiness:
    """Nothing works without the job database."""
    names = ("receive", "analyze", "deliver")
    return Readiness(tuple(Ability(name, False, NO_DATABASE) for name in names))


def readiness(
    *,
    processes: Sequence[ProcessRecord],
    lines: Mapping[str, LineStatus],
    has_room: bool,
    now: datetime,
) -> Readiness:
    """From the processes that are alive, the lines to the enabled destinations by name, and
    whether another image fits on the disk."""
    return Readiness(
        (
            _receive(processes, has_room, now),
            _analyze(processes, now),
            _deliver(processes, lines, now),
        )
    )


def _receive(processes: Sequence[ProcessRecord], has_room: bool, now: datetime) -> Ability:
    missing = _missing(processes, RECEIVE, now)
    if missing:
        return Ability("receive", False, missing)
    if not has_room:
        return Ability("receive", False, "the disk is full: senders get 0xA700")
    return Ability("receive", True, "")


def _analyze(processes: Sequence[ProcessRecord], now: datetime) -> Ability:
    workers = doing(processes, ANALYSIS, now)
    if not workers:
        return Ability("analyze", False, _nobody(processes, "analyzes", now))
    problems = [record.facts.problem for record in workers if record.facts.problem]
    if len(problems) == len(workers):
        return Ability("analyze", False, problems[0])
    loaded = [record.facts for record in workers if record.facts.model]
    if not loaded:
        return Ability("analyze", False, "the model is being loaded")
    return Ability("analyze", True, f"{loaded[0].model} {loaded[0].model_version}")


def _deliver(
    processes: Sequence[ProcessRecord], lines: Mapping[str, LineStatus], now: datetime
) -> Ability:
    if not doing(processes, DELIVERY, now):
        return Ability("deliver", False, _nobody(processes, "delivers", now))
    if not lines:
        return Ability("deliver", True, "no destination is set up: results stay on this disk")
    down = [name for name, line in lines.items() if line.state is LineState.OPEN]
    reason = f"no answer from {', '.join(down)}" if down else ""
    return Ability("deliver", len(down) < len(lines), reason)


def _missing(processes: Sequence[ProcessRecord], name: str, now: datetime) -> str:
    return "" if seen(processes, name, now) else f"`cadnode {name}` is not seen"


def _nobody(processes: Sequence[ProcessRecord], does: str, now: datetime) -> str:
    return _missing(processes, WORK, now) or f"no process that {does} is seen"
