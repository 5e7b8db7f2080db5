"""The exam store for a person who wants finished exams sent again, or some exams before others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from cadnode.core.errors import IllegalMove
from cadnode.core.jobs import FINISHED, DeliveryStatus, ExamStatus, Priority
from cadnode.storage.database import StorePart
from cadnode.storage.proofs import FRESH
from cadnode.storage.row_locks import in_order, lock_deliveries
from cadnode.storage.rows import AnyRow, check_move, job_row, log_event
from cadnode.storage.tables import commitment_items, deliveries, jobs, results

_SENT = frozenset({ExamStatus.DELIVERED, ExamStatus.COMMITTED})


class Resending(StorePart):
    """The part of the exam store for what is sent again and what goes first."""

    def resend(
        self,
        exam_id: int,
        destinations: Mapping[str, Sequence[str]],
        *,
        by: str,
        now: datetime,
    ) -> int:
        """See ExamStore.resend."""
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            _refuse(job)
            check_move(exam_id, ExamStatus(job.status), ExamStatus.REPORTED)
            stored = connection.execute(
                select(results).where(results.c.job_id == exam_id).order_by(results.c.id)
            ).all()
            due = [
                (result.id, name)
                for result in stored
                for name, kinds in destinations.items()
                if result.kind in kinds
            ]
            if not due:
                raise IllegalMove(
                    f"exam {exam_id} has no result object for {', '.join(destinations) or 'nobody'}"
                )
            lock_deliveries(connection, exam_id)
            for result_id, name in due:
                _send(connection, job, result_id, name, now)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == exam_id)
                .values(status=ExamStatus.REPORTED, finished_at=None, due_at=now)
            )
            named = ", ".join(dict.fromkeys(name for _, name in due))
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind="resend",
                text=f"Its result objects were asked to be sent to {named} again.",
                actor=by,
            )
            return len(due)

    def set_priority(self, exam_id: int, to: Priority, *, by: str, now: datetime) -> None:
        """See ExamStore.set_priority."""
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            if job.status in FINISHED:
                raise IllegalMove(f"exam {exam_id} is {job.status}: nothing of it waits")
            if job.priority == to:
                return
            connection.execute(update(jobs).where(jobs.c.id == exam_id).values(priority=to))
            its = in_order(deliveries, deliveries.c.job_id == exam_id)
            connection.execute(
                update(deliveries).where(deliveries.c.id.in_(select(its.c.id))).values(priority=to)
            )
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind="priority",
                text=f"The priority of the exam is {to.name.lower()} now.",
                actor=by,
            )


def send_again(connection: Connection, delivery_id: int, now: datetime) -> None:
    """Make one delivery due as if it had never been sent."""
    # What was asked before the next delivery says nothing about it.
    connection.execute(
        delete(commitment_items).where(commitment_items.c.delivery_id == delivery_id)
    )
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(
            **FRESH,
            status=DeliveryStatus.PENDING,
            due_at=now,
            tries=0,
            first_try_at=None,
            delivered_at=None,
            error_code=None,
            error_text=None,
            lease_owner=None,
            lease_until=None,
        )
    )


def _refuse(job: AnyRow) -> None:
    if job.superseded_by is not None:
        raise IllegalMove(
            f"exam {job.superseded_by} has taken the place of exam {job.id}: send that one again"
        )
    if job.status not in _SENT:
        raise IllegalMove(f"exam {job.id} is {job.status}: only what was delivered is sent again")


def _send(
    connection: Connection, job: AnyRow, result_id: int, destination: str, now: datetime
) -> None:
    known = connection.execute(
        select(deliveries.c.id).where(
            deliveries.c.result_id == result_id, deliveries.c.destination == destination
        )
    ).scalar_one_or_none()
    if known is not None:
        connection.execute(
            update(deliveries).where(deliveries.c.id == known).values(proof_failures=0)
        )
        send_again(connection, known, now)
        return
    connection.execute(
        insert(deliveries).values(
            job_id=job.id,
            result_id=result_id,
            destination=destination,
            status=DeliveryStatus.PENDING,
            due_at=now,
            tries=0,
            attempts=0,
            priority=job.priority,
        )
    )
