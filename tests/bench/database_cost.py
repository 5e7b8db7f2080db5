"""What one exam costs in the job database: its transactions and the time in them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from sqlalchemy import Connection

from cadnode import log
from cadnode.core.uids import derive_uid
from cadnode.storage.database import Database
from cadnode.store import open_store
from tests.postgres import postgresql
from tests.unit.bench import Bench

EXAMS = 50
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""As a site has it: the servers of tests do without."""


@dataclass(frozen=True)
class DatabaseCost:
    """Of one exam of four images, from the first one received to its last delivery recorded."""

    name: str
    transactions: float
    """That write."""
    seconds: float
    """In them and in those that read."""


def on_sqlite() -> DatabaseCost:
    """With the database in a file."""
    with tempfile.TemporaryDirectory() as folder:
        return _measured("SQLite", f"sqlite:///{folder}/cadnode.db")


def on_postgresql() -> Iterator[DatabaseCost]:
    """With a server of its own on this machine; none where PostgreSQL is not installed."""
    with postgresql(**DURABLE) as server, server.empty() as url:
        yield _measured("PostgreSQL", url)


def _measured(name: str, url: str) -> DatabaseCost:
    watch = _Watch()
    log.configure("error", "console")
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(url, create=True, keep_identifiers=True)) as store,
    ):
        bench = Bench(Path(folder))
        bench.store = store.exams  # type: ignore[assignment]
        bench.pipeline._store = store.exams
        with watch.watching():
            for number in range(EXAMS):
                for view in ("RCC", "LCC", "RMLO", "LMLO"):
                    study = derive_uid("database cost", str(number))
                    bench.send(f"{number} {view}", view, study_instance_uid=study)
                    bench.analyze()
                bench.deliver()
    return DatabaseCost(name, watch.writes / EXAMS, watch.seconds / EXAMS)


class _Watch:
    """Counts and times every transaction while its block runs."""

    def __init__(self) -> None:
        self.writes = 0
        self.seconds = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        read, write = Database.read, Database.write

        @contextmanager
        def timed_read(database: Database) -> Iterator[Connection]:
            with self._timed(), read(database) as connection:
                yield connection

        @contextmanager
        def timed_write(database: Database) -> Iterator[Connection]:
            self.writes += 1
            with self._timed(), write(database) as connection:
                yield connection

        with (
            mock.patch.object(Database, "read", timed_read),
            mock.patch.object(Database, "write", timed_write),
        ):
            yield

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
