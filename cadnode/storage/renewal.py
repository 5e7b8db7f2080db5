"""The exam store for a person who wants an exam read again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import IllegalMove
from cadnode.core.exam import ImageState
from cadnode.core.jobs import ANALYSIS_LANE, ExamStatus
from cadnode.storage.database import StorePart
from cadnode.storage.identifiers import identifiers_of, note_identifiers
from cadnode.storage.row_locks import lock_revisions
from cadnode.storage.rows import AnyRow, log_event
from cadnode.storage.tables import images, jobs


class Renewal(StorePart):
    """The part of the exam store that begins a revision without a new image."""

    def reanalyze(self, exam_id: int, *, by: str, now: datetime) -> int:
        """See ExamStore.reanalyze."""
        try:
            return self._reanalyze(exam_id, by, now)
        except IntegrityError as error:
            # Only where others may write at the same moment: PostgreSQL.
            raise IllegalMove(
                f"an image of the study of exam {exam_id} came at this moment: try again"
            ) from error

    def _reanalyze(self, exam_id: int, by: str, now: datetime) -> int:
        with self._database.write() as connection:
            newest = lock_revisions(connection, exam_id)[::-1]
            _refuse(connection, newest)
            exam = connection.execute(
                insert(jobs)
                .values(
                    study_instance_uid=newest[0].study_instance_uid,
                    revision=newest[0].revision + 1,
                    status=ExamStatus.RECEIVING,
                    calling_ae=newest[0].calling_ae,
                    image_count=0,
                    created_at=now,
                    # The quiet time of its images is over.
                    last_image_at=newest[0].last_image_at,
                    due_at=now,
                    tries=0,
                    renews=True,
                    priority=newest[0].priority,
                )
                .returning(jobs)
            ).one()
            known = identifiers_of(connection, newest[0].id)
            note_identifiers(connection, exam.id, exam.created_at, known)
            connection.execute(
                update(images)
                .where(images.c.job_id.in_([row.id for row in newest]))
                .values(state=ImageState.RECEIVED, tries=0, reason=None, detail="", intent=None)
            )
            log_event(
                connection,
                job_id=exam.id,
                at=now,
                kind="reanalyze",
                text=f"Revision {exam.revision} was asked for: every image is read again.",
                actor=by,
            )
            return int(exam.id)


def _refuse(connection: Connection, revisions: Sequence[AnyRow]) -> None:
    busy = next((row for row in revisions if row.status in ANALYSIS_LANE), None)
    if busy is not None:
        raise IllegalMove(
            f"revision {busy.revision} of the study is being worked on (exam {busy.id})"
        )

    def count(*which: ExamStatus) -> int:
        of = [row.id for row in revisions if row.status in which]
        statement = select(func.count()).select_from(images).where(images.c.job_id.in_(of))
        return int(connection.execute(statement).scalar_one())

    purged, known = count(ExamStatus.PURGED), count(*ExamStatus)
    if purged or not known:
        raise IllegalMove(
            f"{purged} of the {known} images of exam {revisions[0].id} were purged: "
            "have the study sent again first"
        )
