"""What `cadnode fsck --repair` does: only what can lose nothing and needs no decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select, update

from cadnode.core.consistency import Discrepancy, Kind
from cadnode.core.errors import NotFound
from cadnode.core.file_ports import NodeFiles
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.storage.database import Database
from cadnode.storage.reading import ExamRecords
from cadnode.storage.reporting import settle
from cadnode.storage.resending import send_again
from cadnode.storage.rows import job_row, log_event
from cadnode.storage.tables import deliveries, jobs, results

_ACTOR = "fsck"
_DELIVERED = (ExamStatus.DELIVERED, ExamStatus.COMMITTED, ExamStatus.REPORTED)


class Repair:
    """The repairs. Each looks again before it changes anything."""

    def __init__(self, database: Database, spool: NodeFiles, *, now: datetime) -> None:
        self._database = database
        self._spool = spool
        self._now = now

    def all(self, found: Sequence[Discrepancy]) -> Mapping[Discrepancy, str]:
        """Mend what can be mended; says of each what was done."""
        ways: dict[Kind, Callable[[Discrepancy], str | None]] = {
            Kind.FILE_PARTIAL: self._remove_partial,
            Kind.FILE_UNKNOWN: self._remove_unknown,
            Kind.PERMISSIONS: self._close_to_others,
            Kind.NOTHING_PENDING: self._move_on,
            Kind.END_MISSING: self._end_now,
            Kind.ARCHIVE_LACKS: self._send_again,
        }
        done = {item: ways[item.kind](item) for item in found if item.kind in ways}
        return {item: said for item, said in done.items() if said is not None}

    def _remove_partial(self, item: Discrepancy) -> str:
        self._spool.remove(item.subject)
        return "the file was removed"

    def _remove_unknown(self, item: Discrepancy) -> str | None:
        with self._spool.clearing_path(item.subject) as is_ours:
            if not is_ours or not ExamRecords(self._database).unknown_paths([item.subject]):
                return None
            self._spool.remove(item.subject)
        return "the file was removed"

    def _close_to_others(self, item: Discrepancy) -> str:
        self._spool.close_to_others(item.subject)
        return "only the node's own user may read it now"

    def _move_on(self, item: Discrepancy) -> str | None:
        with self._database.write() as connection:
            job = job_row(connection, _exam(item))
            settle(connection, job, at=self._now, why="its deliveries have ended", actor=_ACTOR)
            after = job_row(connection, job.id).status
        return None if after == job.status else f"the exam is {after}"

    def _end_now(self, item: Discrepancy) -> str:
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == _exam(item), jobs.c.finished_at.is_(None))
                .values(finished_at=self._now)
            )
        return "its retention time begins now"

    def _send_again(self, item: Discrepancy) -> str | None:
        destination = item.detail.rpartition(" at ")[2]
        with self._database.read() as connection:
            path = connection.execute(
                select(results.c.path).where(results.c.sop_instance_uid == item.subject)
            ).scalar_one_or_none()
        # Before the transaction: an object store may take its time.
        if path is None or self._spool.size_of(path) is None:
            return None
        with self._database.write() as connection:
            job = job_row(connection, _exam(item))
            if job.status not in _DELIVERED or job.superseded_by is not None:
                return None
            if not _wait_again(connection, item.subject, destination, self._now):
                return None
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id)
                .values(status=ExamStatus.REPORTED, finished_at=None, due_at=self._now)
            )
            log_event(
                connection,
                job_id=job.id,
                subject_uid=item.subject,
                at=self._now,
                kind="retry",
                text=f"{destination} does not hold result object {item.subject}: sent again.",
                actor=_ACTOR,
            )
        return "it will be sent again"


def _exam(item: Discrepancy) -> int:
    if item.exam_id is None:
        raise NotFound(f"{item.subject} belongs to no exam")
    return item.exam_id


def _wait_again(
    connection: Connection, sop_instance_uid: str, destination: str, now: datetime
) -> bool:
    """True when the destination had stored the object, which is now to be sent there again."""
    delivery = connection.execute(
        select(deliveries.c.id)
        .join(results, results.c.id == deliveries.c.result_id)
        .where(
            results.c.sop_instance_uid == sop_instance_uid,
            deliveries.c.destination == destination,
            deliveries.c.status == DeliveryStatus.DELIVERED,
        )
    ).scalar_one_or_none()
    if delivery is None:
        return False
    send_again(connection, delivery, now)
    return True
