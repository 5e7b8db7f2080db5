"""Sessions of the console and failed sign-ins, as the database keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, or_, select, update

from cadnode.core.accounts import (
    Account,
    AttemptRules,
    Session,
    SessionRules,
    address_key,
    wait_after,
)
from cadnode.core.errors import DatabaseUnavailable, NotFound, TooManyAttempts
from cadnode.storage.accounts import account_of, user_row
from cadnode.storage.database import StorePart
from cadnode.storage.dialect import one_at_a_time
from cadnode.storage.rows import AnyRow
from cadnode.storage.tables import sign_in_failures, users, web_sessions

NOTED_AFTER = timedelta(seconds=60)
"""That a session is used is written down no more often than this."""

LONGEST_BROWSER = 200
"""Characters kept of what a browser calls itself."""


class SignIns(StorePart):
    """Who is signed in, and who has tried to be. Secrets come in as their SHA-256."""

    def begin_attempt(self, name: str, address: str, *, rules: AttemptRules, now: datetime) -> int:
        """Note a sign-in as failed before anybody looks at the password; its number.

        So a hundred at once count as a hundred. Raises TooManyAttempts, which counts nothing.
        """
        key = address_key(address)
        # Looked at first: whoever has to wait shall not hold up those who write, as the receiver.
        with self._database.read() as connection:
            _check_wait(connection, name, key, rules=rules, now=now)
        with self._database.write() as connection:
            one_at_a_time(connection, "sign-in")
            connection.execute(
                delete(sign_in_failures).where(sign_in_failures.c.at <= now - rules.memory)
            )
            _check_wait(connection, name, key, rules=rules, now=now)
            number = connection.execute(
                insert(sign_in_failures)
                .values(name_sha256=_hidden(name), address=key, at=now)
                .returning(sign_in_failures.c.id)
            ).scalar_one()
            return int(number)

    def attempt_succeeded(self, number: int, name: str) -> None:
        """That sign-in was none that failed, and the earlier ones under this name are forgotten.

        Those under other names stay: nobody gets new guesses by an account of their own.
        """
        with self._database.write() as connection:
            one_at_a_time(connection, "sign-in")
            connection.execute(
                delete(sign_in_failures).where(
                    or_(
                        sign_in_failures.c.id == number,
                        sign_in_failures.c.name_sha256 == _hidden(name),
                    )
                )
            )

    def forget_failures(self, name: str) -> None:
        """Whoever signs in under this name next does not wait for what happened before."""
        with self._database.write() as connection:
            one_at_a_time(connection, "sign-in")
            connection.execute(
                delete(sign_in_failures).where(sign_in_failures.c.name_sha256 == _hidden(name))
            )

    def open_session(
        self,
        name: str,
        secret_sha256: str,
        *,
        address: str,
        browser: str,
        rules: SessionRules,
        now: datetime,
    ) -> None:
        """The user is signed in from now on. Raises NotFound."""
        with self._database.write() as connection:
            row = user_row(connection, name)
            connection.execute(delete(web_sessions).where(_over(rules, now)))
            connection.execute(
                insert(web_sessions).values(
                    user_id=row.id,
                    secret_sha256=secret_sha256,
                    began_at=now,
                    last_used_at=now,
                    address=address,
                    browser=browser[:LONGEST_BROWSER],
                )
            )
            connection.execute(
                update(users).where(users.c.id == row.id).values(last_sign_in_at=now)
            )

    def signed_in(
        self, secret_sha256: str, *, rules: SessionRules, now: datetime, used: bool = True
    ) -> tuple[Account, Session] | None:
        """Who is signed in with this secret; None when nobody is, or it is over.

        With `used` the session is in use: its idle time begins again.
        """
        with self._database.read() as connection:
            row = _session_row(connection, secret_sha256)
        if row is None or rules.over(row.began_at, row.last_used_at, now=now):
            return None
        if used and now - row.last_used_at >= min(NOTED_AFTER, rules.idle / 10):
            # On a full disk nothing can be noted, and a person has to see what is wrong.
            with suppress(DatabaseUnavailable), self._database.write() as connection:
                connection.execute(
                    update(web_sessions)
                    .where(web_sessions.c.id == row.session_id)
                    .values(last_used_at=now)
                )
        return account_of(row), _session(row)

    def sessions(self, name: str, *, rules: SessionRules, now: datetime) -> Sequence[Session]:
        """Where a user is signed in, the last used first."""
        with self._database.read() as connection:
            rows = connection.execute(
                _joined()
                .where(users.c.name == name, ~_over(rules, now))
                .order_by(web_sessions.c.last_used_at.desc(), web_sessions.c.id.desc())
            )
            return [_session(row) for row in rows]

    def end_session(self, secret_sha256: str) -> None:
        """Whoever is signed in with this secret is so no more."""
        with self._database.write() as connection:
            connection.execute(
                delete(web_sessions).where(web_sessions.c.secret_sha256 == secret_sha256)
            )

    def end_session_of(self, name: str, session_id: int) -> None:
        """End one session of this user. Raises NotFound."""
        with self._database.write() as connection:
            row = user_row(connection, name)
            ended = connection.execute(
                delete(web_sessions).where(
                    web_sessions.c.id == session_id, web_sessions.c.user_id == row.id
                )
            )
            if not ended.rowcount:
                raise NotFound(f"{name} has no session {session_id}")


def _check_wait(
    connection: Connection, name: str, key: str, *, rules: AttemptRules, now: datetime
) -> None:
    wait = max(
        wait_after(_failures(connection, condition), free=free, rules=rules, now=now)
        for condition, free in (
            (sign_in_failures.c.name_sha256 == _hidden(name), rules.free_by_name),
            (sign_in_failures.c.address == key, rules.free_by_address),
        )
    )
    if wait:
        raise TooManyAttempts(-(-wait // timedelta(seconds=1)))


def _failures(connection: Connection, condition: ColumnElement[bool]) -> Sequence[datetime]:
    return connection.execute(select(sign_in_failures.c.at).where(condition)).scalars().all()


def _hidden(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def _over(rules: SessionRules, now: datetime) -> ColumnElement[bool]:
    return or_(
        web_sessions.c.began_at <= now - rules.longest,
        web_sessions.c.last_used_at <= now - rules.idle,
    )


def _joined() -> Select[Any]:
    return select(
        users,
        web_sessions.c.id.label("session_id"),
        web_sessions.c.began_at,
        web_sessions.c.last_used_at,
        web_sessions.c.address,
        web_sessions.c.browser,
    ).join(users, users.c.id == web_sessions.c.user_id)


def _session_row(connection: Connection, secret_sha256: str) -> AnyRow | None:
    row: AnyRow | None = connection.execute(
        _joined().where(web_sessions.c.secret_sha256 == secret_sha256)
    ).one_or_none()
    return row


def _session(row: AnyRow) -> Session:
    return Session(
        id=row.session_id,
        user=row.name,
        began_at=row.began_at,
        last_used_at=row.last_used_at,
        address=row.address,
        browser=row.browser,
    )
