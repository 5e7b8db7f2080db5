"""The schema of the job database: which version it has, forward, back, and a copy for safety."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

from cadnode.core.errors import DatabaseUnavailable
from cadnode.storage.database import (
    MIGRATIONS,
    Database,
    alembic_config,
    parse_url,
    schema_version,
    shown_url,
    wanted_version,
)
from cadnode.storage.dialect import BUSY_SECONDS, database_file
from cadnode.storage.tables import deliveries, jobs


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands."""

    database: str
    """Its URL without the password."""
    version: str | None
    """None for an empty database, or none at all."""
    wanted: str
    """The version that this program needs."""
    known: bool
    """False for a version that a newer program made."""
    bytes: int | None
    """Of the file; None for a server."""
    leases: int
    """Exams and deliveries that a process is working on."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was checked."""

    file: Path
    version: str | None
    bytes: int


def known_versions() -> list[str]:
    """Every version of the schema, the oldest first."""
    return [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


def schema_state(url: str, *, now: datetime) -> SchemaState:
    """Where the database stands, whatever its version. Raises DatabaseUnavailable."""
    file = database_file(parse_url(url))
    version = schema_version(url)
    return SchemaState(
        database=shown_url(parse_url(url)),
        version=version,
        wanted=wanted_version(),
        known=version is None or version in known_versions(),
        bytes=file.stat().st_size if file is not None and file.exists() else None,
        leases=0 if version is None else _leases(url, now),
    )


def check_downgrade(url: str, version: str, *, now: datetime) -> None:
    """Raise DatabaseUnavailable for a version that is not an older one, and while a process works
    on the database: it would find its tables changed under its hands."""
    state = schema_state(url, now=now)
    versions = known_versions()
    older = versions[: versions.index(state.version)] if state.version in versions else []
    if version not in older:
        raise DatabaseUnavailable(
            f"the database {state.database} has schema version {state.version}; it can go back to"
            f" {', '.join(older) or 'no older one'}, not to {version}"
        )
    if state.leases:
        raise DatabaseUnavailable(
            f"a process is working on the database {state.database} ({state.leases} leases): stop"
            " `cadnode serve` first, and wait for the end of its leases"
        )


def downgrade(url: str, version: str, *, now: datetime) -> None:
    """Take the database back to an older version, in one transaction. Raises as `check_downgrade`."""
    check_downgrade(url, version, now=now)
    database = Database(url)
    try:
        with database.write() as connection:
            command.downgrade(alembic_config(connection), version)
    finally:
        database.close()


def back_up(url: str, target: Path) -> Backup:
    """Copy a SQLite database while the node runs, as it stands at one moment.

    Written aside with mode 0600, checked by SQLite, synced, renamed; a copy that fails its check
    is not kept. Raises DatabaseUnavailable, also when `target` is there already.
    """
    file = database_file(parse_url(url))
    if file is None:
        raise DatabaseUnavailable("only SQLite is copied here; for PostgreSQL use pg_dump")
    if not file.exists():
        raise DatabaseUnavailable(f"the database file {file} is not there")
    if target.exists():
        raise DatabaseUnavailable(f"{target} is there already: a backup never replaces another")
    with _translated(target):
        # mkstemp makes the file 0600.
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        aside = Path(name)
        try:
            version = _copy(file, aside)
            with aside.open("rb+") as stream:
                os.fsync(stream.fileno())
            aside.rename(target)
        finally:
            aside.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return Backup(target, version, target.stat().st_size)


def backup_name(url: str, *, now: datetime) -> Path:
    """A name beside the database that says its version and the time."""
    file = database_file(parse_url(url))
    if file is None:
        raise DatabaseUnavailable("only SQLite is copied here; for PostgreSQL use pg_dump")
    return file.with_name(f"{file.name}.{schema_version(url)}.{now:%Y%m%dT%H%M%SZ}.backup")


def _copy(file: Path, aside: Path) -> str | None:
    with (
        closing(
            sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as source,
        closing(sqlite3.connect(aside)) as copy,
    ):
        # All at once: in steps it would begin anew whenever the node writes.
        source.backup(copy, pages=-1)
        # One file, with no companions to forget.
        copy.execute("PRAGMA journal_mode = DELETE")
        found = [line for (line,) in copy.execute("PRAGMA integrity_check(5)")]
        if found != ["ok"]:
            raise DatabaseUnavailable(f"the copy of {file} is damaged: {found[0]}")
        (version,) = copy.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
    if version != schema_version(f"sqlite:///{file}"):
        raise DatabaseUnavailable(f"the copy of {file} has schema version {version}")
    return version


def _leases(url: str, now: datetime) -> int:
    database = Database(url)
    try:
        with database.read() as connection:
            # Columns that every version has.
            return sum(
                connection.execute(
                    select(func.count())
                    .select_from(table)
                    .where(table.c.lease_owner.is_not(None), table.c.lease_until > now)
                ).scalar_one()
                for table in (jobs, deliveries)
            )
    finally:
        database.close()


@contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DatabaseUnavailable(f"no backup at {target}: {error}") from error
