"""What is due now, as hints for workers: read for every exam that has changed, and by the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select

from cadnode.core.hints import Hint, Line
from cadnode.core.jobs import ANALYSIS_LANE, Priority
from cadnode.core.processes import ANALYSIS, DELIVERY
from cadnode.storage.database import StorePart
from cadnode.storage.rows import free_delivery, lease_is_over
from cadnode.storage.tables import deliveries, jobs


class HintRecords(StorePart):
    """The read side for hints. Every call may raise DatabaseUnavailable."""

    def of_exam(self, exam_id: int, *, now: datetime) -> Sequence[Hint]:
        """What is due of one exam and held by nobody."""
        with self._database.read() as connection:
            sent = connection.execute(
                select(deliveries.c.destination, deliveries.c.priority)
                .where(deliveries.c.job_id == exam_id, _due_delivery(now))
                .distinct()
            ).all()
            read = _analyses(connection, and_(jobs.c.id == exam_id, _due_exam(now)), limit=1)
        return [
            *read,
            *(
                Hint(Line(DELIVERY, row.destination), exam_id, Priority(row.priority))
                for row in sent
            ),
        ]

    def of_study(self, study_instance_uid: str, *, now: datetime) -> Sequence[Hint]:
        """What is due of a study in the analysis lane and held by nobody."""
        which = and_(jobs.c.study_instance_uid == study_instance_uid, _due_exam(now))
        with self._database.read() as connection:
            return _analyses(connection, which, limit=10)

    def due(self, destinations: Sequence[str], *, now: datetime, limit: int) -> Sequence[Hint]:
        """The first `limit` exams due in the analysis lane, those of a higher priority first, and
        the first one due at each destination."""
        with self._database.read() as connection:
            found = _analyses(connection, _due_exam(now), limit=limit)
            for name in destinations:
                first = _first_delivery(connection, name, now)
                if first is not None:
                    found.append(first)
        return found


def _due_exam(now: datetime) -> ColumnElement[bool]:
    return and_(
        jobs.c.status.in_(sorted(ANALYSIS_LANE)),
        jobs.c.due_at <= now,
        lease_is_over(jobs.c.lease_owner, jobs.c.lease_until, now),
    )


def _due_delivery(now: datetime) -> ColumnElement[bool]:
    return and_(deliveries.c.due_at <= now, free_delivery(now))


def _first_delivery(connection: Connection, destination: str, now: datetime) -> Hint | None:
    # One after the other, for then an index has what is due next at its beginning.
    for priority in sorted(Priority, reverse=True):
        exam_id = connection.execute(
            select(deliveries.c.job_id)
            .where(
                deliveries.c.destination == destination,
                deliveries.c.priority == priority,
                _due_delivery(now),
            )
            .order_by(deliveries.c.due_at)
            .limit(1)
        ).scalar()
        if exam_id is not None:
            return Hint(Line(DELIVERY, destination), exam_id, priority)
    return None


def _analyses(connection: Connection, which: ColumnElement[bool], *, limit: int) -> list[Hint]:
    rows = connection.execute(
        select(jobs.c.id, jobs.c.priority)
        .where(which)
        .order_by(jobs.c.priority.desc(), jobs.c.due_at, jobs.c.id)
        .limit(limit)
    )
    return [Hint(Line(ANALYSIS), row.id, Priority(row.priority)) for row in rows]
