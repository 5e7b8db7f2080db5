"""How a worker claims rows, the same for exams, deliveries, proofs and requests: look, then take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, update

from cadnode.storage.database import Database
from cadnode.storage.rows import AnyRow


def is_due(database: Database, table: Table, due: ColumnElement[bool]) -> bool:
    """Is there a row to claim? Mostly there is none, and whoever only looks holds up nobody."""
    with database.read() as connection:
        return connection.execute(select(table.c.id).where(due).limit(1)).first() is not None


def claim_rows(
    connection: Connection,
    table: Table,
    due: ColumnElement[bool],
    *,
    order: Sequence[ColumnElement[Any]],
    limit: int,
    values: Mapping[str, object],
) -> Sequence[AnyRow]:
    """At most `limit` rows that are due, first in `order`, with `values` written into them.

    Two workers never get the same row; the rows come in no particular order.
    """
    chosen = (
        select(table.c.id)
        .where(due)
        .order_by(*order, table.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        # PostgreSQL may run a subquery once for each row, and each time lock other rows.
        .cte("chosen")
    )
    return connection.execute(
        update(table).where(table.c.id.in_(select(chosen.c.id))).values(**values).returning(table)
    ).all()
