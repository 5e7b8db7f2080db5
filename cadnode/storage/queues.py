"""How long the queues are, asked every few seconds for ever: one look at an index for each number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from cadnode.core.jobs import ANALYSIS_LANE, ExamStatus
from cadnode.storage.database import StorePart
from cadnode.storage.tables import jobs

UNFINISHED = (
    ExamStatus.RECEIVING,
    ExamStatus.ANALYZED,
    ExamStatus.REPORTED,
    ExamStatus.FAILED,
)
_LANES = {"analysis": ANALYSIS_LANE, "delivery": frozenset({ExamStatus.REPORTED})}


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits."""

    exams: Mapping[ExamStatus, int]
    """Those in each of `UNFINISHED`."""
    oldest: Mapping[str, datetime | None]
    """When the first image came of the oldest exam of each lane; None when none waits."""


class QueueRecords(StorePart):
    """The read side of the queues. Every call may raise DatabaseUnavailable."""

    def queues(self) -> Queues:
        """As they stand."""
        with self._database.read() as connection:
            exams = {
                status: connection.execute(
                    select(func.count()).select_from(jobs).where(jobs.c.status == status)
                ).scalar_one()
                for status in UNFINISHED
            }
            first = {
                status: connection.execute(
                    select(jobs.c.created_at)
                    .where(jobs.c.status == status)
                    .order_by(jobs.c.created_at, jobs.c.id)
                    .limit(1)
                ).scalar_one_or_none()
                for status in UNFINISHED
            }
        oldest = {
            lane: min((at for status in statuses if (at := first[status])), default=None)
            for lane, statuses in _LANES.items()
        }
        return Queues(exams, oldest)
