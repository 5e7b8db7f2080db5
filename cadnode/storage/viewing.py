"""What the page of one exam asks the job database beyond `reading`: its study as a whole."""

from __future__ import annotations

from sqlalchemy import Connection, select

from cadnode.core.errors import NotFound
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus
from cadnode.core.patch_map import PatchMap
from cadnode.core.records import Revision, StudyImage
from cadnode.storage.database import Database
from cadnode.storage.identifiers import identifiers_of
from cadnode.storage.patch_scores import kept_patch_map
from cadnode.storage.rows import AnyRow, exam_image, findings_of
from cadnode.storage.tables import images, jobs


class StudyRecords:
    """Every call may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def images(self, exam_id: int) -> tuple[StudyImage, ...]:
        """The images of an exam and of the earlier revisions of its study, in order of arrival.

        Findings are those of the last reading, whichever revision that was. Raises NotFound.
        """
        with self._database.read() as connection:
            return _study_images(connection, _job(connection, exam_id))

    def image(self, exam_id: int, image_id: int) -> StudyImage:
        """One of `images(exam_id)`. Raises NotFound."""
        with self._database.read() as connection:
            found = _study_images(connection, _job(connection, exam_id), image_id)
        if not found:
            raise NotFound(f"exam {exam_id} has no image {image_id}")
        return found[0]

    def revisions(self, exam_id: int) -> tuple[Revision, ...]:
        """The exams of the same study, this one too, the first revision first. Raises NotFound."""
        with self._database.read() as connection:
            study = _job(connection, exam_id).study_instance_uid
            rows = connection.execute(
                select(jobs.c.id, jobs.c.revision, jobs.c.status, jobs.c.created_at)
                .where(jobs.c.study_instance_uid == study)
                .order_by(jobs.c.revision)
            ).all()
        return tuple(
            Revision(row.id, row.revision, ExamStatus(row.status), row.created_at) for row in rows
        )

    def identifiers(self, exam_id: int) -> ExamIdentifiers:
        """What the exam can be looked for by, as far as it is kept."""
        with self._database.read() as connection:
            return identifiers_of(connection, exam_id)

    def patch_map(self, image_id: int) -> PatchMap | None:
        """See ExamStore.patch_map."""
        with self._database.read() as connection:
            return kept_patch_map(connection, image_id)


def _job(connection: Connection, exam_id: int) -> AnyRow:
    row = connection.execute(select(jobs).where(jobs.c.id == exam_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no exam {exam_id}")
    return row


def _study_images(
    connection: Connection, job: AnyRow, image_id: int | None = None
) -> tuple[StudyImage, ...]:
    statement = (
        select(images, jobs.c.revision, jobs.c.status.label("exam_status"))
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(
            jobs.c.study_instance_uid == job.study_instance_uid,
            jobs.c.revision <= job.revision,
        )
        .order_by(images.c.id)
    )
    if image_id is not None:
        statement = statement.where(images.c.id == image_id)
    rows = connection.execute(statement).all()
    found = findings_of(connection, [row.id for row in rows])
    return tuple(
        StudyImage(
            exam_id=row.job_id,
            image=exam_image(row, found[row.id]),
            purged=row.exam_status == ExamStatus.PURGED,
        )
        for row in rows
    )
