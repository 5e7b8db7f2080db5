"""The exam store for the receiver: one transaction between an image on disk and its answer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import DatabaseUnavailable, InstanceConflict
from cadnode.core.exam import ImageState
from cadnode.core.jobs import Acceptance, ExamStatus, NewImage
from cadnode.storage.database import StorePart
from cadnode.storage.rows import AnyRow, log_event
from cadnode.storage.tables import findings, images, jobs

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
    kept = connection.execute(
        select(images, jobs.c.status.label("exam_status"))
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(images.c.sop_instance_uid == image.sop_instance_uid)
    ).one_or_none()
    if kept is not None and not _is_back(kept, image):
        return _compare(connection, kept, image, now)
    exam = _open_exam(connection, image, now) or _new_exam(connection, image, now)
    values = _values(exam, image, now)
    if kept is None:
        connection.execute(insert(images).values(values))
    else:
        connection.execute(delete(findings).where(findings.c.image_id == kept.id))
        connection.execute(update(images).where(images.c.id == kept.id).values(values))
    log_event(
        connection,
        job_id=exam.id,
        subject_uid=image.sop_instance_uid,
        at=now,
        kind="image-received",
        text=f"Image {image.sop_instance_uid} was received from {image.calling_ae} and kept.",
        actor=_ACTOR,
    )
    return Acceptance.NEW


def _is_back(kept: AnyRow, image: NewImage) -> bool:
    """The same bytes after their retention time: the answer "the same" would keep them unread,
    and for ever."""
    return bool(kept.exam_status == ExamStatus.PURGED and kept.sha256 == image.sha256)


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
    }


def _compare(connection: Connection, kept: AnyRow, image: NewImage, now: datetime) -> Acceptance:
    same = kept.sha256 == image.sha256
    log_event(
        connection,
        job_id=kept.job_id,
        subject_uid=image.sop_instance_uid,
        at=now,
        kind="image-received-again" if same else "image-conflict",
        code=None if same else InstanceConflict.code,
        text=(
            f"Image {image.sop_instance_uid} came again from {image.calling_ae} "
            + ("with the same bytes; nothing changed." if same else "with other bytes; refused.")
        ),
        actor=_ACTOR,
    )
    return Acceptance.SAME if same else Acceptance.CONFLICT


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
        select(func.max(jobs.c.revision)).where(
            jobs.c.study_instance_uid == image.study_instance_uid
        )
    ).scalar_one()
    exam = connection.execute(
        insert(jobs)
        .values(
            study_instance_uid=image.study_instance_uid,
            revision=(last or 0) + 1,
            status=ExamStatus.RECEIVING,
            calling_ae=image.calling_ae,
            image_count=1,
            created_at=now,
            last_image_at=now,
            due_at=now,
            tries=0,
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
