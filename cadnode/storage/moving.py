"""Everything that one job database holds, copied into another: the way from SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.processes import SEEN_WITHIN
from cadnode.storage.beats import BeatRecords
from cadnode.storage.database import Database, upgrade
from cadnode.storage.schema import schema_state
from cadnode.storage.tables import jobs, metadata

_AT_ONCE = 2_000
"""Rows."""


def copy_all(source_url: str, target_url: str, *, now: datetime) -> int:
    """Copy every row into an empty database, whose tables are made where they are missing; all in
    one transaction. Returns how many exams there are.

    Raises DatabaseUnavailable while a process of the node runs on the source, and for a target that
    holds anything.
    """
    state = schema_state(source_url, now=now)
    if state.version != state.wanted:
        raise DatabaseUnavailable(
            f"the database {state.database} has schema version {state.version or 'none'}:"
            " cadnode db upgrade first"
        )
    if state.leases:
        raise DatabaseUnavailable(
            f"a process is working on the database {state.database} ({state.leases} leases): stop"
            " `cadnode serve` first, and wait for the end of its leases"
        )
    source, target = Database(source_url), Database(target_url)
    try:
        # A process with nothing to do holds no lease; what a receiver took in the meantime would be
        # acknowledged and left behind.
        _refuse_while_running(source, now)
        upgrade(target_url)
        with source.read() as reading, target.write() as writing:
            _refuse_unless_empty(writing, target.name)
            for table in metadata.sorted_tables:
                _copy(reading, writing, table)
            return int(writing.execute(select(func.count()).select_from(jobs)).scalar_one())
    finally:
        source.close()
        target.close()


def _refuse_while_running(source: Database, now: datetime) -> None:
    for process in BeatRecords(source).processes():
        if process.is_seen(now):
            raise DatabaseUnavailable(
                f"`cadnode {process.label}` on {process.host} runs on the database {source.name}:"
                f" stop the node everywhere first (one that was killed is gone after"
                f" {SEEN_WITHIN.total_seconds():.0f} s)"
            )


def _refuse_unless_empty(connection: Connection, name: str) -> None:
    for table in metadata.sorted_tables:
        if connection.execute(select(literal_column("1")).select_from(table).limit(1)).first():
            raise DatabaseUnavailable(
                f"the database {name} is not empty: {table.name} has rows; name one that is"
            )


def _copy(reading: Connection, writing: Connection, table: Table) -> None:
    later: list[dict[str, int]] = []
    rows = reading.execution_options(yield_per=_AT_ONCE).execute(
        select(table).order_by(*table.primary_key)
    )
    for some in rows.mappings().partitions():
        values = [dict(row) for row in some]
        if table is jobs:
            later += [
                {"exam": row["id"], "newer": row["superseded_by"]}
                for row in values
                if row["superseded_by"] is not None
            ]
            values = [row | {"superseded_by": None} for row in values]
        writing.execute(insert(table), values)
    # A newer exam has the higher number: it is not there yet when the older one is copied.
    if later:
        writing.execute(
            update(jobs)
            .where(jobs.c.id == bindparam("exam"))
            .values(superseded_by=bindparam("newer")),
            later,
        )
    _go_on_counting(writing, table)


def _go_on_counting(connection: Connection, table: Table) -> None:
    """New rows get numbers after those that were copied; SQLite does so by itself."""
    keys: Sequence[Any] = list(table.primary_key)
    if connection.dialect.name == "sqlite" or [key.name for key in keys] != ["id"]:
        return
    if keys[0].type.python_type is not int or keys[0].foreign_keys:
        return
    highest = select(func.max(keys[0])).scalar_subquery()
    connection.execute(
        select(func.setval(func.pg_get_serial_sequence(table.name, "id"), highest)).where(
            highest.is_not(None)
        )
    )
