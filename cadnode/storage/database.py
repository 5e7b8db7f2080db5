"""The job database: opening it, its transactions, and its schema version."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cadnode.core.errors import DatabaseUnavailable
from cadnode.storage.dialect import (
    BUSY_SECONDS,
    WRITES,
    database_file,
    empty_the_log,
    make_engine,
    one_at_a_time,
    reading,
    server_time,
)

MIGRATIONS = Path(__file__).parent / "migrations"

_NOT_ALLOWED = "42501"
"""PostgreSQL's word for a user that lacks a right."""


class Database:
    """An open job database, for use by any number of threads of one process."""

    def __init__(self, url: str) -> None:
        """Open lazily: nothing is read yet. Raises DatabaseUnavailable for a URL nobody knows."""
        self._url = parse_url(url)
        self._engine = _engine(self._url)
        self._reading_engine = reading(self._engine)
        self._writing_engine = self._engine.execution_options(**{WRITES: True})
        # SQLite has one writer at a time and lets the others poll; waiting here is fair and quick.
        single_writer = self._url.get_backend_name() == "sqlite"
        self._turn = threading.Lock() if single_writer else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._translated(), self._reading_engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, or undone when it raises."""
        with self._own_turn(), self._translated(), self._writing_engine.begin() as connection:
            yield connection

    def check(self) -> None:
        """Raise DatabaseUnavailable unless the database can be read and has the right schema."""
        file = database_file(self._url)
        if file is not None and not file.exists():
            raise DatabaseUnavailable(
                f"the database file {file} is not there; the node makes it at its first start"
            )
        with self.read() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        wanted = wanted_version()
        if found != wanted:
            has = f"has schema version {found}" if found else "has no tables yet"
            raise DatabaseUnavailable(
                f"the database {self.name} {has}, this program needs version {wanted}: "
                f"upgrade the {'program' if _is_newer(found) else 'database (cadnode db upgrade)'}"
            )

    def ahead_by(self, clock: Callable[[], datetime]) -> timedelta | None:
        """How far `clock` is ahead of that of the server, to some milliseconds; None for a file."""
        with self.read() as connection:
            # The first question may wait for a connection.
            server_time(connection)
            before, there, after = clock(), server_time(connection), clock()
            return None if there is None else before + (after - before) / 2 - there

    def empty_the_log(self) -> None:
        """Leave no earlier state of a row in the log of a SQLite database."""
        with self._translated():
            empty_the_log(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @property
    def name(self) -> str:
        """The URL without its passwords."""
        return shown_url(self._url)

    @property
    def files(self) -> Sequence[Path]:
        """The file of a SQLite database and the two that come and go with it; none of a server."""
        file = database_file(self._url)
        if file is None:
            return ()
        return (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")))

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise DatabaseUnavailable(f"the database {self.name} is busy")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ProgrammingError as error:
            # With no statement it came while connecting: of a parameter of the URL.
            if error.statement is not None and getattr(error.orig, "sqlstate", "") != _NOT_ALLOWED:
                raise
            raise self._unavailable(error) from error
        except (IntegrityError, DataError):
            raise
        except DBAPIError as error:
            raise self._unavailable(error) from error
        except PoolTimeoutError as error:
            raise DatabaseUnavailable(f"the database {self.name} is busy") from error

    def _unavailable(self, error: DBAPIError) -> DatabaseUnavailable:
        return DatabaseUnavailable(f"the database {self.name}: {_in_one_line(error.orig)}")


class StorePart:
    """What the parts of the exam store have in common: the database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def upgrade(url: str) -> None:
    """Bring the database to the schema this program needs, making a SQLite file where none is.

    All in one transaction; nothing happens to a database that is there already. Raises
    DatabaseUnavailable for one that a newer program has made.
    """
    _make_file(parse_url(url))
    database = Database(url)
    try:
        with database.write() as connection:
            # Several machines may start at once.
            one_at_a_time(connection, "upgrade")
            found = MigrationContext.configure(connection).get_current_revision()
            if _is_newer(found):
                raise DatabaseUnavailable(
                    f"the database {database.name} has schema version {found}, which this program "
                    f"does not know (it needs {wanted_version()}): upgrade the program"
                )
            command.upgrade(alembic_config(connection), "head")
    finally:
        database.close()


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to run the migrations over an open transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def schema_version(url: str) -> str | None:
    """The schema version of the database; None for an empty one."""
    file = database_file(parse_url(url))
    if file is not None and not file.exists():
        return None
    database = Database(url)
    try:
        with database.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.close()


def wanted_version() -> str:
    """The schema version this program needs."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise DatabaseUnavailable("the program was installed without its database migrations")
    return head


def _is_newer(found: str | None) -> bool:
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    return found is not None and found not in known


def wait_for_server(
    url: str, *, pause: Callable[[], bool], say: Callable[[DatabaseUnavailable], None]
) -> None:
    """Come back when the database server answers, or at once for a file.

    After each try that fails `say` gets the reason, and `pause` says whether to go on. Raises
    DatabaseUnavailable when not.
    """
    while database_file(parse_url(url)) is None:
        try:
            schema_version(url)
        except DatabaseUnavailable as error:
            say(error)
            if not pause():
                raise
        else:
            return


def parse_url(url: str) -> URL:
    """The parts of a database URL. Raises DatabaseUnavailable for one that cannot be read."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The error names what it took for the port, which may be a part of the password.
        raise DatabaseUnavailable(
            "the database URL cannot be read: a @, : or / in its password is written %40, %3A, %2F"
        ) from None


def shown_url(url: URL) -> str:
    """The URL without its passwords: PostgreSQL takes them among the parameters too."""
    public = {
        key: "hidden" if "password" in key.lower() else value for key, value in url.query.items()
    }
    shown = url.set(query={}).render_as_string(hide_password=True)
    # As they are written in the settings: slashes of file names are not escaped there.
    return f"{shown}?{urlencode(public, doseq=True, safe='/:@')}" if public else shown


def _engine(url: URL) -> Engine:
    try:
        return make_engine(url)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        extra = " (pip install 'cadnode[postgresql]')" if "psycopg" in url.drivername else ""
        raise DatabaseUnavailable(f"no driver for {url.drivername} is installed{extra}") from error


def _in_one_line(error: BaseException | None) -> str:
    """What the database said; PostgreSQL adds lines that quote the statement."""
    return " ".join(str(error).partition("\nLINE ")[0].split())


def _make_file(url: URL) -> None:
    file = database_file(url)
    if file is None or file.exists():
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError as error:
        raise DatabaseUnavailable(f"the database file {file} cannot be made: {error}") from error
