"""Which processes of the node are there: each writes its own row, again and again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, insert, or_, select, update

from cadnode.core.processes import (
    FORGOTTEN_AFTER,
    SEEN_WITHIN,
    ProcessFacts,
    ProcessRecord,
)
from cadnode.storage.database import StorePart
from cadnode.storage.tables import processes


class BeatRecords(StorePart):
    """The part of the job database for heartbeats. Every call may raise DatabaseUnavailable."""

    def beat(self, record: ProcessRecord) -> None:
        """Write down that a process is there at `beat_at`.

        What an earlier process of the same name and host has left behind goes, and what nobody
        has heard of for a day.
        """
        now = record.beat_at
        row = processes.c.id == record.id
        values = {"beat_at": now, "facts": record.facts.as_json()}
        left_behind = and_(
            processes.c.id != record.id,
            or_(
                and_(
                    processes.c.name == record.name,
                    processes.c.host == record.host,
                    or_(
                        processes.c.beat_at < now - SEEN_WITHIN,
                        processes.c.beat_at > now + SEEN_WITHIN,
                    ),
                ),
                processes.c.beat_at < now - FORGOTTEN_AFTER,
            ),
        )
        with self._database.write() as connection:
            if not connection.execute(update(processes).where(row).values(values)).rowcount:
                connection.execute(
                    insert(processes).values(
                        id=record.id,
                        name=record.name,
                        host=record.host,
                        pid=record.pid,
                        started_at=record.started_at,
                        **values,
                    )
                )
        # Two processes that think each other dead must not wait for each other.
        gone = select(processes.c.id).where(left_behind).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            connection.execute(delete(processes).where(processes.c.id.in_(gone)))

    def end(self, process_id: str) -> None:
        """The process stops and is not missed."""
        with self._database.write() as connection:
            connection.execute(delete(processes).where(processes.c.id == process_id))

    def processes(self) -> Sequence[ProcessRecord]:
        """Every process that is there or was a short while ago, by name, the newest first."""
        statement = select(processes).order_by(processes.c.name, processes.c.started_at.desc())
        with self._database.read() as connection:
            return [
                ProcessRecord(
                    id=row.id,
                    name=row.name,
                    host=row.host,
                    pid=row.pid,
                    started_at=row.started_at,
                    beat_at=row.beat_at,
                    facts=ProcessFacts.from_json(row.facts),
                )
                for row in connection.execute(statement)
            ]
