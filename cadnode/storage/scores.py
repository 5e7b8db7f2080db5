"""What a model has said lately: its scores and marks, counted for the watch over drift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, select

from cadnode.core.drift import MOST_MARKS, WeekCounts
from cadnode.storage.database import StorePart
from cadnode.storage.tables import findings, images, jobs

WEEK = timedelta(days=7)


class ScoreRecords(StorePart):
    """The read side of scores. Every call may raise DatabaseUnavailable.

    An exam is a study here, whatever revisions it has, and it belongs to the time at which its
    images were received; what an earlier model read counts for that model alone. Each week is
    read from one index and the findings of its own images, so that a long history costs nothing.
    """

    def weeks(
        self,
        model: str,
        mondays: Sequence[date],
        *,
        edges: Sequence[float],
        operating_point: int,
    ) -> tuple[WeekCounts, ...]:
        """The counts of each ISO week (UTC), in the order asked for."""
        with self._database.read() as connection:
            return tuple(
                _counts(connection, model, monday, WEEK, edges, operating_point)
                for monday in mondays
            )

    def span(
        self,
        model: str,
        first: date,
        last: date,
        *,
        edges: Sequence[float],
        operating_point: int,
    ) -> WeekCounts:
        """The counts from the day `first` to the day `last`, both included, as if of one week."""
        length = last - first + timedelta(days=1)
        with self._database.read() as connection:
            return _counts(connection, model, first, length, edges, operating_point)

    def top_scores(self, model: str, first: date, last: date) -> NDArray[np.float64]:
        """The highest patch score of each image received from `first` to `last`."""
        length = last - first + timedelta(days=1)
        statement = select(images.c.top_score).where(_received(model, first, length))
        with self._database.read() as connection:
            return np.fromiter(connection.execute(statement).scalars(), np.float64)

    def received_span(self, model: str) -> tuple[date, date] | None:
        """The days on which the first and the last image that it read were received."""
        mine = and_(images.c.model == model, images.c.top_score.is_not(None))
        at = images.c.received_at
        with self._database.read() as connection:
            first, last = (
                connection.execute(select(at).where(mine).order_by(order).limit(1)).scalar()
                for order in (at.asc(), at.desc())
            )
        return None if first is None or last is None else (first.date(), last.date())


def _counts(
    connection: Connection,
    model: str,
    first: date,
    length: timedelta,
    edges: Sequence[float],
    operating_point: int,
) -> WeekCounts:
    received = _received(model, first, length)
    by_bin = _by_bin(connection, received, edges)
    by_marks = _by_marks(connection, received, operating_point)
    return WeekCounts(
        monday=first,
        exams=sum(by_marks),
        images=sum(by_bin),
        score_counts=by_bin,
        marks_counts=by_marks,
    )


def _received(model: str, first: date, length: timedelta) -> ColumnElement[bool]:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return and_(
        images.c.model == model,
        images.c.received_at >= start,
        images.c.received_at < start + length,
        images.c.top_score.is_not(None),
    )


def _by_bin(
    connection: Connection, received: ColumnElement[bool], edges: Sequence[float]
) -> tuple[int, ...]:
    last = literal(len(edges))
    below = [(images.c.top_score < edge, literal(index)) for index, edge in enumerate(edges)]
    bin_ = case(*below, else_=last) if below else last
    found = _tally(connection, select(bin_.label("value")).where(received))
    return tuple(found.get(index, 0) for index in range(len(edges) + 1))


def _by_marks(
    connection: Connection, received: ColumnElement[bool], operating_point: int
) -> tuple[int, ...]:
    shown = and_(findings.c.image_id == images.c.id, findings.c.operating_point <= operating_point)
    of_exam = (
        select(func.count(findings.c.id).label("marks"))
        .select_from(images)
        .join(jobs, jobs.c.id == images.c.job_id)
        .outerjoin(findings, shown)
        .where(received)
        .group_by(jobs.c.study_instance_uid)
        .subquery()
    )
    capped = case((of_exam.c.marks > MOST_MARKS, MOST_MARKS), else_=of_exam.c.marks)
    found = _tally(connection, select(capped.label("value")))
    return tuple(found.get(marks, 0) for marks in range(MOST_MARKS + 1))


def _tally(connection: Connection, values: Select[tuple[int]]) -> dict[int, int]:
    """How often each `value` comes."""
    value = values.subquery().c.value
    statement = select(value, func.count()).group_by(value)
    return {row[0]: row[1] for row in connection.execute(statement)}
