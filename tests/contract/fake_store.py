"""An ExamStore in memory, for tests of everything that uses one.

It passes the same contract suite as the real one. Tests may look into `jobs`, `images`,
`results`, `deliveries` and `events`, but change them only through the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cadnode.core.errors import IllegalMove, LeaseLost, NotFound, StaleExam
from cadnode.core.exam import DocumentReference, ExamImage, ImageState
from cadnode.core.findings import Finding
from cadnode.core.jobs import (
    ANALYSIS_LANE,
    FINISHED,
    MOVES,
    Acceptance,
    Delivery,
    DeliveryStatus,
    Exam,
    ExamStatus,
    NewImage,
    Problem,
    StoredResult,
    status_after_deliveries,
)
from cadnode.core.mammogram import ImageHeader
from cadnode.core.reasons import Reason
from cadnode.core.retry import Decision, SendOutcome, Verdict


@dataclass
class FakeJob:
    id: int
    study: str
    revision: int
    status: ExamStatus
    created_at: datetime
    last_image_at: datetime
    due_at: datetime
    owner: str | None = None
    until: datetime | None = None
    tries: int = 0
    analyzed_at: datetime | None = None
    finished_at: datetime | None = None
    failed_from: ExamStatus | None = None
    problem: Problem | None = None
    superseded_by: int | None = None


@dataclass
class FakeImage:
    job: FakeJob
    value: ExamImage


@dataclass
class FakeDelivery:
    id: int
    job: FakeJob
    result: StoredResult
    destination: str
    due_at: datetime
    status: DeliveryStatus = DeliveryStatus.PENDING
    owner: str | None = None
    until: datetime | None = None
    tries: int = 0
    attempts: int = 0
    first_try_at: datetime | None = None
    dicom_status: int | None = None
    code: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class FakeEvent:
    job_id: int
    at: datetime
    kind: str
    code: str | None
    subject_uid: str | None
    actor: str


@dataclass
class FakeExamStore:
    jobs: dict[int, FakeJob] = field(default_factory=dict)
    images: dict[int, FakeImage] = field(default_factory=dict)
    results: list[tuple[int, StoredResult]] = field(default_factory=list)
    deliveries: dict[int, FakeDelivery] = field(default_factory=dict)
    events: list[FakeEvent] = field(default_factory=list)

    # receiving

    def accept(self, image: NewImage, *, now: datetime) -> Acceptance:
        number = len(self.images) + 1
        for known, kept in self.images.items():
            if kept.value.sop_instance_uid == image.sop_instance_uid:
                same = kept.value.sha256 == image.sha256
                if same and kept.job.status is ExamStatus.PURGED:
                    number = known
                    break
                kind, code = ("image-received-again", None) if same else ("image-conflict", "E202")
                self._log(kept.job, now, kind, code, image.sop_instance_uid, "receiver")
                return Acceptance.SAME if same else Acceptance.CONFLICT
        job = self._open_job(image, now)
        job.last_image_at = job.due_at = now
        value = ExamImage(
            id=number,
            sop_instance_uid=image.sop_instance_uid,
            sop_class_uid=image.sop_class_uid,
            series_instance_uid=image.series_instance_uid,
            transfer_syntax_uid=image.transfer_syntax_uid,
            path=image.path,
            size=image.size,
            sha256=image.sha256,
            revision=job.revision,
            received_at=now,
            calling_ae=image.calling_ae,
        )
        self.images[number] = FakeImage(job, value)
        self._log(job, now, "image-received", None, image.sop_instance_uid, "receiver")
        return Acceptance.NEW

    # the analysis lane

    def claim_exam(self, owner: str, *, now: datetime, lease: timedelta) -> Exam | None:
        due = [
            job
            for job in self.jobs.values()
            if job.status in ANALYSIS_LANE and job.due_at <= now and _is_free(job, now)
        ]
        if not due:
            return None
        closed = ExamStatus.ANALYZED
        job = min(due, key=lambda job: (job.status is not closed, job.due_at, job.id))
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
        reason: Reason | None = None,
        detail: str = "",
        now: datetime,
    ) -> None:
        image = self._image(exam, image_id)
        image.value = replace(
            image.value,
            state=state,
            findings=tuple(findings),
            model=model,
            reason=reason,
            detail=detail,
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

    def supersede(self, exam: Exam, *, now: datetime) -> Sequence[DocumentReference]:
        self._held(exam)
        earlier = sorted(
            (
                job
                for job in self.jobs.values()
                if job.study == exam.study_instance_uid and job.revision < exam.revision
            ),
            key=lambda job: -job.revision,
        )
        for job in earlier:
            job.superseded_by = exam.id
            if job.status in ANALYSIS_LANE:
                tries, due_at = job.tries, job.due_at
                self._set_status(job, ExamStatus.CANCELLED, now, job.problem, exam.owner)
                job.tries, job.due_at = tries, due_at
            elif job.status is ExamStatus.REPORTED:
                unsent = [
                    d
                    for d in self._deliveries(job)
                    if d.status is DeliveryStatus.PENDING and not d.attempts
                ]
                for delivery in unsent:
                    delivery.status = DeliveryStatus.SUPERSEDED
                if unsent:
                    self._log(job, now, "superseded", None, None, exam.owner)
                    self._settle(job, now, exam.owner)
        for job in earlier:
            sent = [
                DocumentReference(
                    job.study,
                    result.series_instance_uid,
                    result.sop_class_uid,
                    result.sop_instance_uid,
                    result.kind,
                )
                for number, result in self.results
                if number == job.id
                and any(d.attempts for d in self._deliveries(job) if d.result == result)
            ]
            if sent:
                return tuple(sent)
        return ()

    def record_results(
        self,
        exam: Exam,
        results: Sequence[StoredResult],
        destinations: Mapping[str, Sequence[str]],
        *,
        now: datetime,
    ) -> None:
        if exam.status is not ExamStatus.ANALYZED:
            raise IllegalMove(f"{exam.status} to reported")
        job = self._held(exam)
        known = {result.sop_instance_uid for _, result in self.results}
        if known & {result.sop_instance_uid for result in results}:
            raise IllegalMove("a result object is already recorded")
        for result in results:
            self.results.append((job.id, result))
            self._log(job, now, "result-written", None, result.sop_instance_uid, exam.owner)
            for name, kinds in destinations.items():
                if result.kind in kinds:
                    number = len(self.deliveries) + 1
                    self.deliveries[number] = FakeDelivery(number, job, result, name, now)
        self._set_status(job, ExamStatus.REPORTED, now, None, exam.owner)
        self._settle(job, now, exam.owner)

    # the delivery lane

    def claim_deliveries(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Delivery]:
        due = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status is DeliveryStatus.PENDING
            and d.due_at <= now
            and _is_free(d, now)
        ]
        claimed = []
        for d in sorted(due, key=lambda d: (d.due_at, d.id))[:limit]:
            d.owner, d.until = owner, now + lease
            d.tries, d.attempts = d.tries + 1, d.attempts + 1
            d.first_try_at = d.first_try_at or now
            claimed.append(
                Delivery(d.id, d.job.id, destination, owner, d.result, d.tries, d.first_try_at)
            )
        return claimed

    def renew_deliveries(
        self, deliveries: Sequence[Delivery], *, now: datetime, lease: timedelta
    ) -> None:
        for held in [self._held_delivery(delivery) for delivery in deliveries]:
            held.until = now + lease

    def record_delivery(
        self, delivery: Delivery, outcome: SendOutcome, decision: Decision, *, now: datetime
    ) -> None:
        held = self._held_delivery(delivery)
        kind = {
            Verdict.DONE: "delivery-done",
            Verdict.RETRY: "delivery-retry",
            Verdict.GIVE_UP: "delivery-failed",
        }[decision.verdict]
        if decision.verdict is not Verdict.RETRY or held.text != decision.text:
            uid = held.result.sop_instance_uid
            self._log(held.job, now, kind, decision.code, uid, delivery.owner)
        held.owner = held.until = None
        held.dicom_status, held.code, held.text = outcome.status, decision.code, decision.text
        if decision.verdict is Verdict.DONE:
            held.status, held.text = DeliveryStatus.DELIVERED, None
        elif decision.verdict is Verdict.GIVE_UP:
            held.status = DeliveryStatus.FAILED
        else:
            held.due_at = decision.retry_at or now
        self._settle(held.job, now, delivery.owner)

    def release_deliveries(self, deliveries: Sequence[Delivery], *, now: datetime) -> None:
        for delivery in deliveries:
            try:
                held = self._held_delivery(delivery)
            except LeaseLost:
                continue
            held.owner = held.until = None
            held.due_at = now
            held.tries, held.attempts = held.tries - 1, held.attempts - 1
            if not held.tries:
                held.first_try_at = None

    # housekeeping and persons

    def retry(self, exam_id: int, *, by: str, now: datetime) -> ExamStatus:
        job = self._job(exam_id)
        if job.status is ExamStatus.REPORTED:
            for delivery in self._deliveries(job):
                if delivery.status is DeliveryStatus.PENDING:
                    delivery.due_at = now
            self._log(job, now, "retry", None, None, by)
            return ExamStatus.REPORTED
        to = job.failed_from
        if job.status is not ExamStatus.FAILED or to is None:
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        if to is not ExamStatus.REPORTED and any(
            other.study == job.study
            and other.revision > job.revision
            and other.status not in (ExamStatus.CANCELLED, ExamStatus.SKIPPED)
            for other in self.jobs.values()
        ):
            raise IllegalMove("a newer revision has taken over")
        job.status, job.due_at, job.tries = to, now, 0
        job.failed_from = job.problem = None
        for image in self._study_images(job) if to is ExamStatus.RECEIVING else ():
            lost = image.value.reason is Reason.WORKER_LOST
            if lost and image.value.state is ImageState.FAILED:
                image.value = replace(
                    image.value, state=ImageState.RECEIVED, tries=0, reason=None, detail=""
                )
        for d in self._deliveries(job):
            if d.status is DeliveryStatus.FAILED:
                d.status, d.due_at, d.tries = DeliveryStatus.PENDING, now, 0
                d.first_try_at = d.code = d.text = None
        self._log(job, now, "retry", None, None, by)
        return to

    def cancel(self, exam_id: int, *, why: str, by: str, now: datetime) -> None:
        job = self._job(exam_id)
        if ExamStatus.CANCELLED not in MOVES[job.status]:
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        tries, due_at = job.tries, job.due_at
        problem = job.problem
        self._set_status(job, ExamStatus.CANCELLED, now, None, by)
        job.tries, job.due_at, job.problem = tries, due_at, problem
        for d in self._deliveries(job):
            if d.status is DeliveryStatus.PENDING:
                d.status, d.owner, d.until = DeliveryStatus.CANCELLED, None, None

    def purgeable(
        self, *, finished_before: datetime, limit: int
    ) -> Sequence[tuple[int, Sequence[str]]]:
        over = [
            job
            for job in self.jobs.values()
            if job.finished_at is not None
            and job.status is not ExamStatus.PURGED
            and job.finished_at < finished_before
            and (
                job.status is not ExamStatus.DELIVERED
                or any(
                    delivery.status in (DeliveryStatus.DELIVERED, DeliveryStatus.SUPERSEDED)
                    for delivery in self._deliveries(job)
                )
            )
            and all(
                other.status is ExamStatus.PURGED
                for other in self.jobs.values()
                if other.study == job.study and other.revision > job.revision
            )
        ]
        over.sort(key=lambda job: (job.finished_at, job.id))
        return [
            (
                job.id,
                [i.value.path for i in self.images.values() if i.job is job]
                + [result.path for number, result in self.results if number == job.id],
            )
            for job in over[:limit]
        ]

    def mark_purged(self, exam_id: int, *, now: datetime) -> None:
        job = self._job(exam_id)
        if job.status is ExamStatus.PURGED:
            return
        if ExamStatus.PURGED not in MOVES[job.status]:
            raise IllegalMove(f"exam {exam_id} is {job.status}")
        job.status = ExamStatus.PURGED
        self._log(job, now, "purged", None, None, "retention")

    # inside

    def _log(
        self, job: FakeJob, at: datetime, kind: str, code: str | None, uid: str | None, by: str
    ) -> None:
        self.events.append(FakeEvent(job.id, at, str(kind), code, uid, by))

    def _job(self, exam_id: int) -> FakeJob:
        if exam_id not in self.jobs:
            raise NotFound(f"exam {exam_id}")
        return self.jobs[exam_id]

    def _held(self, exam: Exam) -> FakeJob:
        job = self._job(exam.id)
        if (job.owner, job.tries, job.status) != (exam.owner, exam.tries, exam.status):
            raise LeaseLost(f"exam {exam.id}")
        return job

    def _held_delivery(self, delivery: Delivery) -> FakeDelivery:
        if delivery.id not in self.deliveries:
            raise NotFound(f"delivery {delivery.id}")
        held = self.deliveries[delivery.id]
        if (held.owner, held.tries) != (delivery.owner, delivery.tries):
            raise LeaseLost(f"delivery {delivery.id}")
        return held

    def _open_job(self, image: NewImage, now: datetime) -> FakeJob:
        of_study = [j for j in self.jobs.values() if j.study == image.study_instance_uid]
        for job in reversed(of_study):
            if job.status is ExamStatus.RECEIVING:
                return job
        number, revision = len(self.jobs) + 1, len(of_study) + 1
        job = FakeJob(
            number, image.study_instance_uid, revision, ExamStatus.RECEIVING, now, now, now
        )
        self.jobs[number] = job
        self._log(job, now, "receiving", None, None, "receiver")
        return job

    def _study_images(self, job: FakeJob) -> list[FakeImage]:
        return [
            image
            for image in self.images.values()
            if image.job.study == job.study and image.job.revision <= job.revision
        ]

    def _image(self, exam: Exam, image_id: int) -> FakeImage:
        job = self._held(exam)
        image = self.images.get(image_id)
        if image is None or image not in self._study_images(job):
            raise NotFound(f"image {image_id}")
        return image

    def _has_grown(self, exam: Exam) -> bool:
        now = sum(image.job.id == exam.id for image in self.images.values())
        return now != sum(image.revision == exam.revision for image in exam.images)

    def _deliveries(self, job: FakeJob) -> list[FakeDelivery]:
        return [d for d in self.deliveries.values() if d.job is job]

    def _set_status(
        self, job: FakeJob, to: ExamStatus, now: datetime, problem: Problem | None, by: str
    ) -> None:
        job.failed_from = job.status if to is ExamStatus.FAILED else None
        job.status, job.due_at, job.tries = to, now, 0
        job.owner = job.until = None
        job.problem = problem
        if to in FINISHED:
            job.finished_at = now
        self._log(job, now, to, problem.code if problem else None, None, by)

    def _settle(self, job: FakeJob, now: datetime, by: str) -> None:
        if job.status is not ExamStatus.REPORTED:
            return
        to = status_after_deliveries(d.status for d in self._deliveries(job))
        if to is None:
            return
        failed = [d for d in self._deliveries(job) if d.status is DeliveryStatus.FAILED]
        problem = None
        if failed:
            text = f"delivery to {failed[0].destination}: {failed[0].text}"
            problem = Problem(failed[0].code or "", text)
        due_at = job.due_at
        self._set_status(job, to, now, problem, by)
        job.due_at = due_at


def _is_free(held: FakeJob | FakeDelivery, now: datetime) -> bool:
    return held.owner is None or held.until is None or held.until <= now
