"""The users of the console, as the database keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from cadnode.core.accounts import Account, AccountChange, Origin, Role, name_problem
from cadnode.core.errors import AccountRefused, NotFound
from cadnode.storage.database import StorePart
from cadnode.storage.dialect import one_at_a_time
from cadnode.storage.rows import AnyRow, log_event
from cadnode.storage.tables import api_tokens, events, users, web_sessions

KIND = "account"
"""Of events about users and tokens."""


class Accounts(StorePart):
    """Who there is, and in which role. Every change leaves an event."""

    def anybody(self) -> bool:
        """True when there is a user."""
        with self._database.read() as connection:
            return connection.execute(select(users.c.id).limit(1)).first() is not None

    def accounts(self) -> Sequence[Account]:
        """All users, by name."""
        with self._database.read() as connection:
            return [account_of(row) for row in connection.execute(select(users).order_by("name"))]

    def account(self, name: str) -> Account:
        """One user. Raises NotFound."""
        with self._database.read() as connection:
            return account_of(user_row(connection, name, lock=False))

    def changes(self, *, limit: int) -> Sequence[AccountChange]:
        """What was last done to users and tokens, the newest first."""
        statement = (
            select(events.c.at, events.c.text, events.c.actor)
            # By the index: there are millions of events about exams.
            .where(events.c.job_id.is_(None), events.c.kind == KIND)
            .order_by(events.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [AccountChange(*row) for row in connection.execute(statement)]

    def password_hash(self, name: str) -> str | None:
        """The hash of a user's password; None for one who has none, and for nobody."""
        if name_problem(name):
            return None
        with self._database.read() as connection:
            return connection.execute(
                select(users.c.password_hash).where(users.c.name == name)
            ).scalar()

    def add(self, name: str, role: Role, password_hash: str, *, by: str, now: datetime) -> Account:
        """A new user who signs in with a password.

        Raises AccountRefused when the name cannot be had, and for anybody but an admin while there
        is no admin with a password.
        """
        problem = name_problem(name)
        if problem:
            raise AccountRefused(problem)
        with self._change() as connection:
            if connection.execute(select(users.c.id).where(users.c.name == name)).first():
                raise AccountRefused(f"there is a user {name} already")
            if role is not Role.ADMIN and not _admins(connection):
                raise AccountRefused("the first user with a password has to be an admin")
            connection.execute(
                insert(users).values(
                    name=name,
                    role=role.name,
                    origin=Origin.LOCAL,
                    password_hash=password_hash,
                    created_at=now,
                    created_by=by,
                )
            )
            _note(connection, f"User {name} was added as {role.name.lower()}.", by, now)
            return account_of(user_row(connection, name))

    def admit(self, *, issuer: str, subject: str, name: str, role: Role, now: datetime) -> Account:
        """The user that an identity provider vouches for, new or with the role as it is now.

        Raises AccountRefused when the name cannot be had, or is somebody else's.
        """
        problem = name_problem(name)
        if problem:
            raise AccountRefused(problem)
        by = f"oidc:{issuer}"
        with self._change() as connection:
            row = connection.execute(
                select(users).where(users.c.issuer == issuer, users.c.subject == subject)
            ).one_or_none()
            taken = connection.execute(
                select(users.c.id).where(users.c.name == name, users.c.id != (row.id if row else 0))
            ).first()
            if taken:
                raise AccountRefused(f"the name {name} is another user's here")
            if row is None:
                connection.execute(
                    insert(users).values(
                        name=name,
                        role=role.name,
                        origin=Origin.OIDC,
                        issuer=issuer,
                        subject=subject,
                        created_at=now,
                        created_by=by,
                    )
                )
                _note(connection, f"User {name} was added as {role.name.lower()}.", by, now)
            elif (row.name, row.role) != (name, role.name):
                connection.execute(
                    update(users).where(users.c.id == row.id).values(name=name, role=role.name)
                )
                _note(connection, f"User {row.name} became {name}, {role.name.lower()}.", by, now)
            return account_of(user_row(connection, name))

    def set_role(self, name: str, role: Role, *, by: str, now: datetime) -> None:
        """Another role, from the next request on.

        Raises NotFound, and AccountRefused for the last admin with a password and for a user whose
        role the identity provider decides.
        """
        with self._change() as connection:
            row = user_row(connection, name)
            if row.origin != Origin.LOCAL:
                raise AccountRefused(f"the identity provider decides about the role of {name}")
            if row.role == role.name:
                return
            _keep_an_admin(connection, row)
            connection.execute(update(users).where(users.c.id == row.id).values(role=role.name))
            _note(connection, f"User {name} became {role.name.lower()}.", by, now)

    def set_password(
        self,
        name: str,
        password_hash: str,
        *,
        by: str,
        now: datetime,
        keep_session: str | None = None,
    ) -> None:
        """Another password; the user is signed out everywhere but in `keep_session` (its SHA-256).

        Raises NotFound, and AccountRefused for a user without a password of this node.
        """
        with self._database.write() as connection:
            row = user_row(connection, name)
            if row.origin != Origin.LOCAL:
                raise AccountRefused(f"the identity provider keeps the password of {name}")
            connection.execute(
                update(users).where(users.c.id == row.id).values(password_hash=password_hash)
            )
            connection.execute(
                delete(web_sessions).where(
                    web_sessions.c.user_id == row.id,
                    web_sessions.c.secret_sha256 != (keep_session or ""),
                )
            )
            _note(connection, f"User {name} got a new password.", by, now)

    def renew_hash(self, name: str, old: str, new: str) -> None:
        """The same password with today's parameters, unless it has been changed meanwhile."""
        with self._database.write() as connection:
            connection.execute(
                update(users)
                .where(users.c.name == name, users.c.password_hash == old)
                .values(password_hash=new)
            )

    def remove(self, name: str, *, by: str, now: datetime) -> None:
        """Without the user, who is signed out and whose tokens end; events keep the name.

        Raises NotFound, and AccountRefused for the last admin with a password.
        """
        with self._change() as connection:
            row = user_row(connection, name)
            _keep_an_admin(connection, row)
            for table in (web_sessions, api_tokens):
                connection.execute(delete(table).where(table.c.user_id == row.id))
            connection.execute(delete(users).where(users.c.id == row.id))
            _note(connection, f"User {name} was removed.", by, now)

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        """A change that looks at all users first: another one must not come in between."""
        with self._database.write() as connection:
            one_at_a_time(connection, "users")
            yield connection


