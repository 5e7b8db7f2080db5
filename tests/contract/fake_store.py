"""An ExamStore in memory, for tests of everything that uses one.

It passes the same contract suite as the real one. Tests may look into `jobs`, `images`,
`results`, `deliveries` and `events`, but change them only through the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus, after
from cadnode.core.errors import IllegalMove, LeaseLost, NotFound, StaleExam
from cadnode.core.exam import DocumentReference, ExamImage, ImageState
from cadnode.core.findings import Finding
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
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
    Priority,
    Problem,
    StoredResult,
    status_after_deliveries,
)
from cadnode.core.mammogram import ImageHeader
from cadnode.core.patch_map import PatchMap
from cadnode.core.proof import ProofState
from cadnode.core.reasons import Reason
from cadnode.core.retention import Purgeable
from cadnode.core.retry import Decision, SendOutcome, Verdict
from tests.contract.fake_proofs import FakeCommitment, FakeProof, FakeProofs, FakeRequest

_WITHOUT_RESULT = (ExamStatus.CANCELLED, ExamStatus.SKIPPED, ExamStatus.PURGED)


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
class FakeExamStore(FakeProofs):
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

    # receiving

    def accept(self, image: NewImage, *, now: datetime) -> Acceptance:
        number = len(self.images) + 1
        for known, kept in self.images.items():
            if kept.value.sop_instance_uid == image.sop_instance_uid:
                return self._kept_before(known, kept, image, now)
        job = self._add(number, image, now, returned=False)
        self._log(job, now, "image-received", None, image.sop_instance_uid, "receiver")
        return Acceptance.NEW

    def _kept_before(
        self, number: int, kept: FakeImage, image: NewImage, now: datetime
    ) -> Acceptance:
        before, uid = kept.job, image.sop_instance_uid
        purged = before.status is ExamStatus.PURGED
        if before.study != image.study_instance_uid:
            self._log(before, now, "image-conflict", "E202", uid, "receiver")
            return Acceptance.CONFLICT
        if kept.value.sha256 != image.sha256:
            if not purged:
                self.replaced.append((before.id, kept.value.path, kept.value.size))
            self.replaced = [entry for entry in self.replaced if entry[1] != image.path]
            job = self._add(number, image, now, returned=False)
            job.renews = True
            for other_image in self.images.values():
                of_study = other_image.job.study == before.study
                reason = other_image.value.reason
                if of_study and reason in (Reason.PRESENTATION_PREFERRED, Reason.PATIENT_DIFFERS):
                    other_image.value = replace(
                        other_image.value,
                        state=ImageState.RECEIVED,
                        tries=0,
                        reason=None,
                        detail="",
                    )
            for number in sorted({before.id, job.id}):
                self._log(self.jobs[number], now, "image-replaced", "E202", uid, "receiver")
            closed = [
                other
                for other in self.jobs.values()
                if other.study == job.study and other.status is ExamStatus.ANALYZED
            ]
            for other in reversed(closed):
                self._end_unreported(other, job, now, "receiver")
            return Acceptance.CHANGED
        if not purged:
            self._log(before, now, "image-received-again", None, uid, "receiver")
            return Acceptance.SAME
        returned = any(
            d.status is DeliveryStatus.DELIVERED and d.job.study == before.study
            for d in self.deliveries.values()
        )
        job = self._add(number, image, now, returned=returned)
        self._log(job, now, "image-returned", None, uid, "receiver")
        return Acceptance.NEW

    def _add(self, number: int, image: NewImage, now: datetime, *, returned: bool) -> FakeJob:
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
            returned=returned,
        )
        self.images[number] = FakeImage(job, value)
        known, new = job.identifiers, image.identifiers
        job.identifiers = ExamIdentifiers(
            known.patient_id or new.patient_id,
            known.accession_number or new.accession_number,
            known.study_date or new.study_date,
        )
        return job

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

    def predecessors(self, exam: Exam) -> Sequence[DocumentReference]:
        for job in self._earlier(exam):
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
        predecessors: Sequence[DocumentReference] = (),
        now: datetime,
    ) -> None:
        if exam.status is not ExamStatus.ANALYZED:
            raise IllegalMove(f"{exam.status} to reported")
        job = self._held(exam)
        known = {result.sop_instance_uid for _, result in self.results}
        if known & {result.sop_instance_uid for result in results}:
            raise IllegalMove("a result object is already recorded")
        if tuple(predecessors) != self.predecessors(exam):
            raise StaleExam("an earlier revision was sent meanwhile")
        self._supersede_earlier(exam, now)
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
        self._withdraw_superseded(due, now)
        due = [d for d in due if d.status is DeliveryStatus.PENDING]
        claimed = []
        for d in sorted(due, key=lambda d: (-d.job.priority, d.due_at, d.id))[:limit]:
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
        held = [
            d
            for d in deliveries
            if (kept := self.deliveries[d.id]).status is DeliveryStatus.PENDING
            and (kept.owner, kept.tries) == (d.owner, d.tries)
        ]
        for delivery in held:
            self.deliveries[delivery.id].until = now + lease
        if deliveries and not held:
            raise LeaseLost("none is held")

    def record_delivery(
        self,
        delivery: Delivery,
        outcome: SendOutcome,
        decision: Decision,
        *,
        proof_due_at: datetime | None = None,
        now: datetime,
    ) -> None:
        held = self._held_delivery(delivery)
        kind = {
            Verdict.DONE: "delivery-done",
            Verdict.RETRY: "delivery-retry",
            Verdict.GIVE_UP: "delivery-failed",
        }[decision.verdict]
        withdrawn = held.job.superseded_by is not None and decision.verdict is not Verdict.DONE
        uid = held.result.sop_instance_uid
        if withdrawn:
            self._log(held.job, now, "withdrawn", decision.code, uid, delivery.owner)
        elif decision.verdict is not Verdict.RETRY or held.text != decision.text:
            self._log(held.job, now, kind, decision.code, uid, delivery.owner)
        held.owner = held.until = None
        held.dicom_status, held.code, held.text = outcome.status, decision.code, decision.text
        if decision.verdict is Verdict.DONE:
            held.status, held.text = DeliveryStatus.DELIVERED, None
            wanted = None if proof_due_at is None else ProofState.WANTED
            held.delivered_at = now
            held.proof = FakeProof(wanted, proof_due_at, failures=held.proof.failures)
        elif withdrawn:
            held.status = DeliveryStatus.SUPERSEDED
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

    # the line to each destination

    def line(self, destination: str) -> LineStatus:
        return self.lines.get(destination, LineStatus())

    def hold_probe(self, destination: str, *, now: datetime, lease: timedelta) -> bool:
        line = self.line(destination)
        if line.state is LineState.CLOSED or line.probe_at is None:
            return False
        if now < line.probe_at <= now + max(lease, timedelta(minutes=5)):
            return False
        self.lines[destination] = replace(line, probe_at=now + lease)
        return True

    def renew_probe(self, destination: str, *, now: datetime, lease: timedelta) -> None:
        line = self.line(destination)
        if line.state is LineState.OPEN:
            self.lines[destination] = replace(line, probe_at=now + lease)

    def note_line(
        self,
        destination: str,
        event: LineEvent,
        *,
        error: str,
        jitter: float,
        rules: BreakerRules,
        give_up_after: timedelta,
        now: datetime,
    ) -> LineStatus:
        before = self.line(destination)
        line = after(before, event, error=error, now=now, jitter=jitter, rules=rules)
        line = self.lines[destination] = replace(line, since=line.since or now)
        waiting = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status is DeliveryStatus.PENDING
            and _is_free(d, now)
        ]
        if line.state is LineState.CLOSED and before.state is LineState.OPEN:
            for d in waiting:
                d.due_at = min(d.due_at, now)
        if line.state is LineState.OPEN and event is LineEvent.SILENT:
            for d in waiting:
                if d.due_at <= now:
                    d.first_try_at = d.first_try_at or now
            self._withdraw_superseded(waiting, now)
            self._give_up(waiting, error, give_up_after, now)
        return line

    def _give_up(
        self, waiting: Sequence[FakeDelivery], error: str, patience: timedelta, now: datetime
    ) -> None:
        over = [
            d
            for d in waiting
            if d.status is DeliveryStatus.PENDING
            and d.first_try_at is not None
            and d.first_try_at <= now - patience
        ]
        for d in over:
            d.status, d.owner, d.until = DeliveryStatus.FAILED, None, None
            d.code, d.text = "E603", error
        for number in sorted({d.job.id for d in over}):
            self._log(self.jobs[number], now, "delivery-failed", "E603", None, "delivery")
            self._settle(self.jobs[number], now, "delivery")

    def drop_destination(self, destination: str, *, why: str, by: str, now: datetime) -> int:
        dropped = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status in (DeliveryStatus.PENDING, DeliveryStatus.FAILED)
        ]
        for d in dropped:
            d.status, d.owner, d.until = DeliveryStatus.CANCELLED, None, None
        unproved = [
            d
            for job in self.jobs.values()
            for d in self._open_proofs(job)
            if d.destination == destination
        ]
        for d in unproved:
            d.proof.state, d.proof.due_at = ProofState.GIVEN_UP, None
            d.owner = d.until = None
        dropped += unproved
        for number in sorted({d.job.id for d in dropped}):
            self._log(self.jobs[number], now, "destination-dropped", None, None, by)
            self._settle(self.jobs[number], now, by)
        return len(dropped)

    # housekeeping and persons

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

    # inside

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
        job.priority = of_study[-1].priority if of_study else Priority.NORMAL
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
        for claimed in exam.images:
            if claimed.id == image_id and claimed.sha256 != image.value.sha256:
                raise StaleExam(f"image {image_id}")
        return image

    def _has_grown(self, exam: Exam) -> bool:
        now = {(i.value.id, i.value.sha256) for i in self.images.values() if i.job.id == exam.id}
        return now != {(i.id, i.sha256) for i in exam.images if i.revision == exam.revision}

    def _earlier(self, exam: Exam) -> list[FakeJob]:
        earlier = [
            job
            for job in self.jobs.values()
            if job.study == exam.study_instance_uid and job.revision < exam.revision
        ]
        return sorted(earlier, key=lambda job: -job.revision)

    def _supersede_earlier(self, exam: Exam, now: datetime) -> None:
        newer = self.jobs[exam.id]
        for job in self._earlier(exam):
            failed_before = job.failed_from in ANALYSIS_LANE
            if job.status in ANALYSIS_LANE or (job.status is ExamStatus.FAILED and failed_before):
                self._end_unreported(job, newer, now, exam.owner)
                continue
            if job.superseded_by is None and job.status in (
                ExamStatus.REPORTED,
                ExamStatus.FAILED,
                ExamStatus.DELIVERED,
                ExamStatus.COMMITTED,
                ExamStatus.PURGED,
            ):
                self._log(job, now, "results-superseded", None, None, exam.owner)
            job.superseded_by = exam.id
            unsent = [
                d
                for d in self._deliveries(job)
                if d.status is DeliveryStatus.FAILED
                or (d.status is DeliveryStatus.PENDING and _is_free(d, now))
            ]
            self._withdraw(job, unsent, now, exam.owner)

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

    def _deliveries(self, job: FakeJob) -> list[FakeDelivery]:
        return [d for d in self.deliveries.values() if d.job is job]

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


def _is_free(held: FakeJob | FakeDelivery, now: datetime) -> bool:
    return held.owner is None or held.until is None or held.until <= now
