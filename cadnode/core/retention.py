"""Which exams' files go, given their age and the room they take: a pure decision.

Only exams that may go are ever asked about; the job database decides that (`ExamStore.purgeable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

RECEIVED_AT_ONCE = 64 << 20
"""Bytes; a receiver asks for room in steps of this size, so less than that is no room."""


@dataclass(frozen=True, slots=True)
class Purgeable:
    """A finished exam whose files nobody needs any more."""

    exam_id: int
    study_instance_uid: str
    finished_at: datetime
    size: int
    """Bytes of its files, as they were recorded."""


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """What the site decided about its disk."""

    max_age: timedelta = timedelta(days=30)
    max_bytes: int = 0
    """That the spool may hold; 0 for no limit."""
    high_water: float = 0.95
    """Share of the disk above which exams are purged before their time ..."""
    low_water: float = 0.90
    """... until it is filled no further than this."""
    reserve_bytes: int = 0
    """Kept free for the database and the logs; receiving stops below it."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """How full the disk and the spool are, in bytes."""

    total: int
    free: int
    spool: int = 0


def is_above_high_water(disk: DiskState, rules: RetentionRules) -> bool:
    """True when exams are to be purged before their time: the disk is filled beyond the mark, or
    receiving is about to stop."""
    return disk.free < _least_free(disk, rules)


def bytes_to_free(disk: DiskState, rules: RetentionRules, *, draining: bool) -> int:
    """How many bytes have to go whatever the age; `draining` from the moment the disk was above
    high water until it is below low water."""
    wanted = 0
    if rules.max_bytes:
        wanted = disk.spool - rules.max_bytes
    if draining or is_above_high_water(disk, rules):
        gap = (rules.high_water - rules.low_water) * disk.total
        wanted = max(wanted, round(_least_free(disk, rules) + gap) - disk.free)
    return max(0, wanted)


def choose(
    candidates: Sequence[Purgeable], *, wanted: int, rules: RetentionRules, now: datetime
) -> list[Purgeable]:
    """Those of `candidates` to purge, the oldest first: all that are older than `max_age`, and as
    many more as free `wanted` bytes."""
    chosen, freed = [], 0
    for candidate in sorted(candidates, key=lambda c: (c.finished_at, c.exam_id)):
        if now - candidate.finished_at <= rules.max_age and freed >= wanted:
            break
        chosen.append(candidate)
        freed += candidate.size
    return chosen


def _least_free(disk: DiskState, rules: RetentionRules) -> float:
    return max(
        (1 - rules.high_water) * disk.total,
        rules.reserve_bytes + RECEIVED_AT_ONCE if rules.reserve_bytes else 0,
    )
