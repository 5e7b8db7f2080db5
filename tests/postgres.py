"""A real PostgreSQL server for tests: in a folder of its own, on a free port, ended at the end.

One server serves a whole test process. A test has a database to itself; the next one gets it
emptied.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from cadnode.storage.database import Database, upgrade
from tests.peers import READY_WITHIN, absent, free_port

_PROGRAMS = Path("/usr/lib/postgresql")
_USER = "postgres"

# What a test loses when the machine dies is no loss.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "autovacuum": "off",
    "deadlock_timeout": "100ms",
}

# Quicker than to make the tables again, or to truncate them; rules and triggers do not count.
_EMPTY_ALL_TABLES = """
DO $$ DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'
    LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', name); END LOOP;
END $$
"""


@dataclass
class PostgreSQL:
    """A server that listens on loopback and on a socket in its folder."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)
    _clean: list[Database] = field(default_factory=list)

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it answers."""
        options = {**_SETTINGS, **self.settings, "unix_socket_directories": str(self.folder)}
        command: list[str | Path] = [
            _program("postgres"),
            "-D",
            self.folder / "data",
            "-p",
            str(self.port),
        ]
        command += [f"--{key}={value}" for key, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = _run(command, self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN
        ready = [str(_program("pg_isready")), "-q", "-h", str(self.folder), "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as an administrator does who does not wait: its connections are cut."""
        for database in self._clean:
            database.close()
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
            self._process = None

    def url(self, name: str) -> str:
        """The URL of the database called `name`."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.folder}&port={self.port}"

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a new database without tables, dropped at the end."""
        name = f"empty{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def migrated(self) -> Iterator[Database]:
        """A database with the tables of the code and nothing in them; whoever has it leaves the
        schema as it is, and its connections open for the next."""
        database = self._clean.pop() if self._clean else self._new()
        yield database
        with database.write() as connection:
            connection.execute(text(_EMPTY_ALL_TABLES))
        self._clean.append(database)

    def _new(self) -> Database:
        name = f"test{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        upgrade(self.url(name))
        return Database(self.url(name))

    def ask(self, statement: str, *, database: str = "postgres") -> Sequence[Any]:
        """The rows that one statement gives, outside any transaction."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                answer = connection.execute(text(statement))
                return answer.all() if answer.returns_rows else ()
        finally:
            engine.dispose()


def name_of(url: str) -> str:
    """The name of the database of such a URL."""
    return url.partition("?")[0].rpartition("/")[2]


@contextmanager
def postgresql(**settings: str) -> Iterator[PostgreSQL]:
    """A server of its own, with `settings` besides those that suit every test."""
    # Not below pytest's folder, which only root may enter: the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="cadnode-postgres-"))
    try:
        if os.geteuid() == 0:
            account = _account()
            os.chown(folder, account.pw_uid, account.pw_gid)
        command: list[str | Path] = [
            _program("initdb"),
            "-D",
            folder / "data",
            "-U",
            _USER,
            "--auth=trust",
        ]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        initialized = _run(command, folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = initialized.communicate()
        if initialized.returncode:
            pytest.fail(f"initdb ended with {initialized.returncode}:\n{said.decode()}")
        server = PostgreSQL(folder, free_port(), settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_as_server(server: PostgreSQL, commands: str) -> None:
    """Shell commands as the server's administrator types them, in its folder."""
    shell = _run(
        ["sh", "-eu", "-c", commands],
        server.folder,
        env={
            "PATH": f"{_program('psql').parent}:{os.environ['PATH']}",
            "PGHOST": str(server.folder),
            "PGPORT": str(server.port),
            "PGUSER": _USER,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = shell.communicate(timeout=60)
    if shell.returncode:
        pytest.fail(f"{commands}\nended with {shell.returncode}:\n{said.decode()}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """The server of this test process."""
    with postgresql() as server:
        yield server


@pytest.fixture
def postgres_database(postgres: PostgreSQL) -> Iterator[Database]:
    """A database on that server with the tables of the code and nothing in them."""
    with postgres.migrated() as database:
        yield database


@pytest.fixture
def postgres_url(postgres_database: Database) -> str:
    """The URL of such a database; nothing in it has a password."""
    return postgres_database.name


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the tables of the code and nothing in them, on each engine."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_database")
        return
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    database = Database(url)
    yield database
    database.close()


def _program(name: str) -> Path:
    """Debian keeps the server's programs of each release in a folder of its own."""
    found = sorted(_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1]
    elsewhere = shutil.which(name)
    if elsewhere is None:
        absent(f"{name} is not installed: apt-get install postgresql")
    return Path(elsewhere)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        absent(f"there is no user {_USER}: apt-get install postgresql")


def _run(command: Sequence[str | Path], folder: Path, **streams: Any) -> subprocess.Popen[bytes]:
    """As a user that PostgreSQL agrees to run as: never root."""
    as_root = os.geteuid() == 0
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        user=_USER if as_root else None,
        group=_USER if as_root else None,
        extra_groups=[] if as_root else None,
        **streams,
    )
