"""The notices to persons: begun and ended in one transaction with what is known, sent by lease."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, delete, exists, func, insert, select, update

from cadnode.core.jobs import ExamStatus
from cadnode.core.notices import (
    MESSAGES_AT_ONCE,
    NAMED_EXAMS,
    About,
    Notice,
    NoticeKind,
    NoticeRules,
    Outgoing,
    Surveyed,
    failed_text,
    key_of,
)
from cadnode.storage.claiming import claim_rows, is_due
from cadnode.storage.database import StorePart
from cadnode.storage.dialect import one_at_a_time
from cadnode.storage.notice_rows import (
    PENDING,
    begin_notice,
    begun_on,
    end_notice,
    insert_notice,
    is_as_it_was,
    notice_of,
    open_keys,
    quiet_until,
    tell_also,
)
from cadnode.storage.rows import AnyRow, lease_is_over
from cadnode.storage.tables import event_cursors, events, jobs, notice_messages, notices

EVENTS_AT_ONCE = 5_000

SETTLING = timedelta(seconds=5)
"""Where several transactions write at once, an event may be seen after one with a higher number;
younger ones are left for the next time."""

_CURSOR = "notices"
_MOVES = frozenset(ExamStatus)
_SENT, _GIVEN_UP = "sent", "given up"


@dataclass(frozen=True, slots=True)
class ExamMove:
    """An exam that came into a status."""

    exam_id: int
    status: ExamStatus
    code: str | None
    at: datetime
    took: timedelta | None
    """From its last image to its first delivery; None for other moves, for what is delivered again,
    and for what a person had read again, which has no image of its own."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """What waits on one channel."""

    channel: str
    messages: int
    error: str
    """What was last wrong; empty for what has not been tried."""


class NoticeStore(StorePart):
    """The part of the job database for notices. Every call may raise DatabaseUnavailable."""

    def read_events(
        self, rules: NoticeRules, channels: Collection[str], *, now: datetime
    ) -> Sequence[ExamMove]:
        """The moves of exams that nobody has read yet, each given to one caller only.

        In the same transaction, those that failed become notices on `channels`; where there are
        none, nobody is told later either. The first call ever begins with what happens next.
        """
        with self._database.read() as connection:
            newest = connection.execute(select(func.max(events.c.id))).scalar_one() or 0
            if _cursor(connection) == newest:
                return ()
        with self._database.write() as connection:
            one_at_a_time(connection, "notices")
            since = _cursor(connection, lock=True)
            if since is None:
                connection.execute(insert(event_cursors).values(name=_CURSOR, event_id=newest))
                return ()
            rows = settled(connection, _next_events(connection, since), now)
            if not rows:
                return ()
            connection.execute(
                update(event_cursors)
                .where(event_cursors.c.name == _CURSOR)
                .values(event_id=rows[-1].id)
            )
            moves = [_move(row) for row in rows if row.kind in _MOVES and row.subject_uid is None]
            if channels and NoticeKind.EXAM_FAILED in rules.kinds:
                _note_failed(connection, moves, rules, channels, now)
            return moves

    def survey(
        self, found: Surveyed, rules: NoticeRules, channels: Collection[str], *, now: datetime
    ) -> None:
        """Begin a notice for each condition that is new, and end those that are over.

        A channel that the settings got meanwhile is told of what lasts.
        """
        wanted = {
            condition.key: condition
            for condition in found.conditions
            if condition.kind in rules.kinds
        }
        with self._database.read() as connection:
            held = open_keys(connection, found.kinds)
        if is_as_it_was(held, wanted, found.undecided, channels):
            return
        with self._database.write() as connection:
            one_at_a_time(connection, "notices")
            held = open_keys(connection, found.kinds)
            for key in sorted(wanted.keys() - held.keys()):
                begin_notice(connection, wanted[key], rules, channels, now)
            for key in sorted(wanted.keys() & held.keys()):
                tell_also(connection, key, set(channels) - held[key], now)
            for key in sorted(held.keys() - wanted.keys() - found.undecided):
                end_notice(connection, key, channels, now)

    def claim(
        self, channel: str, owner: str, *, now: datetime, lease: timedelta
    ) -> Sequence[Outgoing]:
        """What is due on one channel, oldest first. Failures still collected under a notice
        claimed here begin a new one."""
        due = and_(
            notice_messages.c.channel == channel,
            notice_messages.c.status == PENDING,
            notice_messages.c.due_at <= now,
            lease_is_over(notice_messages.c.lease_owner, notice_messages.c.lease_until, now),
        )
        if not is_due(self._database, notice_messages, due):
            return ()
        with self._database.write() as connection:
            one_at_a_time(connection, "notices")
            claimed = claim_rows(
                connection,
                notice_messages,
                due,
                order=[notice_messages.c.due_at],
                limit=MESSAGES_AT_ONCE,
                values={
                    "lease_owner": owner,
                    "lease_until": now + lease,
                    "tries": notice_messages.c.tries + 1,
                },
            )
            ids = {row.notice_id for row in claimed}
            connection.execute(
                update(notices)
                .where(
                    notices.c.id.in_(ids),
                    notices.c.kind == NoticeKind.EXAM_FAILED,
                    notices.c.closed_at.is_(None),
                )
                .values(closed_at=now)
            )
            found = {
                row.id: row
                for row in connection.execute(select(notices).where(notices.c.id.in_(ids)))
            }
        return [
            Outgoing(
                id=row.id,
                notice=notice_of(found[row.notice_id], About(row.about)),
                tries=row.tries,
                due_since=row.first_due_at,
            )
            for row in sorted(claimed, key=lambda row: row.id)
        ]

    def sent(self, messages: Sequence[Outgoing], owner: str, *, now: datetime) -> None:
        """They have gone out."""
        self._set(messages, owner, {"status": _SENT, "sent_at": now, "error_text": None})

    def not_sent(
        self,
        messages: Sequence[Outgoing],
        owner: str,
        *,
        error: str,
        again_at: datetime | None,
    ) -> None:
        """They are tried again at a moment, or never (None)."""
        later: dict[str, Any] = {"status": _GIVEN_UP} if again_at is None else {"due_at": again_at}
        self._set(messages, owner, later | {"error_text": error})

    def drop_channels(self, channels: Collection[str]) -> None:
        """Forget what waits for channels that the settings no longer have."""
        stale = and_(
            notice_messages.c.status == PENDING, notice_messages.c.channel.not_in(channels)
        )
        if is_due(self._database, notice_messages, stale):
            with self._database.write() as connection:
                connection.execute(delete(notice_messages).where(stale))

    def open_notices(self) -> Sequence[Notice]:
        """What persons have been, or are to be told, and is not over."""
        lasting = and_(notices.c.closed_at.is_(None), notices.c.kind != NoticeKind.EXAM_FAILED)
        with self._database.read() as connection:
            rows = connection.execute(select(notices).where(lasting).order_by(notices.c.id)).all()
        return [notice_of(row, About.BEGIN) for row in rows]

    def unsent(self) -> Sequence[Unsent]:
        """What is due, or will be, on each channel."""
        waiting = (
            select(
                notice_messages.c.channel,
                func.count().label("messages"),
                func.max(notice_messages.c.error_text).label("error"),
            )
            .where(notice_messages.c.status == PENDING)
            .group_by(notice_messages.c.channel)
            .order_by(notice_messages.c.channel)
        )
        with self._database.read() as connection:
            return [
                Unsent(row.channel, row.messages, row.error or "")
                for row in connection.execute(waiting)
            ]

    def _set(self, messages: Sequence[Outgoing], owner: str, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(
                update(notice_messages)
                .where(
                    notice_messages.c.id.in_([message.id for message in messages]),
                    notice_messages.c.lease_owner == owner,
                )
                .values(lease_owner=None, lease_until=None, **values)
            )


def _cursor(connection: Connection, *, lock: bool = False) -> int | None:
    statement = select(event_cursors.c.event_id).where(event_cursors.c.name == _CURSOR)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return None if row is None else int(row.event_id)


def _next_events(connection: Connection, since: int) -> Sequence[AnyRow]:
    before = events.alias("before")
    again = exists().where(
        before.c.job_id == events.c.job_id,
        before.c.kind == events.c.kind,
        before.c.id < events.c.id,
    )
    is_first = and_(events.c.kind == ExamStatus.DELIVERED, jobs.c.image_count > 0, ~again)
    return connection.execute(
        select(events, case((is_first, jobs.c.last_image_at)).label("last_image_at"))
        .join(jobs, jobs.c.id == events.c.job_id, isouter=True)
        .where(events.c.id > since)
        .order_by(events.c.id)
        .limit(EVENTS_AT_ONCE)
    ).all()


def settled(connection: Connection, rows: Sequence[AnyRow], now: datetime) -> Sequence[AnyRow]:
    """The rows before the first one that another transaction may still stand before."""
    if connection.dialect.name == "sqlite":
        return rows
    # One from the future was written before the clock was set back, and is no younger than others.
    young = (now - SETTLING, now + SETTLING)
    first = next((n for n, row in enumerate(rows) if young[0] < row.at < young[1]), len(rows))
    return rows[:first]


def _move(row: AnyRow) -> ExamMove:
    return ExamMove(
        exam_id=row.job_id,
        status=ExamStatus(row.kind),
        code=row.code,
        at=row.at,
        took=None if row.last_image_at is None else row.at - row.last_image_at,
    )


def _note_failed(
    connection: Connection,
    moves: Iterable[ExamMove],
    rules: NoticeRules,
    channels: Collection[str],
    now: datetime,
) -> None:
    by_code: dict[str, list[ExamMove]] = defaultdict(list)
    for move in moves:
        if move.status is ExamStatus.FAILED:
            by_code[move.code or "E000"].append(move)
    for code, failed in sorted(by_code.items()):
        key = key_of(NoticeKind.EXAM_FAILED, code)
        numbers = [move.exam_id for move in failed]
        row = connection.execute(
            select(notices).where(notices.c.key == key, notices.c.closed_at.is_(None))
        ).one_or_none()
        if row is not None:
            connection.execute(
                update(notices)
                .where(notices.c.id == row.id)
                .values(
                    count=notices.c.count + len(failed),
                    exams=[*row.exams, *numbers][:NAMED_EXAMS],
                )
            )
            begun = begun_on(connection, row.id)
            tell_also(connection, key, set(channels) - begun, now + rules.collect)
            continue
        insert_notice(
            connection,
            {
                "key": key,
                "kind": NoticeKind.EXAM_FAILED,
                "subject": code,
                "text": failed_text(code),
                "count": len(failed),
                "exams": numbers[:NAMED_EXAMS],
                "opened_at": failed[0].at,
            },
            channels,
            due_at=max(now + rules.collect, quiet_until(connection, key, rules, now)),
        )
