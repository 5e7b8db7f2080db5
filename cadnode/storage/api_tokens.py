"""Tokens of the API, as the database keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, insert, select, update

from cadnode.core.accounts import LONGEST_TOKEN_DAYS, ApiToken, Means, Role, User
from cadnode.core.errors import AccountRefused, DatabaseUnavailable, NotFound
from cadnode.storage.accounts import KIND, user_row
from cadnode.storage.database import StorePart
from cadnode.storage.rows import AnyRow, log_event
from cadnode.storage.tables import api_tokens, users

NOTED_AFTER = timedelta(seconds=60)
"""That a token is used is written down no more often than this."""

LONGEST_NAME = 64

_EXPIRED_FOR = timedelta(days=90)
"""How long an expired token is still listed."""


class Tokens(StorePart):
    """Programs that may use the API. Secrets come in as their SHA-256."""

    def add_token(
        self,
        name: str,
        role: Role,
        secret_sha256: str,
        *,
        owner: str | None,
        expires_at: datetime,
        by: str,
        now: datetime,
    ) -> ApiToken:
        """A new token; it can never do more than its owner may at that moment.

        Raises NotFound for an owner there is not, and AccountRefused for a name or an end that
        cannot be had, and a role above the owner's.
        """
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise AccountRefused(f"the name of a token is 1 to {LONGEST_NAME} printable characters")
        if not now < expires_at <= now + timedelta(days=LONGEST_TOKEN_DAYS):
            raise AccountRefused(f"a token is good for 1 to {LONGEST_TOKEN_DAYS} days")
        with self._database.write() as connection:
            row = user_row(connection, owner) if owner else None
            if row is not None and role > Role[row.role]:
                raise AccountRefused(f"{owner} is {row.role.lower()}; the token cannot be more")
            connection.execute(
                delete(api_tokens).where(api_tokens.c.expires_at <= now - _EXPIRED_FOR)
            )
            number = connection.execute(
                insert(api_tokens)
                .values(
                    user_id=row.id if row else None,
                    name=name,
                    secret_sha256=secret_sha256,
                    role=role.name,
                    created_at=now,
                    created_by=by,
                    expires_at=expires_at,
                )
                .returning(api_tokens.c.id)
            ).scalar_one()
            whose = f" for {owner}" if owner else ""
            log_event(
                connection,
                job_id=None,
                at=now,
                kind=KIND,
                text=f"Token {number} was made{whose} as {role.name.lower()}.",
                actor=by,
            )
            return _token(connection.execute(_joined().where(api_tokens.c.id == number)).one())

    def holder(self, secret_sha256: str, *, now: datetime) -> User | None:
        """Whom a request with this token comes from; None when it is unknown or over."""
        with self._database.read() as connection:
            row = connection.execute(
                _joined().where(
                    api_tokens.c.secret_sha256 == secret_sha256, api_tokens.c.expires_at > now
                )
            ).one_or_none()
        if row is None:
            return None
        if row.last_used_at is None or now - row.last_used_at >= NOTED_AFTER:
            # On a full disk nothing can be noted, and monitoring has to see what is wrong.
            with suppress(DatabaseUnavailable), self._database.write() as connection:
                connection.execute(
                    update(api_tokens).where(api_tokens.c.id == row.id).values(last_used_at=now)
                )
        role = Role[row.role]
        if row.owner is None:
            return User(f"token:{row.name}", role, Means.TOKEN)
        return User(row.owner, min(role, Role[row.owner_role]), Means.TOKEN)

    def tokens(self, owner: str | None = None) -> Sequence[ApiToken]:
        """The tokens of one user, or all, the newest first."""
        statement = _joined().order_by(api_tokens.c.id.desc())
        if owner is not None:
            statement = statement.where(users.c.name == owner)
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute(statement)]

    def revoke_token(
        self, token_id: int, *, by: str, now: datetime, owner: str | None = None
    ) -> None:
        """The token is good no more. Raises NotFound; so it does for one of another `owner`."""
        with self._database.write() as connection:
            row = connection.execute(_joined().where(api_tokens.c.id == token_id)).one_or_none()
            if row is None or owner not in (None, row.owner):
                raise NotFound(f"there is no token {token_id}")
            connection.execute(delete(api_tokens).where(api_tokens.c.id == token_id))
            log_event(
                connection,
                job_id=None,
                at=now,
                kind=KIND,
                text=f"Token {token_id} was revoked.",
                actor=by,
            )


def _joined() -> Select[Any]:
    return select(
        api_tokens, users.c.name.label("owner"), users.c.role.label("owner_role")
    ).outerjoin(users, users.c.id == api_tokens.c.user_id)


def _token(row: AnyRow) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        owner=row.owner,
        role=Role[row.role],
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
