"""The job database as an ExamStore: the parts, each with its callers, in one object."""

from __future__ import annotations

from cadnode.storage.analysis import Analysis
from cadnode.storage.delivery import Delivering
from cadnode.storage.persons import Persons
from cadnode.storage.receiving import Receiving
from cadnode.storage.reporting import Reporting


class SqlExamStore(Receiving, Analysis, Reporting, Delivering, Persons):
    """The ExamStore (see `core.ports`) on a SQL database.

    Safe to share between threads. Every call may raise DatabaseUnavailable; then nothing has
    changed.
    """
