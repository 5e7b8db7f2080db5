"""The exam store where a closed exam becomes result objects, and what that does to older ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import IllegalMove, StaleExam
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
from cadnode.storage.proofs import settle_proofs
from cadnode.storage.row_locks import in_order, lock_exams, lock_revisions
from cadnode.storage.rows import AnyRow, check_move, free_delivery, held_row, log_event
from cadnode.storage.tables import deliveries, jobs, results

_REPORTED_ONCE = frozenset(
    {
        ExamStatus.REPORTED,
        ExamStatus.FAILED,
        ExamStatus.DELIVERED,
        ExamStatus.COMMITTED,
        ExamStatus.PURGED,
    }
)


class Reporting(StorePart):
    """The part of the exam store that writes down results and withdraws superseded ones."""

    def predecessors(self, exam: Exam) -> Sequence[DocumentReference]:
        """See ExamStore.predecessors."""
        with self._database.read() as connection:
            return _predecessors(connection, exam)

    def record_results(
        self,
        exam: Exam,
        results: Sequence[StoredResult],
        destinations: Mapping[str, Sequence[str]],
        *,
        predecessors: Sequence[DocumentReference] = (),
        now: datetime,
    ) -> None:
        """See ExamStore.record_results."""
        check_move(exam.id, exam.status, ExamStatus.REPORTED)
        try:
            with self._database.write() as connection:
                lock_revisions(connection, exam.id)
                held_row(connection, exam)
                if tuple(predecessors) != _predecessors(connection, exam):
                    raise StaleExam(f"an earlier revision of exam {exam.id} was sent meanwhile")
                _supersede_earlier(connection, exam, now)
                due = _insert_results(connection, exam, results, destinations, now)
                _report(connection, exam, len(results), due, now)
        except IntegrityError as error:
            raise IllegalMove(f"a result object of exam {exam.id} is already recorded") from error


def settle(connection: Connection, job: AnyRow, *, at: datetime, why: str, actor: str) -> None:
    """Move a reported exam on when none of its deliveries is pending any more.

    Also one that failed in delivery, when what failed is not wanted any more. `job` is its row,
    locked; `why` ends the sentence of the event.
    """
    failed_sending = job.status == ExamStatus.FAILED and job.failed_from == ExamStatus.REPORTED
    if job.status != ExamStatus.REPORTED and not failed_sending:
        return
    rows = connection.execute(
        select(deliveries).where(deliveries.c.job_id == job.id).order_by(deliveries.c.id)
    ).all()
    to = status_after_deliveries(DeliveryStatus(row.status) for row in rows)
    if to is None or to == job.status:
        return
    failed = next((row for row in rows if row.status == DeliveryStatus.FAILED), None)
    stored = [row.delivered_at for row in rows if row.status == DeliveryStatus.DELIVERED]
    # When it was first delivered: an object that has to be stored again does not count.
    first = job.delivered_at or (max(stored) if stored else None)
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(
            status=to,
            finished_at=at if failed is None else None,
            delivered_at=first if to == ExamStatus.DELIVERED else job.delivered_at,
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
    settle_proofs(connection, job.id, at=at, actor=actor)


def supersede_unreported(
    connection: Connection, row: AnyRow, *, by: int, revision: int, at: datetime, actor: str
) -> None:
    """End an exam that was not reported: exam `by`, of a newer `revision`, has its images."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == row.id)
        .values(
            status=ExamStatus.SUPERSEDED,
            finished_at=at,
            lease_owner=None,
            lease_until=None,
            failed_from=None,
            superseded_by=by,
        )
    )
    log_event(
        connection,
        job_id=row.id,
        at=at,
        kind=ExamStatus.SUPERSEDED,
        text=f"The exam was superseded by revision {revision} before it was reported.",
        actor=actor,
    )


def withdraw_superseded(connection: Connection, which: ColumnElement[bool], now: datetime) -> None:
    """Withdraw what was on its way when a newer revision was reported, and came back unsent."""
    superseded = and_(
        jobs.c.superseded_by.is_not(None),
        jobs.c.id.in_(select(deliveries.c.job_id).where(which)),
    )
    for job in lock_exams(connection, superseded):
        withdraw(connection, job, which, at=now, actor="delivery")


def withdraw(
    connection: Connection, job: AnyRow, which: ColumnElement[bool], *, at: datetime, actor: str
) -> None:
    """Withdraw those deliveries of a superseded exam, and move it on when none is left."""
    chosen = in_order(deliveries, and_(deliveries.c.job_id == job.id, which))
    withdrawn = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(chosen.c.id)))
        .values(status=DeliveryStatus.SUPERSEDED, lease_owner=None, lease_until=None)
        .returning(deliveries.c.id)
    ).all()
    if not withdrawn:
        return
    log_event(
        connection,
        job_id=job.id,
        at=at,
        kind="withdrawn",
        text=(
            f"Deliveries not done ({len(withdrawn)}) were withdrawn: "
            "a newer revision of the exam is reported."
        ),
        actor=actor,
    )
    settle(
        connection,
        job,
        at=at,
        why="nothing is left to send, a newer revision takes its place",
        actor=actor,
    )


def _supersede_earlier(connection: Connection, exam: Exam, now: datetime) -> None:
    for row in _earlier(connection, exam):
        unreported = row.status in ANALYSIS_LANE or (
            row.status == ExamStatus.FAILED and row.failed_from in ANALYSIS_LANE
        )
        if unreported:
            supersede_unreported(
                connection, row, by=exam.id, revision=exam.revision, at=now, actor=exam.owner
            )
            continue
        if row.superseded_by is None and row.status in _REPORTED_ONCE:
            log_event(
                connection,
                job_id=row.id,
                at=now,
                kind="results-superseded",
                text=f"Its results are superseded by those of revision {exam.revision}.",
                actor=exam.owner,
            )
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(superseded_by=exam.id))
        # What is on its way goes on: it may be stored by now.
        idle = or_(free_delivery(now), deliveries.c.status == DeliveryStatus.FAILED)
        withdraw(connection, row, idle, at=now, actor=exam.owner)


def _earlier(connection: Connection, exam: Exam) -> Sequence[AnyRow]:
    return connection.execute(
        select(jobs)
        .where(
            jobs.c.study_instance_uid == exam.study_instance_uid,
            jobs.c.revision < exam.revision,
        )
        .order_by(jobs.c.revision.desc())
    ).all()


def _predecessors(connection: Connection, exam: Exam) -> tuple[DocumentReference, ...]:
    for row in _earlier(connection, exam):
        sent = _sent(connection, row)
        if sent:
            return sent
    return ()


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
        priority = select(jobs.c.priority).where(jobs.c.id == exam.id).scalar_subquery()
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
                    priority=priority,
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
