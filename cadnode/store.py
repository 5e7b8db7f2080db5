"""The open job database: the SQL stores of the node over one connection pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cadnode.core.hints import Hints, NoHints
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.hinting import HintingExamStore
from cadnode.storage.identifiers import forget_identifiers
from cadnode.storage.line_records import LineRecords
from cadnode.storage.reading import ExamRecords
from cadnode.storage.search import SearchRecords


@dataclass(frozen=True, slots=True)
class Store:
    """The open job database; close it when done."""

    exams: SqlExamStore
    records: ExamRecords
    """The administrator's read side."""
    database: Database
    lines: LineRecords
    """Where results go, and what waits there."""
    search: SearchRecords
    hints: Hints
    """Told of every exam that has changed."""

    def close(self) -> None:
        """Close every connection."""
        self.hints.close()
        self.database.close()


def open_store(
    url: str,
    *,
    create: bool,
    keep_identifiers: bool,
    hints: Callable[[Database], Hints] | None = None,
) -> Store:
    """The job database at `url`; see `App.open_store`. `hints` makes whom it tells of changes."""
    if create:
        upgrade(url)
    database = Database(url)
    database.check()
    if create and not keep_identifiers:
        forget_identifiers(database)
    told = hints(database) if hints else NoHints()
    return Store(
        HintingExamStore(database, told) if hints else SqlExamStore(database),
        ExamRecords(database),
        database,
        LineRecords(database),
        SearchRecords(database),
        told,
    )
