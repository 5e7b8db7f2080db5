"""The exam store for persons and for the end of the retention time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from cadnode.core.breaker import LineState
from cadnode.core.errors import IllegalMove
from cadnode.core.exam import ImageState
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.reasons import Reason
from cadnode.core.retention import Purgeable
from cadnode.storage.database import StorePart
from cadnode.storage.patch_scores import purge_patch_maps
from cadnode.storage.proofs import ask_at_once, exam_awaits_proof, give_up_proofs, has_delivery
from cadnode.storage.row_locks import in_order, lock_deliveries, lock_revisions
from cadnode.storage.rows import IS_KEPT, AnyRow, check_move, job_row, log_event
from cadnode.storage.tables import (
    deliveries,
    destination_states,
    images,
    jobs,
    replaced_images,
    results,
)

_RETENTION = "retention"
_MOST_NAMED = 500
"""Values in one IN (...): databases have limits."""
_WITH_FILES = (images, replaced_images, results)
_PURGEABLE = (
    ExamStatus.DELIVERED,
    ExamStatus.COMMITTED,
    ExamStatus.SKIPPED,
    ExamStatus.CANCELLED,
    ExamStatus.SUPERSEDED,
)

_NEEDED = sorted(set(ExamStatus).difference(_PURGEABLE))

_WITHOUT_RESULT = (ExamStatus.CANCELLED, ExamStatus.SKIPPED, ExamStatus.PURGED)


class Persons(StorePart):
    """The part of the exam store for what a person decides, and for housekeeping."""

    def retry(self, exam_id: int, *, by: str, now: datetime) -> ExamStatus:
        """See ExamStore.retry.

        Raises IllegalMove when the exam is neither failed nor reported nor waits for a proof, or
        failed before it was reported and a newer revision has taken its images over. Images start
        again only when the exam goes back to `receiving`: a report that is written keeps what it
        says about them.
        """
        with self._database.write() as connection:
            _probe_at_once(connection, exam_id, now)
            lock_revisions(connection, exam_id)
            job = job_row(connection, exam_id)
            if job.status == ExamStatus.REPORTED:
                _send_at_once(connection, exam_id, by, now)
                return ExamStatus.REPORTED
            if job.status == ExamStatus.DELIVERED and ask_at_once(connection, exam_id, by, now):
                return ExamStatus.DELIVERED
            if job.status != ExamStatus.FAILED:
                raise IllegalMove(
                    f"exam {exam_id} is {job.status}: there is nothing to start again"
                )
            to = ExamStatus(job.failed_from)
            if to is not ExamStatus.REPORTED:
                _refuse_when_taken_over(connection, job)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == exam_id)
                .values(
                    status=to,
                    due_at=now,
                    tries=0,
                    failed_from=None,
                    error_code=None,
                    error_text=None,
                )
            )
            if to is ExamStatus.RECEIVING:
                _restart_images(connection, job)
            _restart_deliveries(connection, exam_id, now)
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind="retry",
                text=f"The failed exam was started again as {to}.",
                actor=by,
            )
            return to

    def cancel(self, exam_id: int, *, why: str, by: str, now: datetime) -> None:
        """See ExamStore.cancel. Raises IllegalMove for an exam that is finished."""
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            lock_deliveries(connection, exam_id)
            if give_up_proofs(connection, exam_id, why, by, now) and (
                job.status == ExamStatus.DELIVERED
            ):
                return
            check_move(exam_id, ExamStatus(job.status), ExamStatus.CANCELLED)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == exam_id)
                .values(
                    status=ExamStatus.CANCELLED,
                    finished_at=now,
                    lease_owner=None,
                    lease_until=None,
                    failed_from=None,
                )
            )
            unsent = in_order(
                deliveries,
                and_(
                    deliveries.c.job_id == exam_id,
                    deliveries.c.status.in_((DeliveryStatus.PENDING, DeliveryStatus.FAILED)),
                ),
            )
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(select(unsent.c.id)))
                .values(status=DeliveryStatus.CANCELLED, lease_owner=None, lease_until=None)
            )
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind=ExamStatus.CANCELLED,
                text=f"The exam was given up: {why}.",
                actor=by,
            )

    def purgeable(self, *, finished_before: datetime, limit: int) -> Sequence[Purgeable]:
        """See ExamStore.purgeable.

        The revisions of a study go from the newest to the oldest, because a revision refers to
        the images of those before it; an older one is named once the newer ones are purged.
        """
        statement = (
            select(jobs.c.id, jobs.c.study_instance_uid, jobs.c.finished_at)
            .where(IS_KEPT, jobs.c.finished_at < finished_before, _may_be_purged())
            .order_by(jobs.c.finished_at, jobs.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            found = connection.execute(statement).all()
            sizes = _sizes(connection, [row.id for row in found])
        return [
            Purgeable(row.id, row.study_instance_uid, row.finished_at, sizes[row.id])
            for row in found
        ]

    def mark_purged(self, exam_id: int, *, now: datetime) -> Sequence[str]:
        """See ExamStore.mark_purged."""
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            if job.status == ExamStatus.PURGED:
                return ()
            check_move(exam_id, ExamStatus(job.status), ExamStatus.PURGED)
            purged = connection.execute(
                update(jobs)
                .where(jobs.c.id == exam_id, _may_be_purged())
                .values(status=ExamStatus.PURGED)
            )
            if not purged.rowcount:
                raise IllegalMove(f"somebody still needs the files of exam {exam_id}")
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind=ExamStatus.PURGED,
                text="The retention is over: the files are deleted, the rows stay.",
                actor=_RETENTION,
            )
            purge_patch_maps(connection, exam_id)
            return _files(connection, exam_id)


def _may_be_purged() -> ColumnElement[bool]:
    later = jobs.alias("later")
    return and_(
        # Said the other way round SQLite would take the index of all exams in a status.
        jobs.c.status.not_in(_NEEDED),
        ~exam_awaits_proof(),
        # With no destination set up an exam is `delivered` to nobody: it stays.
        or_(
            jobs.c.status != ExamStatus.DELIVERED,
            has_delivery(deliveries.c.status == DeliveryStatus.DELIVERED),
        ),
        select(later.c.id)
        .where(
            later.c.study_instance_uid == jobs.c.study_instance_uid,
            later.c.revision > jobs.c.revision,
            later.c.status != ExamStatus.PURGED,
        )
        .limit(1)
        .scalar_subquery()
        .is_(None),
    )


def _refuse_when_taken_over(connection: Connection, job: AnyRow) -> None:
    newer = connection.execute(
        select(jobs.c.revision)
        .where(
            jobs.c.study_instance_uid == job.study_instance_uid,
            jobs.c.revision > job.revision,
            # A revision closed without a result of its own has taken nothing over, unless bytes
            # were replaced in it. (One with a result has superseded this one.)
            or_(jobs.c.status.not_in(_WITHOUT_RESULT), jobs.c.renews),
        )
        .order_by(jobs.c.revision)
    ).scalar()
    if newer is not None:
        raise IllegalMove(f"revision {newer} has taken the images of exam {job.id} over")


def _probe_at_once(connection: Connection, exam_id: int, now: datetime) -> None:
    """A person who says "again" knows that the destination is back, or wants to know."""
    concerned = select(deliveries.c.destination).where(deliveries.c.job_id == exam_id)
    open_lines = (
        select(destination_states.c.name)
        .where(
            destination_states.c.name.in_(concerned), destination_states.c.state == LineState.OPEN
        )
        .order_by(destination_states.c.name)
        .with_for_update(key_share=True)
        .cte("open_lines")
    )
    connection.execute(
        update(destination_states)
        .where(destination_states.c.name.in_(select(open_lines.c.name)))
        .values(probe_at=now)
    )


def _send_at_once(connection: Connection, exam_id: int, by: str, now: datetime) -> None:
    pending = in_order(
        deliveries,
        and_(deliveries.c.job_id == exam_id, deliveries.c.status == DeliveryStatus.PENDING),
    )
    connection.execute(
        update(deliveries).where(deliveries.c.id.in_(select(pending.c.id))).values(due_at=now)
    )
    log_event(
        connection,
        job_id=exam_id,
        at=now,
        kind="retry",
        text="What is still to be delivered was made due at once.",
        actor=by,
    )


def _restart_images(connection: Connection, job: AnyRow) -> None:
    of_this_exam = select(jobs.c.id).where(
        jobs.c.study_instance_uid == job.study_instance_uid, jobs.c.revision <= job.revision
    )
    connection.execute(
        update(images)
        .where(
            images.c.job_id.in_(of_this_exam),
            images.c.state == ImageState.FAILED,
            images.c.reason == Reason.WORKER_LOST.code,
        )
        .values(state=ImageState.RECEIVED, tries=0, reason=None, detail="")
    )


def _restart_deliveries(connection: Connection, exam_id: int, now: datetime) -> None:
    failed = in_order(
        deliveries,
        and_(deliveries.c.job_id == exam_id, deliveries.c.status == DeliveryStatus.FAILED),
    )
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(failed.c.id)))
        .values(
            status=DeliveryStatus.PENDING,
            due_at=now,
            tries=0,
            first_try_at=None,
            error_code=None,
            error_text=None,
            proof_failures=0,
        )
    )


def _sizes(connection: Connection, exam_ids: Sequence[int]) -> Counter[int]:
    """The bytes of the files of each exam."""
    sizes = Counter[int]()
    for begin in range(0, len(exam_ids), _MOST_NAMED):
        some = exam_ids[begin : begin + _MOST_NAMED]
        for table in _WITH_FILES:
            statement = (
                select(table.c.job_id, func.sum(table.c.size))
                .where(table.c.job_id.in_(some))
                .group_by(table.c.job_id)
            )
            for exam_id, size in connection.execute(statement):
                sizes[exam_id] += int(size)
    return sizes


def _files(connection: Connection, exam_id: int) -> list[str]:
    """The paths that rows of this exam name, and no row of one that is not purged."""
    return [
        path
        for table in _WITH_FILES
        for path in connection.execute(
            select(table.c.path).where(table.c.job_id == exam_id).order_by(table.c.id)
        ).scalars()
        if not _is_needed(connection, path)
    ]


def _is_needed(connection: Connection, path: str) -> bool:
    return any(
        connection.execute(
            select(table.c.id)
            .join(jobs, jobs.c.id == table.c.job_id)
            .where(table.c.path == path, jobs.c.status != ExamStatus.PURGED)
            .limit(1)
        ).first()
        for table in (images, replaced_images)
    )
