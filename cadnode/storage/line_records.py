"""What an administrator asks about destinations: does it answer, and what waits for it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

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
    last_error: str


class LineRecords:
    """The read side of the lines. Every call may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def destinations(self, names: Sequence[str]) -> Sequence[DestinationRecord]:
        """`names`, then every other destination for which something waits, failed or is to be proved."""
        counts = (
            select(
                deliveries.c.destination,
                deliveries.c.status,
                func.count().label("objects"),
                func.min(results.c.created_at, type_=results.c.created_at.type).label("oldest"),
            )
            .join(results, results.c.id == deliveries.c.result_id)
            .where(deliveries.c.status.in_((DeliveryStatus.PENDING, DeliveryStatus.FAILED)))
            .group_by(deliveries.c.destination, deliveries.c.status)
            .order_by(deliveries.c.destination)
        )
        open_proofs = (
            select(deliveries.c.destination, func.count().label("objects"))
            .where(awaits_proof())
            .group_by(deliveries.c.destination)
            .order_by(deliveries.c.destination)
        )
        with self._database.read() as connection:
            lines = {
                row.name: line_of(row) for row in connection.execute(select(destination_states))
            }
            found = {
                (row.destination, row.status): (row.objects, row.oldest)
                for row in connection.execute(counts)
            }
            unproved = {row.destination: row.objects for row in connection.execute(open_proofs)}
        known = dict.fromkeys([*names, *(name for name, _ in found), *unproved])
        records = []
        for name in known:
            line = lines.get(name, LineStatus())
            waiting, oldest = found.get((name, DeliveryStatus.PENDING), (0, None))
            records.append(
                DestinationRecord(
                    name=name,
                    state=line.state,
                    since=line.since,
                    probe_at=line.probe_at,
                    waiting=waiting,
                    oldest=oldest,
                    failed=found.get((name, DeliveryStatus.FAILED), (0, None))[0],
                    unproved=unproved.get(name, 0),
                    last_error=line.error,
                )
            )
        return records
