"""The job database as an ExamStore: the parts, each with its callers, in one object."""

from __future__ import annotations

from cadnode.storage.analysis import Analysis
from cadnode.storage.committing import Committing
from cadnode.storage.delivery import Delivering
from cadnode.storage.lines import Lines
from cadnode.storage.persons import Persons
from cadnode.storage.proving import Proving
from cadnode.storage.receiving import Receiving
from cadnode.storage.renewal import Renewal
from cadnode.storage.reporting import Reporting
from cadnode.storage.resending import Resending


class SqlExamStore(
    Receiving,
    Analysis,
    Reporting,
    Delivering,
    Proving,
    Committing,
    Lines,
    Renewal,
    Resending,
    Persons,
):
    """The ExamStore (see `core.ports`) on a SQL database.

    Safe to share between threads. Every call may raise DatabaseUnavailable; then nothing has
    changed.
    """
