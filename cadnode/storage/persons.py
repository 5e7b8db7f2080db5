"""The exam store for persons and for the end of the retention time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, exists, or_, select, update

from cadnode.core.errors import IllegalMove
from cadnode.core.exam import ImageState
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.reasons import Reason
from cadnode.storage.database import StorePart
from cadnode.storage.rows import AnyRow, check_move, job_row, log_event
from cadnode.storage.tables import deliveries, images, jobs, results

_RETENTION = "retention"
_PURGEABLE = (
    ExamStatus.DELIVERED,
    ExamStatus.COMMITTED,
    ExamStatus.SKIPPED,
    ExamStatus.CANCELLED,
)


class Persons(StorePart):
    """The part of the exam store for what a person decides, and for housekeeping."""

    def retry(self, exam_id: int, *, by: str, now: datetime) -> ExamStatus:
        """See ExamStore.retry.

        Raises IllegalMove when the exam is neither failed nor reported, or failed before it was reported and a
        newer revision has taken its images over. Images start again only when the exam goes back
        to `receiving`: a report that is written keeps what it says about them.
        """
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            if job.status == ExamStatus.REPORTED:
                _send_at_once(connection, exam_id, by, now)
                return ExamStatus.REPORTED
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
            connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.job_id == exam_id,
                    deliveries.c.status == DeliveryStatus.PENDING,
                )
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

    def purgeable(
        self, *, finished_before: datetime, limit: int
    ) -> Sequence[tuple[int, Sequence[str]]]:
        """See ExamStore.purgeable.

        The revisions of a study go from the newest to the oldest, because a revision refers to
        the images of those before it; an older one is named once the newer ones are purged.
        """
        later = jobs.alias("later")
        statement = (
            select(jobs.c.id)
            .where(
                jobs.c.status.in_(_PURGEABLE),
                jobs.c.finished_at < finished_before,
                # With no destination set up an exam is `delivered` to nobody: it stays.
                or_(
                    jobs.c.status != ExamStatus.DELIVERED,
                    exists().where(
                        deliveries.c.job_id == jobs.c.id,
                        deliveries.c.status.in_(
                            (DeliveryStatus.DELIVERED, DeliveryStatus.SUPERSEDED)
                        ),
                    ),
                ),
                ~exists().where(
                    and_(
                        later.c.study_instance_uid == jobs.c.study_instance_uid,
                        later.c.revision > jobs.c.revision,
                        later.c.status != ExamStatus.PURGED,
                    )
                ),
            )
            .order_by(jobs.c.finished_at, jobs.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                (exam_id, _files(connection, exam_id))
                for exam_id in connection.execute(statement).scalars().all()
            ]

    def mark_purged(self, exam_id: int, *, now: datetime) -> None:
        """See ExamStore.mark_purged. An exam already purged stays as it is."""
        with self._database.write() as connection:
            job = job_row(connection, exam_id)
            if job.status == ExamStatus.PURGED:
                return
            check_move(exam_id, ExamStatus(job.status), ExamStatus.PURGED)
            connection.execute(
                update(jobs).where(jobs.c.id == exam_id).values(status=ExamStatus.PURGED)
            )
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind=ExamStatus.PURGED,
                text="The retention time is over: the files were deleted, the rows stay.",
                actor=_RETENTION,
            )


def _refuse_when_taken_over(connection: Connection, job: AnyRow) -> None:
    newer = connection.execute(
        select(jobs.c.revision)
        .where(
            jobs.c.study_instance_uid == job.study_instance_uid,
            jobs.c.revision > job.revision,
            # A revision closed without a result of its own has taken nothing over.
            jobs.c.status.not_in((ExamStatus.CANCELLED, ExamStatus.SKIPPED)),
        )
        .order_by(jobs.c.revision)
    ).scalar()
    if newer is not None:
        raise IllegalMove(f"revision {newer} has taken the images of exam {job.id} over")


def _send_at_once(connection: Connection, exam_id: int, by: str, now: datetime) -> None:
    connection.execute(
        update(deliveries)
        .where(deliveries.c.job_id == exam_id, deliveries.c.status == DeliveryStatus.PENDING)
        .values(due_at=now)
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
    connection.execute(
        update(deliveries)
        .where(deliveries.c.job_id == exam_id, deliveries.c.status == DeliveryStatus.FAILED)
        .values(
            status=DeliveryStatus.PENDING,
            due_at=now,
            tries=0,
            first_try_at=None,
            error_code=None,
            error_text=None,
        )
    )


def _files(connection: Connection, exam_id: int) -> list[str]:
    kept = [
        connection.execute(
            select(table.c.path).where(table.c.job_id == exam_id).order_by(table.c.id)
        ).scalars()
        for table in (images, results)
    ]
    return [path for paths in kept for path in paths]
