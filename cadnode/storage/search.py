"""Exams by what a person knows of them, one page at a time, in a bounded time.

A page is found in the order of an index and begins where the one before ended, never by counting
rows from the start. What no index orders is looked for among a bounded number of exams; the page
then says how far it looked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Subquery, func, select

from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.search import (
    MOST_COUNTED,
    Count,
    Cursor,
    ExamSearch,
    FoundExam,
    Guess,
    Order,
    SearchPage,
)
from cadnode.storage.database import Database
from cadnode.storage.reading import exam_summary
from cadnode.storage.search_streams import (
    Direction,
    Place,
    Rows,
    Stream,
    by_beginning_or_day,
    by_identifier,
    by_number_or_uid,
    by_status_and_sender,
    in_order,
)
from cadnode.storage.tables import exam_identifiers, jobs, overview

SHORT_WALK = 1_000
LONG_WALK = 5_000
"""Exams that are looked at one by one for a page, at first and at most."""

MOST_SORTED = 20_000
MOST_JUDGED = 5_000
"""Exams of one beginning, or of some days, that are sorted, and looked at one by one before."""

EVERY = 1_000_000_000
"""A limit that keeps the database from leaving out the order of what it limits."""

_STREAMED = 500

_IDENTIFIERS = ("patient_id", "accession_number", "study_date")


@dataclass(frozen=True, slots=True)
class _Found:
    places: Sequence[Place]
    """In the direction of the search."""
    looked_until: Place | None = None
    """Where it gave up, when there was more to look at."""


class SearchRecords:
    """The search over the job database. Every call may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, search: ExamSearch, *, limit: int, cursor: Cursor | None = None) -> SearchPage:
        """At most `limit` exams that fit, in order, from `cursor` on."""
        backwards = cursor is not None and cursor.backwards
        ascending = (search.order is Order.WAITING_LONGEST) != backwards
        place = None if cursor is None else (cursor.at, cursor.exam_id)
        with self._database.read() as connection:
            found = _page(connection, search, Direction(place, ascending), limit + 1)
            places = found.places[:limit]
            exams = _lines(connection, [exam_id for _, exam_id in places])
        ahead = places[-1] if len(found.places) > limit else found.looked_until
        behind = place if not places else places[0]
        ends = (
            None if ahead is None else Cursor(*ahead, backwards=backwards),
            None if place is None or behind is None else Cursor(*behind, backwards=not backwards),
        )
        return SearchPage(
            exams=tuple(reversed(exams) if backwards else exams),
            later=ends[1] if backwards else ends[0],
            earlier=ends[0] if backwards else ends[1],
            looked_until=None if found.looked_until is None else found.looked_until[0],
        )

    def count(self, search: ExamSearch) -> Count:
        """How many exams fit, as far as that is quickly said."""
        stream = _stream_to_count(search)
        most = MOST_COUNTED if stream.fits else MOST_JUDGED
        looked_at = stream.rows.limit(most + 1).subquery()
        with self._database.read() as connection:
            seen = _how_many(connection, looked_at)
            found = (
                seen if stream.fits else _how_many(connection, stream.fitting(looked_at).subquery())
            )
        return Count(min(found, MOST_COUNTED), exact=seen <= most and found <= MOST_COUNTED)

    def first_that_finds(self, guesses: Sequence[Guess]) -> Guess | None:
        """The first of `guesses` that finds an exam."""
        return next((one for one in guesses if self.find(one.search, limit=1).exams), None)

    def stream(self, search: ExamSearch) -> Iterator[FoundExam]:
        """Every exam that fits, in order, however many: read page by page, so an exam that moves
        meanwhile is told as it is when its page is read."""
        page = self.find(search, limit=_STREAMED)
        yield from page.exams
        while page.later is not None:
            page = self.find(search, limit=_STREAMED, cursor=page.later)
            yield from page.exams

    def others_of_accession(self, exam_id: int, *, limit: int) -> Sequence[FoundExam]:
        """Exams of other studies under the accession number of this one, the newest first."""
        known = select(jobs.c.study_instance_uid, exam_identifiers.c.accession_number).join(
            exam_identifiers, exam_identifiers.c.job_id == jobs.c.id
        )
        with self._database.read() as connection:
            own = connection.execute(known.where(jobs.c.id == exam_id)).one_or_none()
            if own is None or own.accession_number is None:
                return ()
            others = (
                select(jobs.c.id)
                .join(exam_identifiers, exam_identifiers.c.job_id == jobs.c.id)
                .where(
                    exam_identifiers.c.accession_number == own.accession_number,
                    jobs.c.study_instance_uid != own.study_instance_uid,
                )
                .order_by(exam_identifiers.c.exam_created_at.desc(), jobs.c.id.desc())
                .limit(limit)
            )
            return _lines(connection, connection.execute(others).scalars().all())

    def identifiers(self, exam_id: int) -> ExamIdentifiers:
        """What is known of one exam; empty where nothing is."""
        statement = select(exam_identifiers).where(exam_identifiers.c.job_id == exam_id)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            return ExamIdentifiers()
        return ExamIdentifiers(row.patient_id, row.accession_number, row.study_date)

    def senders(self) -> Sequence[str]:
        """Every AE title that an exam came from, without reading every exam."""
        found: list[str] = []
        with self._database.read() as connection:
            while True:
                nearest = select(func.min(jobs.c.calling_ae))
                if found:
                    nearest = nearest.where(jobs.c.calling_ae > found[-1])
                title = connection.execute(nearest).scalar_one()
                if title is None:
                    return found
                found.append(title)


