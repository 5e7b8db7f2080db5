"""The part of the ExamStore in memory that does what persons ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cadnode.core.breaker import LineState
from cadnode.core.errors import IllegalMove
from cadnode.core.exam import ImageState
from cadnode.core.jobs import (
    ANALYSIS_LANE,
    FINISHED,
    MOVES,
    DeliveryStatus,
    ExamStatus,
    Priority,
    StoredResult,
)
from cadnode.core.proof import ProofState
from cadnode.core.reasons import Reason
from tests.contract.fake_lines import FakeLines
from tests.contract.fake_rows import FakeDelivery, FakeJob, FakeProof

_WITHOUT_RESULT = (ExamStatus.CANCELLED, ExamStatus.SKIPPED, ExamStatus.PURGED)


class FakePersons(FakeLines):
    """Again, first, or not at all."""

    def reanalyze(self, exam_id: int, *, by: str, now: datetime) -> int:
        study = self._job(exam_id).study
        revisions = [job for job in self.jobs.values() if job.study == study]
        for job in revisions:
            if job.status in ANALYSIS_LANE:
                raise IllegalMove(f"revision {job.revision} is being worked on")
        of_study = [image for image in self.images.values() if image.job.study == study]
        purged = any(image.job.status is ExamStatus.PURGED for image in of_study)
        if purged or not of_study:
            raise IllegalMove("images were purged")
        number = len(self.jobs) + 1
        job = FakeJob(
            number,
            study,
            len(revisions) + 1,
            ExamStatus.RECEIVING,
            now,
            revisions[-1].last_image_at,
            now,
            renews=True,
            priority=revisions[-1].priority,
            identifiers=revisions[-1].identifiers,
        )
        self.jobs[number] = job
        for image in of_study:
            image.value = replace(
                image.value,
                state=ImageState.RECEIVED,
                tries=0,
                reason=None,
                detail="",
                intent=None,
            )
        self._log(job, now, "reanalyze", None, None, by)
        return number

    def set_priority(self, exam_id: int, to: Priority, *, by: str, now: datetime) -> None:
        job = self._job(exam_id)
        if job.status in FINISHED:
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        if job.priority is not to:
            job.priority = to
            self._log(job, now, "priority", None, None, by)

    def resend(
        self,
        exam_id: int,
        destinations: Mapping[str, Sequence[str]],
        *,
        by: str,
        now: datetime,
    ) -> int:
        job = self._job(exam_id)
        if job.superseded_by is not None:
            raise IllegalMove(f"exam {job.superseded_by} has taken the place of exam {exam_id}")
        if job.status not in (ExamStatus.DELIVERED, ExamStatus.COMMITTED):
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        due = [
            (result, name)
            for number, result in self.results
            for name, kinds in destinations.items()
            if number == job.id and result.kind in kinds
        ]
        if not due:
            raise IllegalMove(f"exam {exam_id} has nothing to send")
        for result, name in due:
            self._send_again(job, result, name, now)
        job.status, job.finished_at, job.due_at = ExamStatus.REPORTED, None, now
        self._log(job, now, "resend", None, None, by)
        return len(due)

    def _send_again(self, job: FakeJob, result: StoredResult, name: str, now: datetime) -> None:
        for d in self._deliveries(job):
            if (d.result, d.destination) == (result, name):
                break
        else:
            d = FakeDelivery(len(self.deliveries) + 1, job, result, name, now)
            self.deliveries[d.id] = d
        for asked in self.commitments.values():
            asked.delivery_ids.discard(d.id)
        d.status, d.due_at, d.tries, d.proof = DeliveryStatus.PENDING, now, 0, FakeProof()
        d.first_try_at = d.delivered_at = d.code = d.text = d.owner = d.until = None

    def retry(self, exam_id: int, *, by: str, now: datetime) -> ExamStatus:
        job = self._job(exam_id)
        if job.status is ExamStatus.REPORTED:
            for delivery in self._deliveries(job):
                if delivery.status is DeliveryStatus.PENDING:
                    delivery.due_at = now
            self._probe_at_once(job, now)
            self._log(job, now, "retry", None, None, by)
            return ExamStatus.REPORTED
        if job.status is ExamStatus.DELIVERED and self._ask_at_once(job, by, now):
            return ExamStatus.DELIVERED
        to = job.failed_from
        if job.status is not ExamStatus.FAILED or to is None:
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        if to is not ExamStatus.REPORTED and any(
            other.study == job.study
            and other.revision > job.revision
            and (other.renews or other.status not in _WITHOUT_RESULT)
            for other in self.jobs.values()
        ):
            raise IllegalMove("a newer revision has taken over")
        job.status, job.due_at, job.tries = to, now, 0
        job.failed_from = job.problem = None
        if to is ExamStatus.RECEIVING:
            self._restart_images(job)
        for d in self._deliveries(job):
            if d.status is DeliveryStatus.FAILED:
                d.status, d.due_at, d.tries = DeliveryStatus.PENDING, now, 0
                d.first_try_at = d.code = d.text = None
                d.proof.failures = 0
        self._probe_at_once(job, now)
        self._log(job, now, "retry", None, None, by)
        return to

    def _restart_images(self, job: FakeJob) -> None:
        for image in self._study_images(job):
            lost = image.value.reason is Reason.WORKER_LOST
            if lost and image.value.state is ImageState.FAILED:
                image.value = replace(
                    image.value, state=ImageState.RECEIVED, tries=0, reason=None, detail=""
                )

    def _probe_at_once(self, job: FakeJob, now: datetime) -> None:
        for name in {d.destination for d in self._deliveries(job)}:
            line = self.line(name)
            if line.state is LineState.OPEN:
                self.lines[name] = replace(line, probe_at=now)

    def _ask_at_once(self, job: FakeJob, by: str, now: datetime) -> bool:
        waiting = self._open_proofs(job)
        for d in waiting:
            d.proof.due_at = now
        if waiting:
            self._log(job, now, "retry", None, None, by)
        return bool(waiting)

    def cancel(self, exam_id: int, *, why: str, by: str, now: datetime) -> None:
        job = self._job(exam_id)
        if ExamStatus.CANCELLED not in MOVES[job.status]:
            if self._give_up_proofs(job, by, now):
                return
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        self._give_up_proofs(job, by, now)
        tries, due_at = job.tries, job.due_at
        problem = job.problem
        self._set_status(job, ExamStatus.CANCELLED, now, None, by)
        job.tries, job.due_at, job.problem = tries, due_at, problem
        for d in self._deliveries(job):
            if d.status in (DeliveryStatus.PENDING, DeliveryStatus.FAILED):
                d.status, d.owner, d.until = DeliveryStatus.CANCELLED, None, None

    def _give_up_proofs(self, job: FakeJob, by: str, now: datetime) -> bool:
        waiting = self._open_proofs(job)
        for d in waiting:
            d.proof.state, d.proof.due_at = ProofState.GIVEN_UP, None
            d.owner = d.until = None
        if waiting:
            self._log(job, now, "proof-given-up", None, None, by)
        return bool(waiting)