def user_row(connection: Connection, name: str, *, lock: bool = True) -> AnyRow:
    """The row of a user, locked until the transaction ends. Raises NotFound."""
    row = None
    # Not every database takes every character.
    if name_problem(name) is None:
        statement = select(users).where(users.c.name == name)
        row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise NotFound("there is no such user")
    return row


def account_of(row: AnyRow) -> Account:
    """The values of a row."""
    return Account(
        name=row.name,
        role=Role[row.role],
        origin=Origin(row.origin),
        created_at=row.created_at,
        created_by=row.created_by,
        last_sign_in_at=row.last_sign_in_at,
    )


def _admins(connection: Connection, besides: int = 0) -> bool:
    """True when somebody else can always sign in and change accounts."""
    return (
        connection.execute(
            select(users.c.id)
            .where(
                users.c.role == Role.ADMIN.name,
                users.c.origin == Origin.LOCAL,
                users.c.id != besides,
            )
            .limit(1)
        ).first()
        is not None
    )


def _keep_an_admin(connection: Connection, row: AnyRow) -> None:
    is_one = row.origin == Origin.LOCAL and row.role == Role.ADMIN.name
    if is_one and not _admins(connection, besides=row.id):
        raise AccountRefused(f"{row.name} is the last admin with a password")


def _note(connection: Connection, text: str, by: str, now: datetime) -> None:
    log_event(connection, job_id=None, at=now, kind=KIND, text=text, actor=by)
