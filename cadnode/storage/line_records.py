"""What an administrator asks about destinations: does it answer, and what waits for it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from cadnode.core.breaker import LineState, LineStatus
from cadnode.core.jobs import DeliveryStatus
from cadnode.storage.database import Database
from cadnode.storage.lines import line_of
from cadnode.storage.proofs import awaits_proof
from cadnode.storage.tables import deliveries, destination_states, results


@dataclass(frozen=True, slots=True)
class DestinationRecord:
    """One destination as the job database knows it."""

    name: str
    state: LineState
    since: datetime | None
    """When the state began; None for a destination never in trouble."""
    probe_at: datetime | None
    """When it is asked next; only while the line is open."""
    waiting: int
    """Result objects still to be sent there."""
    oldest: datetime | None
    """When the oldest of them was made."""
    failed: int
    """Result objects that could not be sent there; a person decides."""
    unproved: int
    """Result objects stored there that it has still to prove it holds."""
    delivered_at: datetime | None
    """When it last stored something."""
    last_error: str


class LineRecords:
    """The read side of the lines. Every call may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def destinations(self, names: Sequence[str]) -> Sequence[DestinationRecord]:
        """`names`, then every other destination for which something waits, failed or is to be proved."""
        with self._database.read() as connection:
            lines = {
                row.name: line_of(row) for row in connection.execute(select(destination_states))
            }
            there = _named(connection)
            known = dict.fromkeys([*names, *there])
            records = [_record(connection, name, lines.get(name, LineStatus())) for name in known]
        return [
            record
            for record in records
            if record.name in names or record.waiting or record.failed or record.unproved
        ]


def _named(connection: Connection) -> Sequence[str]:
    """Every destination that anything was ever meant for, one look at the index for each."""
    name, found = deliveries.c.destination, list[str]()
    statement = select(func.min(name))
    while (next_name := connection.execute(statement).scalar_one()) is not None:
        found.append(next_name)
        statement = select(func.min(name)).where(name > next_name)
    return found


def _record(connection: Connection, name: str, line: LineStatus) -> DestinationRecord:
    here = deliveries.c.destination == name
    # One question for each status, or the rows of the whole destination are read.
    counts = {
        status: connection.execute(
            select(func.count(), func.min(deliveries.c.id)).where(
                here, deliveries.c.status == status
            )
        ).one()
        for status in (DeliveryStatus.PENDING, DeliveryStatus.FAILED)
    }
    waiting, first = counts[DeliveryStatus.PENDING]
    unproved = select(func.count()).select_from(deliveries).where(here, awaits_proof())
    delivered = select(func.max(deliveries.c.delivered_at)).where(here)
    made = (
        select(results.c.created_at)
        .join(deliveries, deliveries.c.result_id == results.c.id)
        .where(deliveries.c.id == first)
    )
    return DestinationRecord(
        name=name,
        state=line.state,
        since=line.since,
        probe_at=line.probe_at,
        waiting=waiting,
        oldest=None if first is None else connection.execute(made).scalar_one(),
        failed=counts[DeliveryStatus.FAILED][0],
        unproved=connection.execute(unproved).scalar_one(),
        delivered_at=connection.execute(delivered).scalar_one(),
        last_error=line.error,
    )
