"""Exams by hand: what tests give an ExamStore, and everything that it then knows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
from sqlalchemy import select

from cadnode.core.exam import ImageState
from cadnode.core.findings import Calcification, Finding
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.jobs import Delivery, Exam, ExamStatus, NewImage, StoredResult
from cadnode.core.mammogram import ImageHeader, Intent, Laterality
from cadnode.core.patch_map import HeatMap, PatchMap
from cadnode.core.ports import ExamStore
from cadnode.core.retry import Decision, SendCause, SendOutcome, Verdict
from cadnode.storage import tables
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.fake_store import FakeExamStore

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)

DONE = Decision(Verdict.DONE, None, "the destination answered 0x0000")
GONE = Decision(Verdict.GIVE_UP, "E602", "the destination answered 0xC000")

KNOWN = ExamIdentifiers("P-1", "A-1", date(2026, 3, 1))


def new_image(
    number: int = 1,
    study: str = "1.2.3",
    content: str = "a",
    identifiers: ExamIdentifiers = NO_IDENTIFIERS,
) -> NewImage:
    return NewImage(
        sop_instance_uid=f"{study}.9.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.2",
        study_instance_uid=study,
        series_instance_uid=f"{study}.8",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=f"images/{study}-{number}",
        size=1000 + number,
        sha256=content,
        calling_ae="MODALITY",
        identifiers=identifiers,
    )


def header_of(image: NewImage) -> ImageHeader:
    return ImageHeader(
        sop_instance_uid=image.sop_instance_uid,
        sop_class_uid=image.sop_class_uid,
        study_instance_uid=image.study_instance_uid,
        series_instance_uid=image.series_instance_uid,
        transfer_syntax_uid=image.transfer_syntax_uid,
        intent=Intent.PRESENTATION,
        laterality=Laterality.RIGHT,
        view="MLO",
        rows=4000,
        columns=3000,
        source_uids=("1.2.3.7",),
    )


FINDING = Finding(
    score=0.75,
    center=(100.5, 200.25),
    outline=((90.0, 190.0), (110.0, 190.0), (110.0, 210.0), (90.0, 190.0)),
    area_mm2=3.5,
    operating_point=1,
    calcifications=(Calcification((101.0, 201.0), 0.3, 5.5),),
)


PATCH_MAP = PatchMap(
    image_shape=(4000, 3000),
    row_scale=1.0 / 0.7,
    column_scale=1.4,
    patch_size=224,
    origins=np.array([[0, 0], [-3, 1920], [2800, 56]], dtype=np.int32),
    probability=np.array([0.001, 0.75, 0.9999], dtype=np.float32),
    heat=HeatMap(
        values=np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7),
        row_step=30.5,
        column_step=31.25,
    ),
    thresholds=(0.9, 0.5),
    recommended=1,
)


def result(exam_id: int, kind: str = "mammography-cad-sr") -> StoredResult:
    uid = f"2.25.{exam_id}{len(kind)}"
    return StoredResult(kind, "1.2.840.1", uid, f"{uid}.1", f"results/{uid}", "f" * 64, 77)


def retry_at(when: datetime, text: str = "no connection") -> Decision:
    return Decision(Verdict.RETRY, "E601", text, when)


def sent(delivery: Delivery, status: int | None = 0) -> SendOutcome:
    cause = SendCause.UNREACHABLE if status is None else SendCause.ANSWERED
    return SendOutcome(delivery.result.sop_instance_uid, cause, status)


Line = tuple[object, ...]


def snapshot(store: ExamStore) -> dict[str, list[Line]]:
    """Everything a store knows, in a form that can be compared between stores."""
    if isinstance(store, FakeExamStore):
        return _fake_snapshot(store)
    assert isinstance(store, SqlExamStore)
    jobs, images, deliveries = tables.jobs.c, tables.images.c, tables.deliveries.c
    events, requests = tables.events.c, tables.commitment_requests.c
    identifiers = tables.exam_identifiers.c
    columns = {
        "jobs": (
            *(jobs.id, jobs.study_instance_uid, jobs.revision, jobs.status, jobs.due_at),
            *(jobs.lease_owner, jobs.lease_until, jobs.tries, jobs.analyzed_at),
            *(jobs.finished_at, jobs.failed_from, jobs.error_code, jobs.error_text),
            *(jobs.superseded_by, jobs.created_at, jobs.last_image_at, jobs.priority),
            jobs.image_count,
        ),
        "identifiers": (
            *(identifiers.job_id, identifiers.exam_created_at, identifiers.patient_id),
            *(identifiers.accession_number, identifiers.study_date),
        ),
        "images": (
            *(images.id, images.job_id, images.sop_instance_uid, images.state, images.tries),
            *(images.reason, images.detail, images.laterality, images.view, images.model),
            *(images.analyzed_at, images.received_at),
        ),
        "deliveries": (
            *(deliveries.id, deliveries.job_id, deliveries.destination, deliveries.status),
            *(deliveries.due_at, deliveries.lease_owner, deliveries.lease_until),
            *(deliveries.tries, deliveries.attempts, deliveries.first_try_at),
            *(deliveries.dicom_status, deliveries.error_code, deliveries.error_text),
            *(deliveries.proof, deliveries.proof_due_at, deliveries.proof_tries),
            *(deliveries.proof_asks, deliveries.proof_failures, deliveries.proved_at),
            *(deliveries.transaction_uid, deliveries.delivered_at, deliveries.priority),
        ),
        "requests": (
            *(requests.id, requests.calling_ae, requests.transaction_uid, requests.status),
            *(requests.due_at, requests.lease_owner, requests.lease_until, requests.tries),
            *(requests.committed, requests.failed, requests.error_text),
        ),
        "events": (
            *(events.job_id, events.at, events.kind, events.code, events.subject_uid),
            events.actor,
        ),
    }
    with store._database.read() as connection:
        return {
            name: [
                tuple(row)
                for row in connection.execute(
                    select(*wanted).order_by(*wanted[0].table.primary_key)
                )
            ]
            for name, wanted in columns.items()
        }


def _fake_snapshot(store: FakeExamStore) -> dict[str, list[Line]]:
    return {
        "jobs": [
            (
                *(j.id, j.study, j.revision, j.status, j.due_at, j.owner, j.until, j.tries),
                *(j.analyzed_at, j.finished_at, j.failed_from),
                *((j.problem.code, j.problem.text) if j.problem else (None, None)),
                *(j.superseded_by, j.created_at, j.last_image_at, j.priority),
                sum(i.job is j for i in store.images.values()),
            )
            for j in store.jobs.values()
        ],
        "identifiers": [
            (
                *(j.id, j.created_at, j.identifiers.patient_id),
                *(j.identifiers.accession_number, j.identifiers.study_date),
            )
            for j in store.jobs.values()
            if j.identifiers
        ],
        "images": [
            (
                *(i.value.id, i.job.id, i.value.sop_instance_uid, i.value.state, i.value.tries),
                *(i.value.reason.code if i.value.reason else None, i.value.detail),
                *(i.value.laterality, i.value.view, i.value.model),
                *(i.value.analyzed_at, i.value.received_at),
            )
            for i in store.images.values()
        ],
        "deliveries": [
            (
                *(d.id, d.job.id, d.destination, d.status, d.due_at, d.owner, d.until),
                *(d.tries, d.attempts, d.first_try_at, d.dicom_status, d.code, d.text),
                *(d.proof.state, d.proof.due_at, d.proof.tries, d.proof.asks, d.proof.failures),
                *(d.proof.proved_at, d.proof.transaction_uid, d.delivered_at, d.job.priority),
            )
            for d in store.deliveries.values()
        ],
        "requests": [
            (
                *(r.value.id, r.value.calling_ae, r.value.transaction_uid, r.status, r.due_at),
                *(r.owner, r.until, r.value.tries, r.committed, r.failed, r.text),
            )
            for r in store.requests.values()
        ],
        "events": [(e.job_id, e.at, e.kind, e.code, e.subject_uid, e.actor) for e in store.events],
    }


def statuses(store: ExamStore) -> list[object]:
    return [job[3] for job in snapshot(store)["jobs"]]


def delivery_statuses(store: ExamStore) -> list[object]:
    return [delivery[3] for delivery in snapshot(store)["deliveries"]]


def kinds(store: ExamStore) -> list[object]:
    return [event[2] for event in snapshot(store)["events"]]


def current_sets(store: ExamStore) -> list[object]:
    """The exams with result objects that nothing has superseded."""
    reported = {event[0] for event in snapshot(store)["events"] if event[2] == "reported"}
    return [job[0] for job in snapshot(store)["jobs"] if job[0] in reported and job[13] is None]


def claim(store: ExamStore, owner: str = "w1", now: datetime = T0) -> Exam:
    exam = store.claim_exam(owner, now=now, lease=LEASE)
    assert exam is not None
    return exam


def close(store: ExamStore, now: datetime = T0) -> Exam:
    """Analyze every image of the exam that is due and close it; returns it claimed again."""
    exam = claim(store, now=now)
    for image in exam.images:
        if image.state is ImageState.RECEIVED:
            store.record_image(exam, image.id, state=ImageState.ANALYZED, now=now)
    store.move_exam(exam, ExamStatus.ANALYZED, text="The exam is complete.", now=now)
    return claim(store, now=now)


def report(store: ExamStore, *destinations: str, now: datetime = T0) -> Exam:
    exam = close(store, now)
    record(store, exam, *destinations, now=now)
    return exam


def record(store: ExamStore, exam: Exam, *destinations: str, now: datetime = T0) -> None:
    """Report a closed exam as the pipeline does."""
    wanted = {name: ["mammography-cad-sr"] for name in destinations}
    named = store.predecessors(exam)
    store.record_results(exam, [result(exam.id)], wanted, predecessors=named, now=now)


def deliver(store: ExamStore, now: datetime = T0) -> None:
    """Report an exam to one destination, which stores it."""
    report(store, "A", now=now)
    delivery = take(store, now=now)
    store.record_delivery(delivery, sent(delivery), DONE, now=now)


def take(
    store: ExamStore, destination: str = "A", now: datetime = T0, owner: str = "s1"
) -> Delivery:
    (delivery,) = store.claim_deliveries(destination, owner, now=now, lease=LEASE, limit=9)
    return delivery


def over(store: ExamStore, moment: datetime) -> list[int]:
    """The exams that may be purged and ended before `moment`."""
    return [exam.exam_id for exam in store.purgeable(finished_before=moment, limit=9)]
