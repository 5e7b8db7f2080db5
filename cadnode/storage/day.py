"""What the page of the day asks the job database: quick however many exams there are.

Every question is answered from an index, by what it counts and not by what is kept: the exams of a
day or a week, those that wait, those that failed. `tests/bench` measures it with a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Select,
    column,
    func,
    literal_column,
    select,
    union_all,
)

from cadnode.core.jobs import ANALYSIS_LANE, ExamStatus
from cadnode.core.node_status import (
    DayCounts,
    Durations,
    FailedExams,
    Hour,
    Influx,
    OldestExam,
    by_code,
)
from cadnode.storage.database import StorePart
from cadnode.storage.dialect import seconds_between
from cadnode.storage.rows import AnyRow
from cadnode.storage.tables import images, jobs

WEEK = timedelta(days=7)

NEWEST_IMAGES = 5_000
"""The rate of what comes is that of these at most."""

NEWEST_EXAMS = 5_000
"""The times of these at most are put in order; more would say nothing more."""

LEAST_SPAN = timedelta(days=1)
"""A shorter time says nothing about a day, unless it brought that many images."""

_UNDER_WAY = (ExamStatus.RECEIVING, ExamStatus.ANALYZED, ExamStatus.REPORTED)


class DayRecords(StorePart):
    """The read side of the day. Every call may raise DatabaseUnavailable."""

    def counts(self, hours: Sequence[datetime], *, now: datetime) -> DayCounts:
        """The day whose hours begin at `hours`, the first one first, as it stands at `now`."""
        with self._database.read() as connection:
            begun = _by_hour(connection, [*hours, now])
            under_way = _under_way(connection)
            running = _running(connection, now)
            lane = sum(under_way.get(status, 0) for status in ANALYSIS_LANE)
            return DayCounts(
                hours=tuple(Hour(at, exams) for at, exams in zip(hours, begun, strict=True)),
                today=sum(begun),
                waiting=max(0, lane - running),
                running=running,
                delivering=under_way.get(ExamStatus.REPORTED, 0),
                failed=tuple(_failed(connection)),
                oldest=_oldest(connection),
                took_today=_took(connection, hours[0]),
                took_week=_took(connection, now - WEEK),
            )

    def newest_exams(self, calling_aes: Iterable[str]) -> Mapping[str, datetime]:
        """When the newest exam of each sender began; only those that ever sent one."""
        found = {}
        with self._database.read() as connection:
            for calling_ae in calling_aes:
                newest = [
                    select(func.max(jobs.c.created_at).label("at")).where(
                        jobs.c.calling_ae == calling_ae, jobs.c.status == status
                    )
                    for status in ExamStatus
                ]
                at = _of_all(connection, func.max, newest)
                if at is not None:
                    found[calling_ae] = at
        return found

    def influx(self, *, now: datetime) -> Influx:
        """How much has been received in the last days."""
        newest = (
            select(images.c.size, images.c.received_at)
            .order_by(images.c.id.desc())
            .limit(NEWEST_IMAGES)
            .subquery()
        )
        recent = select(
            func.count(),
            func.coalesce(func.sum(newest.c.size), 0),
            func.min(newest.c.received_at, type_=images.c.received_at.type),
        ).where(newest.c.received_at > now - WEEK)
        first = select(images.c.received_at).order_by(images.c.id).limit(1)
        with self._database.read() as connection:
            count, size, since = connection.execute(recent).one()
            began = connection.execute(first).scalar_one_or_none()
            kept = _oldest_kept(connection)
        if began is None or since is None:
            return Influx(0, 0.0, kept)
        span = now - since if count == NEWEST_IMAGES else min(WEEK, now - began)
        if count < NEWEST_IMAGES and span < LEAST_SPAN:
            return Influx(0, 0.0, kept)
        return Influx(int(size), max(1.0, span.total_seconds()), kept)


def _by_hour(connection: Connection, edges: Sequence[datetime]) -> list[int]:
    created = jobs.c.created_at
    counts = [
        select(func.count())
        .select_from(jobs)
        .where(created >= begin, created < end)
        .scalar_subquery()
        .label(f"hour_{place}")
        for place, (begin, end) in enumerate(pairwise(edges))
    ]
    return [int(count) for count in connection.execute(select(*counts)).one()]


def _under_way(connection: Connection) -> dict[str, int]:
    counts = (
        select(jobs.c.status, func.count())
        .where(jobs.c.status.in_(_UNDER_WAY))
        .group_by(jobs.c.status)
    )
    return {row[0]: row[1] for row in connection.execute(counts)}


def _running(connection: Connection, now: datetime) -> int:
    held = (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.lease_until > now, jobs.c.status.in_(ANALYSIS_LANE))
    )
    return int(connection.execute(held).scalar_one())


def _failed(connection: Connection) -> Sequence[FailedExams]:
    counts = (
        select(jobs.c.error_code, func.count())
        .where(jobs.c.status == ExamStatus.FAILED)
        .group_by(jobs.c.error_code)
    )
    return by_code({row[0]: row[1] for row in connection.execute(counts)})


def _oldest(connection: Connection) -> OldestExam | None:
    found: list[AnyRow] = []
    for status in _UNDER_WAY:
        first = (
            select(jobs.c.id, jobs.c.status, jobs.c.created_at)
            .where(jobs.c.status == status)
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(1)
        )
        found.extend(connection.execute(first))
    if not found:
        return None
    row = min(found, key=lambda row: (row.created_at, row.id))
    return OldestExam(row.id, row.status, row.created_at)


def _took(connection: Connection, since: datetime) -> Durations:
    """Of the exams delivered since; one that a person had read again had no image of its own."""
    seconds = literal_column(
        seconds_between(connection.dialect.name, "last_image_at", "delivered_at"), Float
    )
    counted = (jobs.c.delivered_at >= since, jobs.c.image_count > 0)
    took = (
        select(seconds.label("seconds"))
        .select_from(jobs)
        .where(*counted)
        .order_by(jobs.c.delivered_at.desc())
        .limit(NEWEST_EXAMS)
        .subquery()
    )
    ranked = select(
        took.c.seconds,
        func.row_number().over(order_by=took.c.seconds).label("place"),
        func.count().over().label("exams"),
    ).subquery()
    # The nearest rank: the smallest that so many percent do not exceed.
    places = {percent: (ranked.c.exams * percent + 99) // 100 for percent in (50, 95)}
    rows = connection.execute(
        select(ranked).where(ranked.c.place.in_(places.values())).order_by(ranked.c.place)
    ).all()
    if not rows:
        return Durations(0, None, None)
    exams = connection.execute(select(func.count()).select_from(jobs).where(*counted)).scalar_one()
    return Durations(exams, _shown(rows[0].seconds), _shown(rows[-1].seconds))


def _shown(seconds: float) -> float:
    # A clock that was set back between the two makes less than nothing.
    return round(max(0.0, float(seconds)), 3)


def _oldest_kept(connection: Connection) -> datetime | None:
    firsts = [
        select(func.min(jobs.c.created_at).label("at")).where(jobs.c.status == status)
        for status in ExamStatus
        if status is not ExamStatus.PURGED
    ]
    return _of_all(connection, func.min, firsts)


def _of_all(
    connection: Connection, choose: Callable[..., Any], parts: Sequence[Select[Any]]
) -> datetime | None:
    """The least or the greatest time of several questions, each of which looks into an index."""
    time = jobs.c.created_at.type
    together = select(choose(column("at", time), type_=time)).select_from(
        union_all(*parts).subquery()
    )
    at: datetime | None = connection.execute(together).scalar_one()
    return at
