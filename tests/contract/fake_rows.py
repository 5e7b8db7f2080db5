"""What an ExamStore in memory knows, and what all its parts do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cadnode.core.breaker import LineStatus
from cadnode.core.commitment import CommitmentRequest, RequestStatus
from cadnode.core.errors import LeaseLost, NotFound
from cadnode.core.exam import ExamImage
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.jobs import (
    FINISHED,
    DeliveryStatus,
    Exam,
    ExamStatus,
    Priority,
    Problem,
    StoredResult,
    status_after_deliveries,
)
from cadnode.core.patch_map import PatchMap
from cadnode.core.proof import OPEN_PROOFS, ProofState, is_proved


@dataclass
class FakeProof:
    """Where the proof of one delivery stands."""

    state: ProofState | None = None
    due_at: datetime | None = None
    tries: int = 0
    asks: int = 0
    failures: int = 0
    text: str | None = None
    proved_at: datetime | None = None
    transaction_uid: str | None = None


@dataclass
class FakeCommitment:
    """One time that a destination was asked."""

    delivery_ids: set[int]
    reported: bool = False


@dataclass
class FakeRequest:
    """One time that a sender asked."""

    value: CommitmentRequest
    status: RequestStatus
    due_at: datetime
    owner: str | None
    until: datetime | None
    committed: int | None = None
    failed: int | None = None
    text: str | None = None


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
    renews: bool = False
    priority: Priority = Priority.NORMAL
    identifiers: ExamIdentifiers = NO_IDENTIFIERS


@dataclass
class FakeImage:
    job: FakeJob
    value: ExamImage
    patch_map: PatchMap | None = None


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
    delivered_at: datetime | None = None
    proof: FakeProof = field(default_factory=FakeProof)


@dataclass(frozen=True)
class FakeEvent:
    job_id: int
    at: datetime
    kind: str
    code: str | None
    subject_uid: str | None
    actor: str


@dataclass
class FakeRows:
    """What every part of the fake store inherits; `commitments` by Transaction UID."""

    jobs: dict[int, FakeJob] = field(default_factory=dict)
    images: dict[int, FakeImage] = field(default_factory=dict)
    results: list[tuple[int, StoredResult]] = field(default_factory=list)
    deliveries: dict[int, FakeDelivery] = field(default_factory=dict)
    events: list[FakeEvent] = field(default_factory=list)
    replaced: list[tuple[int, str, int]] = field(default_factory=list)
    """Exam id and path of what other bytes took the place of."""
    lines: dict[str, LineStatus] = field(default_factory=dict)
    commitments: dict[str, FakeCommitment] = field(default_factory=dict)
    requests: dict[int, FakeRequest] = field(default_factory=dict)

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

    def _deliveries(self, job: FakeJob) -> list[FakeDelivery]:
        return [d for d in self.deliveries.values() if d.job is job]

    def _study_images(self, job: FakeJob) -> list[FakeImage]:
        return [
            image
            for image in self.images.values()
            if image.job.study == job.study and image.job.revision <= job.revision
        ]

    def _open_proofs(self, job: FakeJob) -> list[FakeDelivery]:
        return [d for d in self.deliveries.values() if d.job is job and awaits_proof(d)]

    def _set_status(
        self,
        job: FakeJob,
        to: ExamStatus,
        now: datetime,
        problem: Problem | None,
        by: str,
        *,
        problem_stays: bool = False,
    ) -> None:
        job.failed_from = job.status if to is ExamStatus.FAILED else None
        job.status, job.due_at, job.tries = to, now, 0
        job.owner = job.until = None
        job.problem = job.problem if problem_stays else problem
        if to in FINISHED:
            job.finished_at = now
        self._log(job, now, to, problem.code if problem else None, None, by)

    def _end_unreported(self, job: FakeJob, newer: FakeJob, now: datetime, by: str) -> None:
        tries, due_at = job.tries, job.due_at
        self._set_status(job, ExamStatus.SUPERSEDED, now, None, by, problem_stays=True)
        job.tries, job.due_at, job.superseded_by = tries, due_at, newer.id

    def _withdraw(
        self, job: FakeJob, unsent: Sequence[FakeDelivery], now: datetime, by: str
    ) -> None:
        for delivery in unsent:
            delivery.status = DeliveryStatus.SUPERSEDED
            delivery.owner = delivery.until = None
        if unsent:
            self._log(job, now, "withdrawn", None, None, by)
            self._settle(job, now, by)

    def _withdraw_superseded(self, which: Sequence[FakeDelivery], now: datetime) -> None:
        for job in self.jobs.values():
            if job.superseded_by is not None:
                self._withdraw(job, [d for d in which if d.job is job], now, "delivery")

    def _settle(self, job: FakeJob, now: datetime, by: str) -> None:
        failed_sending = job.failed_from is ExamStatus.REPORTED
        if job.status is not ExamStatus.REPORTED and not failed_sending:
            return
        to = status_after_deliveries(d.status for d in self._deliveries(job))
        if to is None or to is job.status:
            return
        failed = [d for d in self._deliveries(job) if d.status is DeliveryStatus.FAILED]
        problem = None
        if failed:
            text = f"delivery to {failed[0].destination}: {failed[0].text}"
            problem = Problem(failed[0].code or "", text)
        due_at = job.due_at
        self._set_status(job, to, now, problem, by)
        job.due_at = due_at
        self._settle_proofs(job, now, by)

    def _settle_proofs(self, job: FakeJob, now: datetime, by: str) -> None:
        if job.status is not ExamStatus.DELIVERED:
            return
        stored = [
            d.proof.state
            for d in self.deliveries.values()
            if d.job is job and d.status is DeliveryStatus.DELIVERED
        ]
        if is_proved(stored):
            due_at, tries = job.due_at, job.tries
            self._set_status(job, ExamStatus.COMMITTED, now, None, by)
            job.due_at, job.tries = due_at, tries


def is_free(held: FakeJob | FakeDelivery, now: datetime) -> bool:
    return held.owner is None or held.until is None or held.until <= now


def awaits_proof(delivery: FakeDelivery) -> bool:
    return delivery.status is DeliveryStatus.DELIVERED and delivery.proof.state in OPEN_PROOFS
