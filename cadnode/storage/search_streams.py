"""The orders in which indexes give exams to a search, and what each leaves to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    and_,
    exists,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from cadnode.core.jobs import ExamStatus
from cadnode.core.search import WAITING, ExamSearch, Order
from cadnode.storage.tables import UtcDateTime, exam_identifiers, images, jobs, results

Place = tuple[datetime, int]
"""When the exam came, and its number: no two exams have the same."""

Rows = Select[Any] | CompoundSelect[Any]

_BEYOND_EVERY_NUMBER = 2**62
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Direction:
    """Where a page begins, and which way it goes from there."""

    place: Place | None
    ascending: bool

    def since(self, at: datetime) -> Direction:
        """The same way, from the first exam of that moment on."""
        if self.place is not None and self.place[0] == at:
            return self
        return Direction((at, -1 if self.ascending else _BEYOND_EVERY_NUMBER), self.ascending)

    def beyond(
        self, at: ColumnElement[datetime], exam_id: ColumnElement[int]
    ) -> Sequence[ColumnElement[bool]]:
        """True for what comes after the place."""
        if self.place is None:
            return ()
        here = tuple_(literal(self.place[0], UtcDateTime), literal(self.place[1]))
        there = tuple_(at, exam_id)
        return (there > here if self.ascending else there < here,)


@dataclass(frozen=True, slots=True)
class Stream:
    """Exams as (`at`, `id`), and the conditions that have still to be looked at."""

    rows: Rows
    key: Sequence[ColumnElement[Any]] = ()
    """What its index orders the rows by, before their time; read that way round, the first rows are
    mostly the ones that are wanted, and few have to be put before others."""
    of_jobs: Sequence[ColumnElement[bool]] = ()
    of_identifiers: Sequence[ColumnElement[bool]] = ()

    @property
    def fits(self) -> bool:
        """True when nothing is left to be looked at."""
        return not (self.of_jobs or self.of_identifiers)

    def fitting(self, rows: Subquery) -> Select[Any]:
        """Those of some of its rows for which the rest holds too.

        By EXISTS, which is asked row by row: of a join the database might begin at the other end.
        """
        asked = select(rows.c.at, rows.c.id)
        if self.of_jobs:
            asked = asked.where(exists().where(jobs.c.id == rows.c.id, *self.of_jobs))
        if self.of_identifiers:
            known = exam_identifiers.c.job_id == rows.c.id
            asked = asked.where(exists().where(known, *self.of_identifiers))
        return asked


def in_order(rows: Rows, ascending: bool, *first: ColumnElement[Any]) -> Rows:
    """In order of time, after what comes `first`."""
    order = (*first, *(rows.selected_columns[name] for name in ("at", "id")))
    return rows.order_by(*(order if ascending else (column.desc() for column in order)))


def by_status_and_sender(search: ExamSearch, direction: Direction) -> Stream:
    """Straight from the indexes of `jobs`."""
    statuses = _statuses(search)
    common = [
        *_received(search, jobs.c.created_at),
        *direction.beyond(jobs.c.created_at, jobs.c.id),
    ]
    if search.calling_ae:
        common.append(jobs.c.calling_ae == search.calling_ae)
        statuses = statuses or frozenset(ExamStatus)
    arms = [[jobs.c.status == status, *common] for status in sorted(statuses)] or [common]
    columns = select(jobs.c.created_at.label("at"), jobs.c.id.label("id"))
    selects = [columns.where(*arm) for arm in arms]
    rows: Rows = selects[0] if len(selects) == 1 else union_all(*selects)
    return Stream(rows, of_jobs=_error(search), of_identifiers=_identifiers(search))


def by_identifier(search: ExamSearch, direction: Direction) -> Stream:
    """Under one accession number, or one Patient ID."""
    key, other = _patient(search), list[ColumnElement[bool]]()
    if search.accession_number is not None:
        other = [] if search.patient_id is None else [key]
        key = exam_identifiers.c.accession_number == search.accession_number
    return Stream(
        _identified(search, direction, [key]),
        of_jobs=_job_conditions(search),
        of_identifiers=[*other, *_studied(search)],
    )


def by_beginning_or_day(search: ExamSearch, direction: Direction) -> Stream:
    """Whose Patient ID begins so, or whose Study Date lies between two days: in no order of time
    until they are sorted."""
    found, other, column = _studied(search), [], exam_identifiers.c.study_date
    if search.by_beginning:
        found, other, column = [_patient(search)], found, exam_identifiers.c.patient_id
    return Stream(
        _identified(search, direction, found),
        key=(column,),
        of_jobs=_job_conditions(search),
        of_identifiers=other,
    )


def by_number_or_uid(search: ExamSearch, direction: Direction) -> Stream:
    """The exam of that number, or every revision of the study that the UID belongs to."""
    named: list[ColumnElement[bool]] = []
    if search.exam_id is not None:
        named.append(jobs.c.id == search.exam_id)
    if search.uid is not None:
        named.append(_of_uid(search.uid))
    rows = select(jobs.c.created_at.label("at"), jobs.c.id.label("id")).where(
        *named, *direction.beyond(jobs.c.created_at, jobs.c.id)
    )
    return Stream(
        rows,
        of_jobs=[*_received(search, jobs.c.created_at), *_job_conditions(search)],
        of_identifiers=_identifiers(search),
    )


def _of_uid(uid: str) -> ColumnElement[bool]:
    studies = (
        select(jobs.c.study_instance_uid).where(
            jobs.c.id.in_(select(table.c.job_id).where(column == uid))
        )
        for table in (images, results)
        for column in (table.c.sop_instance_uid, table.c.series_instance_uid)
    )
    return or_(jobs.c.study_instance_uid == uid, jobs.c.study_instance_uid.in_(union_all(*studies)))


def _identified(
    search: ExamSearch, direction: Direction, key: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    at, exam_id = exam_identifiers.c.exam_created_at, exam_identifiers.c.job_id
    return select(at.label("at"), exam_id.label("id")).where(
        *key, *_received(search, at), *direction.beyond(at, exam_id)
    )


def _statuses(search: ExamSearch) -> frozenset[ExamStatus]:
    if search.statuses:
        return search.statuses
    waits = search.order is Order.WAITING_LONGEST or search.error_code is not None
    return WAITING if waits else frozenset()


def _job_conditions(search: ExamSearch) -> list[ColumnElement[bool]]:
    statuses = _statuses(search)
    found = _error(search)
    if statuses:
        found.append(jobs.c.status.in_(sorted(statuses)))
    if search.calling_ae:
        found.append(jobs.c.calling_ae == search.calling_ae)
    return found


def _error(search: ExamSearch) -> list[ColumnElement[bool]]:
    return [jobs.c.error_code == search.error_code] if search.error_code else []


def _identifiers(search: ExamSearch) -> list[ColumnElement[bool]]:
    found = _studied(search)
    if search.patient_id is not None:
        found.append(_patient(search))
    if search.accession_number is not None:
        found.append(exam_identifiers.c.accession_number == search.accession_number)
    return found


def _patient(search: ExamSearch) -> ColumnElement[bool]:
    wanted, known = search.patient_id or "", exam_identifiers.c.patient_id
    if not search.by_beginning:
        return known == wanted
    return and_(known >= wanted, known < wanted + _LAST_CHARACTER)


def _studied(search: ExamSearch) -> list[ColumnElement[bool]]:
    day, found = exam_identifiers.c.study_date, list[ColumnElement[bool]]()
    if search.studied_from is not None:
        found.append(day >= search.studied_from)
    if search.studied_to is not None:
        found.append(day <= search.studied_to)
    return found


def _received(search: ExamSearch, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if search.received_from is not None:
        found.append(at >= search.received_from)
    if search.received_before is not None:
        found.append(at < search.received_before)
    return found
