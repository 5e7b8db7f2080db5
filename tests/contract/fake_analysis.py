"""The part of the ExamStore in memory that is the analysis lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cadnode.core.errors import IllegalMove, NotFound, StaleExam
from cadnode.core.exam import ImageState
from cadnode.core.findings import Finding
from cadnode.core.jobs import ANALYSIS_LANE, MOVES, Exam, ExamStatus, Problem
from cadnode.core.mammogram import ImageHeader
from cadnode.core.patch_map import PatchMap
from cadnode.core.reasons import Reason
from tests.contract.fake_rows import FakeImage, FakeRows, is_free


class FakeAnalysis(FakeRows):
    """Exams are claimed, read and moved."""

    def claim_exam(
        self, owner: str, *, now: datetime, lease: timedelta, exam_id: int | None = None
    ) -> Exam | None:
        due = [
            job
            for job in self.jobs.values()
            if job.status in ANALYSIS_LANE and job.due_at <= now and is_free(job, now)
            if exam_id in (None, job.id)
        ]
        if not due:
            return None
        closed = ExamStatus.ANALYZED
        asked_for = {job.id for job in due if not any(i.job is job for i in self.images.values())}
        job = min(
            due,
            key=lambda job: (
                *(-job.priority, job.status is not closed, job.id in asked_for),
                *(job.due_at, job.id),
            ),
        )
        job.owner, job.until, job.tries = owner, now + lease, job.tries + 1
        return Exam(
            id=job.id,
            study_instance_uid=job.study,
            revision=job.revision,
            status=job.status,
            owner=owner,
            lease_until=job.until,
            tries=job.tries,
            created_at=job.created_at,
            last_image_at=job.last_image_at,
            analyzed_at=job.analyzed_at,
            images=tuple(
                image.value
                for image in self._study_images(job)
                if image.job.status is not ExamStatus.PURGED
            ),
            renews=job.renews,
        )

    def renew_exam(self, exam: Exam, *, now: datetime, lease: timedelta) -> None:
        self._held(exam).until = now + lease

    def begin_image(self, exam: Exam, image_id: int, *, now: datetime) -> int:
        image = self._image(exam, image_id)
        image.value = replace(image.value, tries=image.value.tries + 1)
        return image.value.tries

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
        image = self._image(exam, image_id)
        image.patch_map = patch_map
        image.value = replace(
            image.value,
            state=state,
            findings=tuple(findings),
            model=model,
            reason=reason,
            detail=detail,
            tries=0,
            analyzed_at=now if state is ImageState.ANALYZED else None,
        )
        if header is not None:
            image.value = replace(
                image.value,
                laterality=header.laterality,
                view=header.view,
                intent=header.intent,
                source_uids=header.source_uids,
                rows=header.rows,
                columns=header.columns,
            )
        kind = {
            ImageState.RECEIVED: "image-noted",
            ImageState.ANALYZED: "image-analyzed",
            ImageState.SET_ASIDE: "image-set-aside",
            ImageState.FAILED: "image-failed",
        }[state]
        code = reason.code if reason else None
        uid = image.value.sop_instance_uid
        self._log(self.jobs[exam.id], now, kind, code, uid, exam.owner)

    def patch_map(self, image_id: int) -> PatchMap | None:
        return self.images[image_id].patch_map if image_id in self.images else None

    def release_exam(
        self,
        exam: Exam,
        *,
        due_at: datetime,
        problem: Problem | None = None,
        blameless: bool = False,
        now: datetime,
    ) -> None:
        job = self._held(exam)
        if not self._has_grown(exam):
            job.due_at = due_at
        if problem is None or blameless:
            job.tries = 0
            for image in self._study_images(job):
                if image.value.state is ImageState.RECEIVED:
                    image.value = replace(image.value, tries=0)
        if problem is not None and problem != job.problem:
            self._log(job, now, "waiting", problem.code, None, exam.owner)
        job.owner = job.until = None
        job.problem = problem

    def move_exam(
        self,
        exam: Exam,
        to: ExamStatus,
        *,
        text: str,
        problem: Problem | None = None,
        now: datetime,
    ) -> None:
        if to not in MOVES[exam.status]:
            raise IllegalMove(f"{exam.status} to {to}")
        job = self._held(exam)
        if to in (ExamStatus.ANALYZED, ExamStatus.SKIPPED) and self._has_grown(exam):
            raise StaleExam(f"exam {exam.id}")
        if to is ExamStatus.ANALYZED:
            job.analyzed_at = now
        self._set_status(job, to, now, problem, exam.owner)

    def _image(self, exam: Exam, image_id: int) -> FakeImage:
        job = self._held(exam)
        image = self.images.get(image_id)
        if image is None or image not in self._study_images(job):
            raise NotFound(f"image {image_id}")
        for claimed in exam.images:
            if claimed.id == image_id and claimed.sha256 != image.value.sha256:
                raise StaleExam(f"image {image_id}")
        return image

    def _has_grown(self, exam: Exam) -> bool:
        now = {(i.value.id, i.value.sha256) for i in self.images.values() if i.job.id == exam.id}
        return now != {(i.id, i.sha256) for i in exam.images if i.revision == exam.revision}
