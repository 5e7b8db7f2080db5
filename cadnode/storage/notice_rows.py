"""A notice and its messages as rows: how they begin, and how they end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from cadnode.core.notices import About, Condition, Notice, NoticeKind, NoticeRules
from cadnode.storage.rows import AnyRow
from cadnode.storage.tables import notice_messages, notices

PENDING = "pending"


def begin_notice(
    connection: Connection,
    condition: Condition,
    rules: NoticeRules,
    channels: Collection[str],
    now: datetime,
) -> None:
    """It is told on `channels`, at once or after the quiet time."""
    insert_notice(
        connection,
        {
            "key": condition.key,
            "kind": condition.kind,
            "subject": condition.subject,
            "text": condition.text,
            "count": 1,
            "exams": [],
            "opened_at": condition.since,
        },
        channels,
        due_at=quiet_until(connection, condition.key, rules, now),
    )


def end_notice(connection: Connection, key: str, channels: Collection[str], now: datetime) -> None:
    """It is told as over on those of `channels` on which it was told as begun."""
    row = connection.execute(
        update(notices)
        .where(notices.c.key == key, notices.c.closed_at.is_(None))
        .values(closed_at=now)
        .returning(notices)
    ).one_or_none()
    if row is None:
        return
    # Over before anybody was to be told: nobody is.
    untold = and_(
        notice_messages.c.notice_id == row.id,
        notice_messages.c.tries == 0,
        notice_messages.c.due_at > now,
    )
    connection.execute(delete(notice_messages).where(untold))
    for channel in sorted(begun_on(connection, row.id) & set(channels)):
        _due(connection, row.id, channel, About.END, now)


def insert_notice(
    connection: Connection, values: dict[str, Any], channels: Collection[str], *, due_at: datetime
) -> None:
    """A new notice with a message on each of `channels`."""
    notice_id = connection.execute(
        insert(notices).values(values).returning(notices.c.id)
    ).scalar_one()
    for channel in sorted(channels):
        _due(connection, notice_id, channel, About.BEGIN, due_at)


def _due(
    connection: Connection, notice_id: int, channel: str, about: About, due_at: datetime
) -> None:
    connection.execute(
        insert(notice_messages).values(
            notice_id=notice_id,
            channel=channel,
            about=about,
            status=PENDING,
            first_due_at=due_at,
            due_at=due_at,
            tries=0,
        )
    )


def quiet_until(connection: Connection, key: str, rules: NoticeRules, now: datetime) -> datetime:
    """Now, or later when the same was told a short while ago."""
    last: datetime | None = connection.execute(
        select(func.max(notice_messages.c.sent_at, type_=notice_messages.c.sent_at.type))
        .join(notices, notices.c.id == notice_messages.c.notice_id)
        .where(
            notices.c.key == key,
            or_(notices.c.closed_at.is_(None), notices.c.closed_at > now - 2 * rules.quiet),
        )
    ).scalar_one()
    # A message from the future was sent before the clock was set back: nobody knows when.
    return now if last is None or last > now else max(now, last + rules.quiet)


def open_keys(
    connection: Connection, kinds: Collection[NoticeKind]
) -> Mapping[str, frozenset[str]]:
    """What lasts, with the channels on which its begin is or was to be told."""
    lasting = (
        select(notices.c.key, notice_messages.c.channel)
        .join(
            notice_messages,
            and_(
                notice_messages.c.notice_id == notices.c.id,
                notice_messages.c.about == About.BEGIN,
            ),
            isouter=True,
        )
        .where(notices.c.closed_at.is_(None), notices.c.kind.in_(sorted(kinds)))
    )
    held: dict[str, frozenset[str]] = {}
    for key, channel in connection.execute(lasting):
        held[key] = held.get(key, frozenset()) | ({channel} if channel else set())
    return held


def is_as_it_was(
    held: Mapping[str, frozenset[str]],
    wanted: Mapping[str, Condition],
    undecided: Collection[str],
    channels: Collection[str],
) -> bool:
    """True when nothing has begun or ended, and every channel is told of what lasts."""
    told = all(key in held and held[key].issuperset(channels) for key in wanted)
    return told and held.keys() <= wanted.keys() | set(undecided)


def begun_on(connection: Connection, notice_id: int) -> set[str]:
    """The channels on which the begin of a notice is or was to be told."""
    begun = select(notice_messages.c.channel).where(
        notice_messages.c.notice_id == notice_id, notice_messages.c.about == About.BEGIN
    )
    return set(connection.execute(begun).scalars())


def tell_also(
    connection: Connection, key: str, channels: Collection[str], due_at: datetime
) -> None:
    """What lasts is to be told on further channels."""
    notice_id = connection.execute(
        select(notices.c.id).where(notices.c.key == key, notices.c.closed_at.is_(None))
    ).scalar_one()
    for channel in sorted(channels):
        _due(connection, notice_id, channel, About.BEGIN, due_at)


def notice_of(row: AnyRow, about: About) -> Notice:
    """The notice of a row of `notices`."""
    return Notice(
        id=row.id,
        kind=NoticeKind(row.kind),
        subject=row.subject,
        text=row.text,
        since=row.opened_at,
        until=row.closed_at if row.kind != NoticeKind.EXAM_FAILED else None,
        about=about,
        count=row._mapping["count"],
        exams=tuple(row.exams),
    )
