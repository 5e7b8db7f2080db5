"""The processes of the node as they tell of themselves: who runs, and on what. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

BEAT_EVERY = timedelta(seconds=10)
"""How often a process says that it is there."""

SEEN_WITHIN = timedelta(seconds=45)
"""A process that has said nothing for longer is not seen any more."""

FORGOTTEN_AFTER = timedelta(days=1)
"""The row of a process that was killed is kept for so long."""

RECEIVE, WORK, WEB = "receive", "work", "web"

ANALYSIS, DELIVERY, PROOF, HOUSEKEEPING = LANES = ("analysis", "delivery", "proof", "housekeeping")
"""What a `work` process does; all of it unless it was told otherwise."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What a process says of itself beside its being there. No patient data."""

    version: str = ""
    """Of the program."""
    settings: str = ""
    """A short hash of the settings in force: two processes with one hash have the same."""
    problem: str = ""
    """Why it cannot do its work now, in plain words; empty when it can."""
    audit_problem: str = ""
    """Why its audit messages do not get through; empty when they do or none are wanted."""
    model: str | None = None
    model_version: str | None = None
    model_sha256: str | None = None
    """Of the bundle's manifest, which holds the hash of every other file."""
    device: str | None = None
    """What the model really runs on, as "CPU, OpenVINO 2026.4"."""
    precision: str | None = None
    """The number format it really computes in."""
    chosen: str = ""
    """Why the model runs on this and on nothing else."""
    drift: str = ""
    """What has moved in the model's scores and marks, in one sentence; empty when nothing has."""
    patches: int = 0
    """Scored since the process started."""
    patch_seconds: float = 0.0
    """How long it computed on them."""
    patches_per_second: float | None = None
    """While it computed, in the last minutes; None when it had nothing to do."""
    lanes: tuple[str, ...] = ()
    """Those of `LANES` that it works in; empty for all of them."""
    broker_problem: str = ""
    """Why the message broker does not take its hints; empty when it does or there is none."""
    called: str = ""
    """How `cadnode serve` calls it, as "work 2"; empty for one that was started by itself."""

    def as_json(self) -> dict[str, Any]:
        """What is kept in the job database."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProcessFacts:
        """The facts of a row; what another version of the program wrote there is passed over."""
        known = {item.name for item in fields(cls)}
        lanes = tuple(values.get("lanes", ()))
        return cls(
            **{key: value for key, value in values.items() if key in known} | {"lanes": lanes}
        )


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process of the node."""

    id: str
    name: str
    """`receive`, `work` or `web`."""
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    """When it last said that it is there."""
    facts: ProcessFacts = field(default_factory=ProcessFacts)

    @property
    def label(self) -> str:
        """Its name, with its number where there are several."""
        return self.facts.called or self.name

    @property
    def part(self) -> tuple[str, ...]:
        """The lanes that it works in; empty when it works in all of them, or in none."""
        return self.facts.lanes if len(self.facts.lanes) < len(LANES) else ()

    def is_seen(self, now: datetime) -> bool:
        """False for one that was killed, hangs, or cannot reach the job database."""
        # Either way: a clock may have been set back.
        return abs(now - self.beat_at) <= SEEN_WITHIN


def seen(records: Sequence[ProcessRecord], name: str, now: datetime) -> Sequence[ProcessRecord]:
    """The processes called `name` that are there at `now`."""
    return [record for record in records if record.name == name and record.is_seen(now)]


def doing(records: Sequence[ProcessRecord], lane: str, now: datetime) -> Sequence[ProcessRecord]:
    """The `work` processes that are there at `now` and work in this lane."""
    return [r for r in seen(records, WORK, now) if not r.facts.lanes or lane in r.facts.lanes]