def _page(connection: Connection, search: ExamSearch, direction: Direction, wanted: int) -> _Found:
    if search.uid is not None or search.exam_id is not None:
        return _sorted(connection, by_number_or_uid(search, direction), direction, wanted)
    by_time = by_status_and_sender(search, direction)
    if search.accession_number or (search.patient_id and not search.by_beginning):
        # A Patient ID that half the exams have is met; then what else is asked may be rarer.
        streams = (by_identifier(search, direction), by_time)
        for stream in streams:
            found = _walk(connection, stream, direction, SHORT_WALK, wanted)
            if found.looked_until is None:
                return found
        one, other = (_walk(connection, s, direction, LONG_WALK, wanted) for s in streams)
        return _further(one, other, direction)
    if search.by_beginning or search.studied_from or search.studied_to:
        found = _walk(connection, by_time, direction, SHORT_WALK, wanted)
        if found.looked_until is None:
            return found
        unordered = by_beginning_or_day(search, direction)
        begin = _begin(connection, unordered, direction)
        if begin is None:
            return _Found(())
        # All of them may be years old; where they begin, they may be many.
        by_time = by_status_and_sender(search, begin)
        found = _walk(connection, by_time, direction, SHORT_WALK, wanted)
        if found.looked_until is None:
            return found
        if _are_at_most(connection, unordered, MOST_SORTED if unordered.fits else MOST_JUDGED):
            return _sorted(connection, unordered, direction, wanted)
    return _walk(connection, by_time, direction, LONG_WALK, wanted)


def _begin(connection: Connection, stream: Stream, direction: Direction) -> Direction | None:
    """From where the first exam of a stream is not missed; None when it has none."""
    rows = stream.rows.subquery()
    first = func.min(rows.c.at) if direction.ascending else func.max(rows.c.at)
    at = connection.execute(select(first)).scalar_one()
    return None if at is None else direction.since(at)


def _walk(
    connection: Connection, stream: Stream, direction: Direction, steps: int, wanted: int
) -> _Found:
    """Look at no more than `steps` exams of a stream that an index orders."""
    rows = in_order(stream.rows, direction.ascending)
    if stream.fits:
        return _Found(_read(connection, rows.limit(wanted)))
    near = stream.fitting(rows.limit(steps).subquery())
    places = _read(connection, in_order(near, direction.ascending).limit(wanted))
    if len(places) == wanted:
        return _Found(places)
    last = _read(connection, rows.offset(steps - 1).limit(1))
    return _Found(places, last[0] if last else None)


def _sorted(connection: Connection, stream: Stream, direction: Direction, wanted: int) -> _Found:
    """Look at every exam of a stream."""
    rows = in_order(stream.rows, direction.ascending, *stream.key).limit(EVERY)
    rows = stream.fitting(rows.subquery())
    return _Found(_read(connection, in_order(rows, direction.ascending).limit(wanted)))


def _further(one: _Found, other: _Found, direction: Direction) -> _Found:
    """The one of two that looked further."""
    if one.looked_until is None or other.looked_until is None:
        return one if one.looked_until is None else other
    return one if (one.looked_until > other.looked_until) == direction.ascending else other


def _are_at_most(connection: Connection, stream: Stream, most: int) -> bool:
    return _how_many(connection, stream.rows.limit(most + 1).subquery()) <= most


def _how_many(connection: Connection, rows: Subquery) -> int:
    return int(connection.execute(select(func.count()).select_from(rows)).scalar_one())


def _read(connection: Connection, rows: Rows) -> Sequence[Place]:
    return [(row.at, row.id) for row in connection.execute(rows)]


def _stream_to_count(search: ExamSearch) -> Stream:
    anywhere = Direction(None, ascending=False)
    if search.uid is not None or search.exam_id is not None:
        return by_number_or_uid(search, anywhere)
    if search.accession_number or (search.patient_id and not search.by_beginning):
        return by_identifier(search, anywhere)
    if search.by_beginning or search.studied_from or search.studied_to:
        return by_beginning_or_day(search, anywhere)
    return by_status_and_sender(search, anywhere)


def _lines(connection: Connection, exam_ids: Sequence[int]) -> list[FoundExam]:
    """The lines of some exams, in their order."""
    statement = (
        select(
            *(overview, jobs.c.calling_ae, jobs.c.priority),
            *(getattr(exam_identifiers.c, name) for name in _IDENTIFIERS),
        )
        .join(jobs, jobs.c.id == overview.c.id)
        .join(exam_identifiers, exam_identifiers.c.job_id == overview.c.id, isouter=True)
        .where(overview.c.id.in_(exam_ids))
    )
    known = {row.id: row for row in connection.execute(statement)}
    return [
        FoundExam(
            exam=exam_summary(known[exam_id]),
            calling_ae=known[exam_id].calling_ae,
            priority=known[exam_id].priority,
            identifiers=ExamIdentifiers(*(getattr(known[exam_id], name) for name in _IDENTIFIERS)),
        )
        for exam_id in exam_ids
    ]
