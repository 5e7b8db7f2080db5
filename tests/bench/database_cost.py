"""What one exam costs in the job database: its transactions and the time in them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
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
    """Of `scarce`."""
    scarce: str
    """What there is one of: the writer of SQLite, a core of the server."""


def on_sqlite() -> DatabaseCost:
    """With the database in a file."""
    with tempfile.TemporaryDirectory() as folder:
        watch = _exams(f"sqlite:///{folder}/cadnode.db")
    return DatabaseCost("SQLite", watch.writes / EXAMS, watch.seconds / EXAMS, "its only writer")


def on_postgresql() -> Iterator[DatabaseCost]:
    """With a server of its own on this machine; none where PostgreSQL is not installed."""
    try:
        with postgresql(**DURABLE) as server, server.empty() as url:
            before = server_seconds(server.folder)
            watch = _exams(url)
            used = server_seconds(server.folder) - before
    except pytest.skip.Exception:
        return
    yield DatabaseCost("PostgreSQL", watch.writes / EXAMS, used / EXAMS, "a core of the server")


def server_seconds(folder: Path) -> float:
    """The core seconds of a PostgreSQL server so far: its own, those of processes that have ended
    and of those that run."""
    first = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    ticks = sum(_stat(first)[11:15])
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = _stat(int(process.name))
            if fields[1] == first:
                ticks += sum(fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[int]:
    """The fields of /proc/PID/stat from the third on; the state, a letter, as 0."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


def _exams(url: str) -> _Watch:
    """What was counted while `EXAMS` exams went their way."""
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
    return watch


class _Watch:
    """Counts and times every transaction that writes while its block runs."""

    def __init__(self) -> None:
        self.writes = 0
        self.seconds = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        write = Database.write

        @contextmanager
        def timed_write(database: Database) -> Iterator[Connection]:
            self.writes += 1
            with self._timed(), write(database) as connection:
                yield connection

        with mock.patch.object(Database, "write", timed_write):
            yield

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
