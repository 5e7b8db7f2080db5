"""What a clock that was set back leaves behind: times that nobody would reach for an hour.

Due times and ends of leases are times of day. When the clock is set back, by a person, by NTP or
by a machine that starts without a battery, they lie further ahead than the node ever sets them:
that is how they are found, with no memory of what the clock said before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, and_, select, update

from cadnode.core.jobs import ANALYSIS_LANE, DeliveryStatus, ExamStatus
from cadnode.core.notices import MESSAGE_LEASE
from cadnode.storage.database import Database
from cadnode.storage.row_locks import in_order
from cadnode.storage.tables import commitment_requests, deliveries, jobs, notice_messages

SLACK = timedelta(seconds=5)
"""The clocks of several machines on one database may differ by so much."""


@dataclass(frozen=True, slots=True)
class Horizons:
    """How far ahead the node itself ever sets a time."""

    exam: timedelta
    delivery: timedelta
    proof: timedelta
    lease: timedelta
    message: timedelta


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows whose time lies beyond its horizon, and what it is set to."""

    column: Column[datetime]
    beyond: ColumnElement[bool]
    to: datetime


def bring_forward(database: Database, horizons: Horizons, *, now: datetime) -> int:
    """Make due what lies beyond its horizon, and let leases end a lease from now; how many rows.

    Whoever lives renews its lease, and the end of a dead one is no longer an hour away.
    """
    sorts = _sorts(horizons, now)
    with database.read() as connection:
        if not any(
            connection.execute(select(rows.column).where(rows.beyond).limit(1)).first()
            for rows in sorts
        ):
            return 0
    return sum(_bring(database, rows) for rows in sorts)


def _bring(database: Database, rows: _Rows) -> int:
    table = rows.column.table
    with database.write() as connection:
        far = in_order(table, rows.beyond)
        changed = connection.execute(
            update(table)
            .where(table.c.id.in_(select(far.c.id)))
            .values({rows.column: rows.to})
            .returning(table.c.id)
        )
        return len(changed.all())


def _sorts(horizons: Horizons, now: datetime) -> Sequence[_Rows]:
    def due(column: Column[datetime], among: ColumnElement[bool], longest: timedelta) -> _Rows:
        return _Rows(column, and_(among, column > now + longest + SLACK), now)

    def lease(column: Column[datetime], longest: timedelta = horizons.lease) -> _Rows:
        ends = now + longest
        return _Rows(column, column > ends + SLACK, ends)

    in_analysis = jobs.c.status.in_(sorted(ANALYSIS_LANE))
    receiving = jobs.c.status == ExamStatus.RECEIVING
    waiting = deliveries.c.status == DeliveryStatus.PENDING
    proving = deliveries.c.proof_due_at.is_not(None)
    return [
        due(jobs.c.due_at, in_analysis, horizons.exam),
        # The quiet time counts from here.
        due(jobs.c.last_image_at, receiving, timedelta(0)),
        due(deliveries.c.due_at, waiting, horizons.delivery),
        due(deliveries.c.proof_due_at, proving, horizons.proof),
        due(
            commitment_requests.c.due_at,
            commitment_requests.c.answered_at.is_(None),
            horizons.delivery,
        ),
        due(notice_messages.c.due_at, notice_messages.c.sent_at.is_(None), horizons.message),
        lease(jobs.c.lease_until),
        lease(deliveries.c.lease_until),
        lease(commitment_requests.c.lease_until),
        lease(notice_messages.c.lease_until, MESSAGE_LEASE),
    ]
