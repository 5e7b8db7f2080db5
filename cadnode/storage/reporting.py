"""The exam store where a closed exam becomes result objects, and what that does to older ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import IllegalMove
from cadnode.core.exam import DocumentReference
from cadnode.core.jobs import (
    ANALYSIS_LANE,
    DeliveryStatus,
    Exam,
    ExamStatus,
    StoredResult,
    status_after_deliveries,
)
from cadnode.storage.database import StorePart
from cadnode.storage.rows import AnyRow, check_move, free_delivery, held_row, log_event
from cadnode.storage.tables import deliveries, jobs, results


class Reporting(StorePart):
    """The part of the exam store that writes down results and withdraws superseded ones."""

    def supersede(self, exam: Exam, *, now: datetime) -> Sequence[DocumentReference]:
        """See ExamStore.supersede.

        Deliveries never claimed are withdrawn; an earlier revision not yet reported ends as
        cancelled. What is returned comes from the newest earlier revision that sent anything.
        """
        with self._database.write() as connection:
            held_row(connection, exam)
            earlier = connection.execute(
                select(jobs)
                .where(
                    jobs.c.study_instance_uid == exam.study_instance_uid,
                    jobs.c.revision < exam.revision,
                )
                .order_by(jobs.c.revision.desc())
                .with_for_update()
            ).all()
            for row in earlier:
                if row.status in ANALYSIS_LANE:
                    _cancel_unreported(connection, row, exam, now)
                elif row.status == ExamStatus.REPORTED:
                    _withdraw_unsent(connection, row, exam, now)
                connection.execute(
                    update(jobs).where(jobs.c.id == row.id).values(superseded_by=exam.id)
                )
            for row in earlier:
                sent = _sent(connection, row)
                if sent:
                    return sent
            return ()

    def record_results(
        self,
        exam: Exam,
        results: Sequence[StoredResult],
        destinations: Mapping[str, Sequence[str]],
        *,
        now: datetime,
    ) -> None:
        """See ExamStore.record_results."""
        check_move(exam.id, exam.status, ExamStatus.REPORTED)
        try:
            with self._database.write() as connection:
                held_row(connection, exam)
                due = _insert_results(connection, exam, results, destinations, now)
                _report(connection, exam, len(results), due, now)
        except IntegrityError as error:
            raise IllegalMove(f"a result object of exam {exam.id} is already recorded") from error


def settle(connection: Connection, job: AnyRow, *, at: datetime, why: str, actor: str) -> None:
    """Move a reported exam on when none of its deliveries is pending any more.

    `job` is its row, locked; `why` ends the sentence of the event.
    """
    if job.status != ExamStatus.REPORTED:
        return
    rows = connection.execute(
        select(deliveries).where(deliveries.c.job_id == job.id).order_by(deliveries.c.id)
    ).all()
    to = status_after_deliveries(DeliveryStatus(row.status) for row in rows)
    if to is None:
        return
    failed = next((row for row in rows if row.status == DeliveryStatus.FAILED), None)
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(
            status=to,
            finished_at=at if failed is None else None,
            failed_from=None if failed is None else ExamStatus.REPORTED,
            error_code=None if failed is None else failed.error_code,
            error_text=None
            if failed is None
            else f"delivery to {failed.destination}: {failed.error_text}",
        )
    )
    log_event(
        connection,
        job_id=job.id,
        at=at,
        kind=to,
        code=None if failed is None else failed.error_code,
        text=f"The exam is {to}: {why}.",
        actor=actor,
    )


def _cancel_unreported(connection: Connection, row: AnyRow, exam: Exam, now: datetime) -> None:
    connection.execute(
        update(jobs)
        .where(jobs.c.id == row.id)
        .values(
            status=ExamStatus.CANCELLED,
            finished_at=now,
            lease_owner=None,
            lease_until=None,
        )
    )
    log_event(
        connection,
        job_id=row.id,
        at=now,
        kind=ExamStatus.CANCELLED,
        text=f"The exam was superseded by revision {exam.revision} before it was reported.",
        actor=exam.owner,
    )


def _withdraw_unsent(connection: Connection, row: AnyRow, exam: Exam, now: datetime) -> None:
    withdrawn = connection.execute(
        update(deliveries)
        .where(deliveries.c.job_id == row.id, deliveries.c.attempts == 0, free_delivery(now))
        .values(status=DeliveryStatus.SUPERSEDED)
        .returning(deliveries.c.id)
    ).all()
    if not withdrawn:
        return
    log_event(
        connection,
        job_id=row.id,
        at=now,
        kind="superseded",
        text=(
            f"Deliveries not yet begun ({len(withdrawn)}) were withdrawn: "
            f"superseded by revision {exam.revision}."
        ),
        actor=exam.owner,
    )
    settle(
        connection,
        row,
        at=now,
        why=f"nothing is left to send, superseded by revision {exam.revision}",
        actor=exam.owner,
    )


def _sent(connection: Connection, row: AnyRow) -> tuple[DocumentReference, ...]:
    begun = select(deliveries.c.result_id).where(
        deliveries.c.job_id == row.id, deliveries.c.attempts > 0
    )
    rows = connection.execute(select(results).where(results.c.id.in_(begun)).order_by(results.c.id))
    return tuple(
        DocumentReference(
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=result.series_instance_uid,
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            kind=result.kind,
        )
        for result in rows
    )


def _insert_results(
    connection: Connection,
    exam: Exam,
    items: Sequence[StoredResult],
    destinations: Mapping[str, Sequence[str]],
    now: datetime,
) -> int:
    due = 0
    for item in items:
        result_id = connection.execute(
            insert(results)
            .values(
                job_id=exam.id,
                kind=item.kind,
                sop_class_uid=item.sop_class_uid,
                sop_instance_uid=item.sop_instance_uid,
                series_instance_uid=item.series_instance_uid,
                path=item.path,
                sha256=item.sha256,
                size=item.size,
                created_at=now,
            )
            .returning(results.c.id)
        ).scalar_one()
        log_event(
            connection,
            job_id=exam.id,
            subject_uid=item.sop_instance_uid,
            at=now,
            kind="result-written",
            text=f"Result object {item.sop_instance_uid} ({item.kind}) was written.",
            actor=exam.owner,
        )
        wanted = [name for name, kinds in destinations.items() if item.kind in kinds]
        for name in wanted:
            connection.execute(
                insert(deliveries).values(
                    job_id=exam.id,
                    result_id=result_id,
                    destination=name,
                    status=DeliveryStatus.PENDING,
                    due_at=now,
                    tries=0,
                    attempts=0,
                )
            )
        due += len(wanted)
    return due


def _report(connection: Connection, exam: Exam, written: int, due: int, now: datetime) -> None:
    job = connection.execute(
        update(jobs)
        .where(jobs.c.id == exam.id)
        .values(
            status=ExamStatus.REPORTED,
            due_at=now,
            lease_owner=None,
            lease_until=None,
            tries=0,
            error_code=None,
            error_text=None,
        )
        .returning(jobs)
    ).one()
    log_event(
        connection,
        job_id=exam.id,
        at=now,
        kind=ExamStatus.REPORTED,
        text=f"Result objects on disk: {written}; deliveries due: {due}.",
        actor=exam.owner,
    )
    settle(connection, job, at=now, why="no destination wants its objects", actor=exam.owner)
