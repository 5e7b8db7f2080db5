"""The open job database: the SQL stores of the node over one connection pool."""

from __future__ import annotations

from dataclasses import dataclass

from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
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

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def open_store(url: str, *, create: bool, keep_identifiers: bool) -> Store:
    """The job database at `url`; see `App.open_store`."""
    if create:
        upgrade(url)
    database = Database(url)
    database.check()
    if create and not keep_identifiers:
        forget_identifiers(database)
    return Store(
        SqlExamStore(database),
        ExamRecords(database),
        database,
        LineRecords(database),
        SearchRecords(database),
    )
