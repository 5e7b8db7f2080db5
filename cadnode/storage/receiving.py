"""The exam store for the receiver: one transaction between an image on disk and its answer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import DatabaseUnavailable, InstanceConflict
from cadnode.core.exam import ImageState
from cadnode.core.jobs import Acceptance, DeliveryStatus, ExamStatus, NewImage, Priority
from cadnode.core.reasons import Reason
from cadnode.storage.database import StorePart
from cadnode.storage.identifiers import note_identifiers
from cadnode.storage.patch_scores import replace_patch_map
from cadnode.storage.reporting import supersede_unreported
from cadnode.storage.row_locks import lock_revisions
from cadnode.storage.rows import AnyRow, log_event
from cadnode.storage.tables import deliveries, findings, images, jobs, replaced_images

_ACTOR = "receiver"


class Receiving(StorePart):
    """The part of the exam store that takes images in."""

    def accept(self, image: NewImage, *, now: datetime) -> Acceptance:
        """See ExamStore.accept. Raises DatabaseUnavailable."""
        try:
            return self._accept(image, now)
        except IntegrityError:
            # Another receiver committed the same instance, or the same revision, at this moment:
            # now its row can be seen.
            try:
                return self._accept(image, now)
            except IntegrityError as error:
                raise DatabaseUnavailable(
                    f"image {image.sop_instance_uid} clashed with others twice"
                ) from error

    def _accept(self, image: NewImage, now: datetime) -> Acceptance:
        with self._database.write() as connection:
            return _accept(connection, image, now)


def _accept(connection: Connection, image: NewImage, now: datetime) -> Acceptance:
    kept = _kept(connection, image)
    if kept is not None:
        lock_revisions(connection, kept.job_id)
        # It may have gone over to another exam before the lock.
        kept = _kept(connection, image)
    if kept is None:
        exam = _open_exam(connection, image, now) or _new_exam(connection, image, now)
        connection.execute(insert(images).values(_values(exam, image, now)))
        note_identifiers(connection, exam.id, exam.created_at, image.identifiers)
        _log(connection, exam.id, image, now, "image-received", "was received from {} and kept")
        return Acceptance.NEW
    purged = kept.exam_status == ExamStatus.PURGED
    if kept.study_instance_uid != image.study_instance_uid:
        return _refuse(connection, kept, image, now)
    if kept.sha256 != image.sha256:
        return _replace(connection, kept, image, now)
    if not purged:
        happened = "came again from {} with the same bytes; nothing changed"
        _log(connection, kept.job_id, image, now, "image-received-again", happened)
        return Acceptance.SAME
    # The answer "the same" would leave the file that has just been kept without an exam.
    returned = _was_delivered(connection, image.study_instance_uid)
    exam = _take_over(connection, kept, image, now, returned=returned)
    happened = "came again from {} after it was purged, with the same bytes"
    _log(connection, exam.id, image, now, "image-returned", happened)
    return Acceptance.NEW


def _kept(connection: Connection, image: NewImage) -> AnyRow | None:
    return connection.execute(
        select(
            images,
            jobs.c.status.label("exam_status"),
            jobs.c.study_instance_uid,
        )
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(images.c.sop_instance_uid == image.sop_instance_uid)
    ).one_or_none()


def _replace(connection: Connection, kept: AnyRow, image: NewImage, now: datetime) -> Acceptance:
    if kept.exam_status != ExamStatus.PURGED:
        connection.execute(
            insert(replaced_images).values(
                job_id=kept.job_id,
                sop_instance_uid=kept.sop_instance_uid,
                path=kept.path,
                size=kept.size,
                sha256=kept.sha256,
                calling_ae=kept.calling_ae,
                received_at=kept.received_at,
                replaced_at=now,
            )
        )
    # Bytes that were replaced before and come back are in use again.
    connection.execute(delete(replaced_images).where(replaced_images.c.path == image.path))
    exam = _take_over(connection, kept, image, now)
    connection.execute(update(jobs).where(jobs.c.id == exam.id).values(renews=True))
    _judge_again(connection, image.study_instance_uid)
    happened = f"came again from {{}} with other bytes: revision {exam.revision} reads the new ones"
    for job_id in sorted({kept.job_id, exam.id}):
        _log(connection, job_id, image, now, "image-replaced", happened, code=InstanceConflict.code)
    _end_unreported(connection, exam, now)
    return Acceptance.CHANGED


def _take_over(
    connection: Connection,
    kept: AnyRow,
    image: NewImage,
    now: datetime,
    *,
    returned: bool = False,
) -> AnyRow:
    """Make the row of an image kept before one of the open exam, as if it had just come."""
    # It leaves its exam first, so that an exam that keeps it counts it once.
    connection.execute(
        update(jobs).where(jobs.c.id == kept.job_id).values(image_count=jobs.c.image_count - 1)
    )
    exam = _open_exam(connection, image, now) or _new_exam(connection, image, now)
    connection.execute(delete(findings).where(findings.c.image_id == kept.id))
    replace_patch_map(connection, kept.id, None)
    values = _values(exam, image, now) | {"returned": returned}
    connection.execute(update(images).where(images.c.id == kept.id).values(values))
    # What the exam is found by comes from its first image.
    instead = kept.job_id == exam.id and kept.id == _first_image(connection, exam.id)
    note_identifiers(connection, exam.id, exam.created_at, image.identifiers, instead=instead)
    return exam


def _first_image(connection: Connection, exam_id: int) -> int:
    statement = select(func.min(images.c.id)).where(images.c.job_id == exam_id)
    return int(connection.execute(statement).scalar_one())


def _end_unreported(connection: Connection, exam: AnyRow, now: datetime) -> None:
    """A closed exam not yet reported would report bytes that are no longer there."""
    closed = connection.execute(
        select(jobs)
        .where(
            jobs.c.study_instance_uid == exam.study_instance_uid,
            jobs.c.status == ExamStatus.ANALYZED,
        )
        .order_by(jobs.c.revision.desc())
    ).all()
    for row in closed:
        supersede_unreported(
            connection, row, by=exam.id, revision=exam.revision, at=now, actor=_ACTOR
        )


def _judge_again(connection: Connection, study_instance_uid: str) -> None:
    """An image set aside for what another one was may be set aside no longer."""
    of_study = select(jobs.c.id).where(jobs.c.study_instance_uid == study_instance_uid)
    connection.execute(
        update(images)
        .where(
            images.c.job_id.in_(of_study),
            images.c.reason.in_((Reason.PRESENTATION_PREFERRED.code, Reason.PATIENT_DIFFERS.code)),
        )
        .values(state=ImageState.RECEIVED, tries=0, reason=None, detail="")
    )


def _was_delivered(connection: Connection, study_instance_uid: str) -> bool:
    statement = (
        select(deliveries.c.id)
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .where(
            jobs.c.study_instance_uid == study_instance_uid,
            deliveries.c.status == DeliveryStatus.DELIVERED,
        )
        .limit(1)
    )
    return connection.execute(statement).first() is not None


def _refuse(connection: Connection, kept: AnyRow, image: NewImage, now: datetime) -> Acceptance:
    happened = "came again from {} in another study; refused"
    _log(
        connection,
        kept.job_id,
        image,
        now,
        "image-conflict",
        happened,
        code=InstanceConflict.code,
    )
    return Acceptance.CONFLICT


def _log(
    connection: Connection,
    job_id: int,
    image: NewImage,
    now: datetime,
    kind: str,
    happened: str,
    *,
    code: str | None = None,
) -> None:
    log_event(
        connection,
        job_id=job_id,
        subject_uid=image.sop_instance_uid,
        at=now,
        kind=kind,
        code=code,
        text=f"Image {image.sop_instance_uid} {happened.format(image.calling_ae)}.",
        actor=_ACTOR,
    )


def _values(exam: AnyRow, image: NewImage, now: datetime) -> dict[str, object]:
    """The row of an image that nothing but its arrival is known of."""
    return {
        "job_id": exam.id,
        "sop_instance_uid": image.sop_instance_uid,
        "sop_class_uid": image.sop_class_uid,
        "series_instance_uid": image.series_instance_uid,
        "transfer_syntax_uid": image.transfer_syntax_uid,
        "path": image.path,
        "size": image.size,
        "sha256": image.sha256,
        "calling_ae": image.calling_ae,
        "received_at": now,
        "state": ImageState.RECEIVED,
        "tries": 0,
        "reason": None,
        "detail": "",
        "laterality": None,
        "view": None,
        "intent": None,
        "source_uids": [],
        "rows": None,
        "columns": None,
        "model": None,
        "analyzed_at": None,
        "returned": False,
    }


def _open_exam(connection: Connection, image: NewImage, now: datetime) -> AnyRow | None:
    newest = (
        select(jobs.c.id)
        .where(
            jobs.c.study_instance_uid == image.study_instance_uid,
            jobs.c.status == ExamStatus.RECEIVING,
        )
        .order_by(jobs.c.revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    return connection.execute(
        update(jobs)
        .where(jobs.c.id == newest, jobs.c.status == ExamStatus.RECEIVING)
        .values(image_count=jobs.c.image_count + 1, last_image_at=now, due_at=now)
        .returning(jobs)
    ).one_or_none()


def _new_exam(connection: Connection, image: NewImage, now: datetime) -> AnyRow:
    last = connection.execute(
        select(jobs.c.revision, jobs.c.priority)
        .where(jobs.c.study_instance_uid == image.study_instance_uid)
        .order_by(jobs.c.revision.desc())
        .limit(1)
    ).one_or_none()
    exam = connection.execute(
        insert(jobs)
        .values(
            study_instance_uid=image.study_instance_uid,
            revision=1 if last is None else last.revision + 1,
            status=ExamStatus.RECEIVING,
            calling_ae=image.calling_ae,
            image_count=1,
            created_at=now,
            last_image_at=now,
            due_at=now,
            tries=0,
            priority=Priority.NORMAL if last is None else last.priority,
        )
        .returning(jobs)
    ).one()
    log_event(
        connection,
        job_id=exam.id,
        at=now,
        kind="receiving",
        text=(
            "The first image of the study came: a new exam."
            if exam.revision == 1
            else f"A further image of the study came: revision {exam.revision} of the exam."
        ),
        actor=_ACTOR,
    )
    return exam
