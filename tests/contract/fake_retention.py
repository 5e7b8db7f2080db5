"""The part of the ExamStore in memory that lets go of exams and their files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cadnode.core.errors import IllegalMove
from cadnode.core.jobs import MOVES, DeliveryStatus, ExamStatus
from cadnode.core.retention import Purgeable
from tests.contract.fake_rows import FakeJob, FakeRows


class FakeRetention(FakeRows):
    """What may be purged, and what goes with it."""

    def purgeable(self, *, finished_before: datetime, limit: int) -> Sequence[Purgeable]:
        over = [
            Purgeable(job.id, job.study, job.finished_at, sum(size for _, size in self._kept(job)))
            for job in self.jobs.values()
            if job.finished_at is not None
            and job.finished_at < finished_before
            and self._may_be_purged(job)
        ]
        over.sort(key=lambda exam: (exam.finished_at, exam.exam_id))
        return over[:limit]

    def mark_purged(self, exam_id: int, *, now: datetime) -> Sequence[str]:
        job = self._job(exam_id)
        if job.status is ExamStatus.PURGED:
            return []
        if ExamStatus.PURGED not in MOVES[job.status] or not self._may_be_purged(job):
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        job.status = ExamStatus.PURGED
        self._log(job, now, "purged", None, None, "retention")
        for image in self.images.values():
            if image.job is job:
                image.patch_map = None
        needed = {
            path
            for other in self.jobs.values()
            if other.status is not ExamStatus.PURGED
            for path, _ in self._kept(other)
        }
        return [path for path, _ in self._kept(job) if path not in needed]

    def _may_be_purged(self, job: FakeJob) -> bool:
        return (
            job.status is not ExamStatus.PURGED
            and not self._open_proofs(job)
            and (
                job.status is not ExamStatus.DELIVERED
                or any(
                    delivery.status is DeliveryStatus.DELIVERED
                    for delivery in self._deliveries(job)
                )
            )
            and all(
                other.status is ExamStatus.PURGED
                for other in self.jobs.values()
                if other.study == job.study and other.revision > job.revision
            )
        )

    def _kept(self, job: FakeJob) -> list[tuple[str, int]]:
        """Path and size of every file of an exam."""
        return [
            *((i.value.path, i.value.size) for i in self.images.values() if i.job is job),
            *((path, size) for number, path, size in self.replaced if number == job.id),
            *((result.path, result.size) for number, result in self.results if number == job.id),
        ]
