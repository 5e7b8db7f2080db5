"""Everything that differs between SQLite and PostgreSQL, and nothing else.

The functions that give SQL are used by released migrations: add new ones, never change these.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select

BUSY_SECONDS = 15
"""How long a transaction waits for another process to let go of the database."""

WRITES = "cadnode_writes"
"""Execution option of the engine whose transactions change something."""


def database_file(url: URL) -> Path | None:
    """The file of a SQLite database; None for a server or a database in memory."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def make_engine(url: URL) -> Engine:
    """An engine whose commits are on disk when they return."""
    if url.get_backend_name() != "sqlite":
        return _make_server_engine(url)
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=56,
        # An error's text has none of the values, which may be a patient's.
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


# What the URL does not say otherwise. A server that is cut off is given up after half a minute, and
# so are we by the server: the locks of a machine that lost its power are free again.
_CONNECTING = {
    "application_name": "cadnode",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
    "options": " ".join(
        f"-c {setting}"
        for setting in (
            f"lock_timeout={BUSY_SECONDS}s",
            "idle_in_transaction_session_timeout=60s",
            # It would take longer to compile a question than to answer it.
            "jit=off",
            "tcp_keepalives_idle=10",
            "tcp_keepalives_interval=5",
            "tcp_keepalives_count=4",
        )
    ),
}

# `remote_apply` and the like promise more than `on`, and stay.
_KEEP_WHAT_IS_COMMITTED = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)


def _make_server_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        # A connection that was cut while it lay idle is made again, and nobody notices.
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=56,
        hide_parameters=True,
        connect_args={key: value for key, value in _CONNECTING.items() if key not in url.query},
    )
    event.listen(engine, "connect", _prepare_server)
    return engine


def reading(engine: Engine) -> Engine:
    """The same engine for transactions that see one state of the database and change nothing."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _prepare_server(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(_KEEP_WHAT_IS_COMMITTED)
    cursor.close()
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and too late: see _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for the lock, it can only fail:
    # those that will write take the lock at once.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def seconds_since(dialect: str, column: str) -> str:
    """SQL for the whole seconds from the time in `column` until now."""
    if dialect == "sqlite":
        return f"CAST(strftime('%s', 'now') - strftime('%s', {column}) AS INTEGER)"
    return f"CAST(EXTRACT(EPOCH FROM now() - {column}) AS INTEGER)"


def joined(dialect: str, column: str) -> str:
    """SQL aggregate: the values of `column` in one text."""
    if dialect == "sqlite":
        return f"group_concat({column}, ', ')"
    return f"string_agg({column}, ', ')"


def text_of(dialect: str, column: str) -> str:
    """SQL for a time as text, in UTC and whole seconds."""
    if dialect == "sqlite":
        return f"strftime('%Y-%m-%d %H:%M:%S UTC', {column})"
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'"


def append_only(dialect: str, table: str) -> list[str]:
    """Statements that make the database refuse to change or delete rows of `table`."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} only ever grows'); END"
            for change in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} only ever grows'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
    ]


def one_at_a_time(connection: Connection, what: str) -> None:
    """Wait until no other transaction does `what`; until this one ends, others wait for it.

    SQLite has one that writes at a time anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"cadnode {what}"))))


def server_time(connection: Connection) -> datetime | None:
    """What the server's clock says; None for SQLite, which has the clock of this machine."""
    if connection.dialect.name == "sqlite":
        return None
    time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return time


def erase_what_is_deleted(connection: Connection) -> None:
    """From now on SQLite overwrites what is deleted; PostgreSQL leaves that to VACUUM."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")


def empty_the_log(engine: Engine) -> None:
    """Bring SQLite's write-ahead log into the database file, as far as readers let it, and cut
    it off: it holds earlier states of pages."""
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.close()


def seconds_between(dialect: str, earlier: str, later: str) -> str:
    """SQL for the seconds, with fractions, from one time to another."""
    if dialect == "sqlite":
        return f"((julianday({later}) - julianday({earlier})) * 86400.0)"
    return f"CAST(EXTRACT(EPOCH FROM {later} - {earlier}) AS DOUBLE PRECISION)"
