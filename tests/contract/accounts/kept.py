"""Accounts by hand: what tests give a store of them, and what it says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from cadnode.core.accounts import AttemptRules, SessionRules
from cadnode.storage import tables
from cadnode.storage.account_store import AccountStore
from cadnode.storage.database import Database

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SESSIONS = SessionRules(idle=timedelta(minutes=30), longest=timedelta(hours=8))
ATTEMPTS = AttemptRules(free_by_name=3, free_by_address=6)
ISSUER = "https://id.site.example"


def events(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        rows = connection.execute(
            select(tables.events.c.text, tables.events.c.actor).order_by(tables.events.c.id)
        )
        return [(row.text, row.actor) for row in rows]


def sign_in(store: AccountStore, name: str = "anna", key: str = "s1", now: datetime = T0):
    store.open_session(name, key, address="10.0.0.9", browser="Browser/1", rules=SESSIONS, now=now)


def who(store: AccountStore, key: str = "s1", now: datetime = T0, **how: bool) -> str | None:
    found = store.signed_in(key, rules=SESSIONS, now=now, **how)
    return found[0].name if found else None
