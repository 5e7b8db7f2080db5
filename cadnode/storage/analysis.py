"""The exam store for the analysis lane: claim an exam, note what became of its images, move it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, insert, select, update

from cadnode.core.errors import NotFound, StaleExam
from cadnode.core.exam import ImageState
from cadnode.core.findings import Finding
from cadnode.core.jobs import ANALYSIS_LANE, FINISHED, Exam, ExamStatus, Problem
from cadnode.core.mammogram import ImageHeader
from cadnode.core.patch_map import PatchMap
from cadnode.core.reasons import Reason
from cadnode.storage.claiming import claim_rows, is_due
from cadnode.storage.database import StorePart
from cadnode.storage.patch_scores import kept_patch_map, replace_patch_map
from cadnode.storage.rows import (
    AnyRow,
    check_move,
    finding_values,
    held_row,
    lease_is_over,
    log_event,
    study_images,
)
from cadnode.storage.tables import findings, images, jobs

_CLOSING = frozenset({ExamStatus.ANALYZED, ExamStatus.SKIPPED})


class Analysis(StorePart):
    """The part of the exam store that workers with a model use."""

    def claim_exam(
        self, owner: str, *, now: datetime, lease: timedelta, exam_id: int | None = None
    ) -> Exam | None:
        """See ExamStore.claim_exam."""
        due = and_(
            jobs.c.status.in_(sorted(ANALYSIS_LANE)),
            jobs.c.due_at <= now,
            lease_is_over(jobs.c.lease_owner, jobs.c.lease_until, now),
        )
        if exam_id is not None:
            due = and_(jobs.c.id == exam_id, due)
        if not is_due(self._database, jobs, due):
            return None
        # A closed exam lacks only its report, which takes a second: it does not wait for others.
        # One that has no image of its own was asked for by a person: today's exams go first.
        order = [
            jobs.c.priority.desc(),
            jobs.c.status != ExamStatus.ANALYZED,
            jobs.c.image_count == 0,
            jobs.c.due_at,
        ]
        values = {"lease_owner": owner, "lease_until": now + lease, "tries": jobs.c.tries + 1}
        with self._database.write() as connection:
            rows = claim_rows(connection, jobs, due, order=order, limit=1, values=values)
            if not rows:
                return None
            (row,) = rows
            return Exam(
                id=row.id,
                study_instance_uid=row.study_instance_uid,
                revision=row.revision,
                status=ExamStatus(row.status),
                owner=owner,
                lease_until=row.lease_until,
                tries=row.tries,
                created_at=row.created_at,
                last_image_at=row.last_image_at,
                analyzed_at=row.analyzed_at,
                images=study_images(connection, row.study_instance_uid, row.revision),
                renews=row.renews,
            )

    def renew_exam(self, exam: Exam, *, now: datetime, lease: timedelta) -> None:
        """See ExamStore.renew_exam."""
        with self._database.write() as connection:
            held_row(connection, exam)
            connection.execute(
                update(jobs).where(jobs.c.id == exam.id).values(lease_until=now + lease)
            )

    def begin_image(self, exam: Exam, image_id: int, *, now: datetime) -> int:
        """See ExamStore.begin_image."""
        with self._database.write() as connection:
            held_row(connection, exam)
            _image_row(connection, exam, image_id)
            tries: int = connection.execute(
                update(images)
                .where(images.c.id == image_id)
                .values(tries=images.c.tries + 1)
                .returning(images.c.tries)
            ).scalar_one()
            return tries

    def record_image(
        self,
        exam: Exam,
        image_id: int,
        *,
        state: ImageState,
        header: ImageHeader | None = None,
        findings: Sequence[Finding] = (),
        model: str | None = None,
        patch_map: PatchMap | None = None,
        reason: Reason | None = None,
        detail: str = "",
        now: datetime,
    ) -> None:
        """See ExamStore.record_image. Without a header, what the image is stays as known."""
        with self._database.write() as connection:
            held_row(connection, exam)
            image = _image_row(connection, exam, image_id)
            connection.execute(
                update(images)
                .where(images.c.id == image_id)
                .values(
                    state=state,
                    reason=None if reason is None else reason.code,
                    detail=detail,
                    model=model,
                    # What came to an end has taken no worker down.
                    tries=0,
                    analyzed_at=now if state is ImageState.ANALYZED else None,
                    top_score=None if patch_map is None else float(patch_map.probability.max()),
                    **({} if header is None else _header_values(header)),
                )
            )
            _replace_findings(connection, image_id, findings)
            replace_patch_map(connection, image_id, patch_map)
            log_event(
                connection,
                job_id=exam.id,
                subject_uid=image.sop_instance_uid,
                at=now,
                kind="image-"
                + ("noted" if state is ImageState.RECEIVED else state.replace(" ", "-")),
                code=None if reason is None else reason.code,
                text=_image_sentence(
                    image.sop_instance_uid, state, len(findings), model, reason, detail
                ),
                actor=exam.owner,
            )

    def patch_map(self, image_id: int) -> PatchMap | None:
        """See ExamStore.patch_map."""
        with self._database.read() as connection:
            return kept_patch_map(connection, image_id)

    def release_exam(
        self,
        exam: Exam,
        *,
        due_at: datetime,
        problem: Problem | None = None,
        blameless: bool = False,
        now: datetime,
    ) -> None:
        """See ExamStore.release_exam. The same problem again leaves no second event."""
        with self._database.write() as connection:
            before = held_row(connection, exam)
            innocent = problem is None or blameless
            if innocent:
                _forget_tries(connection, exam)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == exam.id)
                .values(
                    # An image that arrived since the claim has made the exam due by itself.
                    due_at=before.due_at if _has_grown(connection, exam) else due_at,
                    lease_owner=None,
                    lease_until=None,
                    tries=0 if innocent else jobs.c.tries,
                    error_code=None if problem is None else problem.code,
                    error_text=None if problem is None else problem.text,
                )
            )
            if problem is not None and (before.error_code, before.error_text) != (
                problem.code,
                problem.text,
            ):
                log_event(
                    connection,
                    job_id=exam.id,
                    at=now,
                    kind="waiting",
                    code=problem.code,
                    text=f"The step was put off: {problem.text}.",
                    actor=exam.owner,
                )

    def move_exam(
        self,
        exam: Exam,
        to: ExamStatus,
        *,
        text: str,
        problem: Problem | None = None,
        now: datetime,
    ) -> None:
        """See ExamStore.move_exam."""
        check_move(exam.id, exam.status, to)
        with self._database.write() as connection:
            held_row(connection, exam)
            if to in _CLOSING and _has_grown(connection, exam):
                raise StaleExam(f"an image arrived while exam {exam.id} was being closed")
            connection.execute(
                update(jobs)
                .where(jobs.c.id == exam.id)
                .values(
                    status=to,
                    due_at=now,
                    lease_owner=None,
                    lease_until=None,
                    tries=0,
                    analyzed_at=now if to is ExamStatus.ANALYZED else jobs.c.analyzed_at,
                    finished_at=now if to in FINISHED else None,
                    failed_from=exam.status if to is ExamStatus.FAILED else None,
                    error_code=None if problem is None else problem.code,
                    error_text=None if problem is None else problem.text,
                )
            )
            log_event(
                connection,
                job_id=exam.id,
                at=now,
                kind=to,
                code=None if problem is None else problem.code,
                text=text,
                actor=exam.owner,
            )


def _has_grown(connection: Connection, exam: Exam) -> bool:
    """True when an image came since the claim, or other bytes of one."""
    there = connection.execute(
        select(images.c.id, images.c.sha256).where(images.c.job_id == exam.id)
    ).all()
    seen = {(image.id, image.sha256) for image in exam.images if image.revision == exam.revision}
    return {(row.id, row.sha256) for row in there} != seen


def _image_row(connection: Connection, exam: Exam, image_id: int) -> AnyRow:
    row = connection.execute(
        select(images)
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(
            images.c.id == image_id,
            jobs.c.study_instance_uid == exam.study_instance_uid,
            jobs.c.revision <= exam.revision,
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no image {image_id} in exam {exam.id}")
    claimed = next((image for image in exam.images if image.id == image_id), None)
    if claimed is not None and claimed.sha256 != row.sha256:
        raise StaleExam(f"other bytes of image {image_id} arrived while exam {exam.id} was read")
    return row


def _forget_tries(connection: Connection, exam: Exam) -> None:
    """A worker that hands back was not taken down, by none of the images it had begun."""
    connection.execute(
        update(images)
        .where(
            images.c.id.in_([image.id for image in exam.images]),
            images.c.state == ImageState.RECEIVED,
        )
        .values(tries=0)
    )


def _header_values(header: ImageHeader) -> dict[str, object]:
    return {
        "laterality": header.laterality,
        "view": header.view,
        "intent": header.intent,
        "source_uids": list(header.source_uids),
        "rows": header.rows,
        "columns": header.columns,
    }


def _replace_findings(connection: Connection, image_id: int, found: Sequence[Finding]) -> None:
    connection.execute(delete(findings).where(findings.c.image_id == image_id))
    if found:
        connection.execute(insert(findings), finding_values(image_id, found))


def _image_sentence(
    uid: str,
    state: ImageState,
    found: int,
    model: str | None,
    reason: Reason | None,
    detail: str,
) -> str:
    why = "" if reason is None else f": {reason.text}"
    if detail:
        why += f" ({detail})"
    match state:
        case ImageState.ANALYZED:
            count = {0: "no findings", 1: "1 finding"}.get(found, f"{found} findings")
            by = f" by {model}" if model else ""
            return f"Image {uid} was analyzed{by} with {count}{why}."
        case ImageState.SET_ASIDE:
            return f"Image {uid} was set aside{why}."
        case ImageState.FAILED:
            return f"Image {uid} could not be analyzed{why}."
        case ImageState.RECEIVED:
            return f"Image {uid} was looked at and waits for its exam{why}."
