"""The order in which transactions lock rows, so that no two ever wait for each other.

On PostgreSQL many transactions write at the same time. Each takes what it changes in this order:

1. one row of `destination_states`, `commitments` or `commitment_requests`, if it needs one;
2. rows of `jobs`, all it will need, by number;
3. rows of `images`, of exams that it holds;
4. rows of `deliveries`, by the number of their exam and their own.

A claim takes rows that nobody holds (SKIP LOCKED) and waits for none. SQLite lets one transaction
write at a time; there the locks mean nothing, and cost a look at an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, FromClause, Select, select

from cadnode.core.errors import NotFound
from cadnode.storage.rows import AnyRow
from cadnode.storage.tables import deliveries, jobs


def lock_exams(connection: Connection, which: ColumnElement[bool]) -> Sequence[AnyRow]:
    """The rows of some exams, by number, locked until the transaction ends."""
    return connection.execute(
        select(jobs).where(which).order_by(jobs.c.id).with_for_update(key_share=True)
    ).all()


def lock_revisions(connection: Connection, exam_id: int) -> Sequence[AnyRow]:
    """The rows of every revision of the study of an exam, the first one first, locked. Raises
    NotFound."""
    study = select(jobs.c.study_instance_uid).where(jobs.c.id == exam_id).scalar_subquery()
    rows = lock_exams(connection, jobs.c.study_instance_uid == study)
    if not rows:
        raise NotFound(f"there is no exam {exam_id}")
    return sorted(rows, key=lambda row: row.revision)


def lock_deliveries(connection: Connection, exam_id: int) -> None:
    """Lock every delivery of an exam, for a transaction that changes them one after the other."""
    connection.execute(_in_order(deliveries, deliveries.c.job_id == exam_id)).all()


def in_order(table: FromClause, which: ColumnElement[bool]) -> CTE:
    """The numbers of the rows to change, locked in order, for `UPDATE ... WHERE id IN`."""
    # A common table expression, for PostgreSQL may run a subquery once for each row.
    return _in_order(table, which).cte("locked")


def _in_order(table: FromClause, which: ColumnElement[bool]) -> Select[Any]:
    order = [table.c.id] if table is not deliveries else [table.c.job_id, table.c.id]
    return select(table.c.id).where(which).order_by(*order).with_for_update(key_share=True)
