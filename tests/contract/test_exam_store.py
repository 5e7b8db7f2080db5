"""What every ExamStore does, run on the SQL store and on the one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus
from cadnode.core.errors import IllegalMove, LeaseLost, NotFound, StaleExam
from cadnode.core.exam import ImageState
from cadnode.core.findings import Calcification, Finding
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.jobs import (
    Acceptance,
    Delivery,
    DeliveryStatus,
    Exam,
    ExamStatus,
    NewImage,
    Priority,
    Problem,
    StoredResult,
)
from cadnode.core.mammogram import ImageHeader, Intent, Laterality
from cadnode.core.patch_map import HeatMap, PatchMap
from cadnode.core.ports import ExamStore
from cadnode.core.proof import CommitmentReport
from cadnode.core.reasons import Reason
from cadnode.core.retention import Purgeable
from cadnode.core.retry import Decision, RetryRules, SendCause, SendOutcome, Verdict
from cadnode.storage import tables
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.fake_store import FakeExamStore

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)

DONE = Decision(Verdict.DONE, None, "the destination answered 0x0000")
GONE = Decision(Verdict.GIVE_UP, "E602", "the destination answered 0xC000")


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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sql", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> Iterator[ExamStore]:
    if request.param == "memory":
        yield FakeExamStore()
        return
    path = tmp_path / "jobs.db"
    path.write_bytes(empty_database.read_bytes())
    database = Database(f"sqlite:///{path}")
    yield SqlExamStore(database)
    database.close()


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


def kinds(store: ExamStore) -> list[object]:
    return [event[2] for event in snapshot(store)["events"]]


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


class TestReceiving:
    def test_the_first_image_makes_an_exam_and_the_next_one_joins_it(self, store: ExamStore):
        assert store.accept(new_image(1), now=T0) is Acceptance.NEW
        assert store.accept(new_image(2), now=T0 + SECOND) is Acceptance.NEW
        exam = claim(store, now=T0 + SECOND)
        assert [image.sop_instance_uid for image in exam.images] == ["1.2.3.9.1", "1.2.3.9.2"]
        assert (exam.revision, exam.status) == (1, ExamStatus.RECEIVING)
        assert (exam.created_at, exam.last_image_at) == (T0, T0 + SECOND)

    def test_the_same_bytes_again_leave_an_event_and_nothing_else(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        before = snapshot(store)
        assert store.accept(new_image(), now=T0 + SECOND) is Acceptance.SAME
        after = snapshot(store)
        assert after["events"].pop()[2] == "image-received-again"
        assert after == before

    def test_two_studies_are_two_exams(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        assert [job[1] for job in snapshot(store)["jobs"]] == ["1.1", "1.2"]

    def test_an_image_after_the_exam_was_closed_makes_a_new_revision(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        assert exam.revision == 2
        assert [image.revision for image in exam.images] == [1, 2]
        assert exam.images[0].state is ImageState.ANALYZED

    def test_an_image_after_a_failure_makes_a_new_revision_with_all_images(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="It failed.", now=T0)
        store.accept(new_image(2), now=T0)
        assert len(claim(store).images) == 2


class TestClaiming:
    def test_nothing_is_claimed_from_an_empty_store(self, store: ExamStore):
        assert store.claim_exam("w1", now=T0, lease=LEASE) is None

    def test_a_held_exam_is_claimed_by_nobody_else_before_its_lease_ends(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        assert claim(store).lease_until == T0 + LEASE
        assert store.claim_exam("w2", now=T0 + LEASE - TICK, lease=LEASE) is None

    @pytest.mark.parametrize("late", [timedelta(0), TICK])
    def test_a_lease_is_over_at_its_end_and_a_tick_after(self, store: ExamStore, late: timedelta):
        store.accept(new_image(), now=T0)
        claim(store)
        again = claim(store, "w2", T0 + LEASE + late)
        assert (again.owner, again.tries) == ("w2", 2)

    def test_the_first_owner_cannot_finish_an_exam_it_has_lost(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        first = claim(store)
        claim(store, "w2", T0 + LEASE)
        now, image_id = T0 + LEASE, first.images[0].id
        before = snapshot(store)
        with pytest.raises(LeaseLost):
            store.renew_exam(first, now=now, lease=LEASE)
        with pytest.raises(LeaseLost):
            store.begin_image(first, image_id, now=now)
        with pytest.raises(LeaseLost):
            store.record_image(first, image_id, state=ImageState.ANALYZED, now=now)
        with pytest.raises(LeaseLost):
            store.release_exam(first, due_at=now, now=now)
        with pytest.raises(LeaseLost):
            store.move_exam(first, ExamStatus.ANALYZED, text="Done.", now=now)
        with pytest.raises(LeaseLost):
            store.record_results(replace(first, status=ExamStatus.ANALYZED), [], {}, now=now)
        assert snapshot(store) == before

    def test_one_owner_cannot_use_the_claim_it_lost_after_claiming_again(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        first = claim(store)
        claim(store, now=T0 + LEASE)
        with pytest.raises(LeaseLost):
            store.move_exam(first, ExamStatus.ANALYZED, text="Done.", now=T0 + LEASE)

    def test_a_lease_that_is_over_but_taken_by_nobody_still_counts(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.move_exam(exam, ExamStatus.ANALYZED, text="Done.", now=T0 + 2 * LEASE)
        assert statuses(store) == ["analyzed"]

    def test_a_renewed_lease_runs_from_the_renewal(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.renew_exam(claim(store), now=T0 + 50 * SECOND, lease=LEASE)
        assert store.claim_exam("w2", now=T0 + 110 * SECOND - TICK, lease=LEASE) is None
        assert store.claim_exam("w2", now=T0 + 110 * SECOND, lease=LEASE) is not None

    def test_the_exam_due_longest_comes_first(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0 + SECOND)
        store.accept(new_image(1, "1.2"), now=T0)
        assert claim(store, now=T0 + DAY).study_instance_uid == "1.2"

    def test_trouble_that_is_not_the_exams_fault_is_kept_but_counts_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E401", "the model is missing")
        for _ in range(3):
            exam = claim(store)
            store.release_exam(exam, due_at=T0, problem=problem, blameless=True, now=T0)
        assert claim(store).tries == 1
        assert kinds(store).count("waiting") == 1

    def test_a_closed_exam_comes_before_one_that_still_has_to_be_read(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        store.release_exam(exam, due_at=T0 + 2 * SECOND, now=T0 + SECOND)
        second = claim(store, now=T0 + SECOND)
        store.move_exam(second, ExamStatus.ANALYZED, text="closed", now=T0 + 5 * SECOND)
        assert claim(store, now=T0 + 6 * SECOND).study_instance_uid == "1.2"

    def test_an_exam_is_not_claimed_before_it_is_due(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.release_exam(claim(store), due_at=T0 + SECOND, now=T0)
        assert store.claim_exam("w1", now=T0 + SECOND - TICK, lease=LEASE) is None
        assert claim(store, now=T0 + SECOND).tries == 1

    def test_tries_go_on_counting_while_there_is_a_problem(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E401", "the model is missing")
        store.release_exam(claim(store), due_at=T0, problem=problem, now=T0)
        store.release_exam(claim(store), due_at=T0, problem=problem, now=T0)
        assert claim(store).tries == 3
        assert kinds(store).count("waiting") == 1, "the same problem twice is one event"

    def test_an_image_that_came_meanwhile_makes_the_released_exam_due(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(2), now=T0 + SECOND)
        store.release_exam(exam, due_at=T0 + DAY, now=T0 + SECOND)
        assert len(claim(store, now=T0 + SECOND).images) == 2


class TestImages:
    def test_what_is_recorded_of_an_image_comes_back(self, store: ExamStore):
        image = new_image()
        store.accept(image, now=T0)
        exam = claim(store)
        assert store.begin_image(exam, 1, now=T0) == 1
        assert store.begin_image(exam, 1, now=T0) == 2
        store.record_image(
            exam,
            1,
            state=ImageState.ANALYZED,
            header=header_of(image),
            findings=(FINDING, FINDING),
            model="calc 1.0",
            now=T0 + SECOND,
        )
        store.release_exam(exam, due_at=T0, now=T0)
        (kept,) = claim(store).images
        assert kept.findings == (FINDING, FINDING)
        assert (kept.view_name, kept.intent) == ("RMLO", Intent.PRESENTATION)
        assert (kept.rows, kept.columns, kept.source_uids) == (4000, 3000, ("1.2.3.7",))
        assert (kept.model, kept.tries, kept.analyzed_at) == ("calc 1.0", 2, T0 + SECOND)
        assert (kept.path, kept.size, kept.sha256) == (image.path, image.size, image.sha256)
        assert (kept.received_at, kept.calling_ae) == (T0, "MODALITY")

    @pytest.mark.parametrize(
        ("problem", "blameless", "tries"),
        [
            (None, False, 1),
            (Problem("E401", "the model is missing"), True, 1),
            (Problem("E000", "unexpected"), False, 2),
        ],
    )
    def test_an_image_is_not_blamed_for_a_stop_or_an_unfit_node(
        self, store: ExamStore, problem: Problem | None, blameless: bool, tries: int
    ):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.begin_image(exam, 1, now=T0)
        store.release_exam(exam, due_at=T0, problem=problem, blameless=blameless, now=T0)
        assert store.begin_image(claim(store), 1, now=T0) == tries

    def test_a_second_record_replaces_the_first_but_keeps_the_header(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.record_image(
            exam,
            1,
            state=ImageState.ANALYZED,
            header=header_of(new_image()),
            findings=[FINDING],
            now=T0,
        )
        store.record_image(
            exam, 1, state=ImageState.FAILED, reason=Reason.NO_BREAST, detail="dark", now=T0
        )
        store.release_exam(exam, due_at=T0, now=T0)
        (kept,) = claim(store).images
        assert (kept.state, kept.reason, kept.detail) == (
            ImageState.FAILED,
            Reason.NO_BREAST,
            "dark",
        )
        assert (kept.findings, kept.analyzed_at, kept.view_name) == ((), None, "RMLO")
        assert snapshot(store)["events"][-1][2:4] == ("image-failed", "N210")

    def test_the_patch_scores_of_an_image_come_back(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.record_image(claim(store), 1, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        kept = store.patch_map(1)
        assert kept is not None
        assert np.array_equal(kept.origins, PATCH_MAP.origins)
        assert np.allclose(kept.probability, PATCH_MAP.probability, atol=1e-3)
        assert np.allclose(kept.heat.values, PATCH_MAP.heat.values, atol=1 / 255)
        assert kept.heat.values.shape == PATCH_MAP.heat.values.shape
        assert np.allclose(kept.boxes, PATCH_MAP.boxes, atol=1e-9)
        for name in ("image_shape", "row_scale", "column_scale", "patch_size"):
            assert getattr(kept, name) == getattr(PATCH_MAP, name)
        assert (kept.thresholds, kept.recommended) == ((0.9, 0.5), 1)
        assert (kept.heat.row_step, kept.heat.column_step) == (30.5, 31.25)
        assert store.patch_map(2) is None

    def test_patch_scores_are_those_of_the_last_reading(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        analyzed = ImageState.ANALYZED
        store.record_image(exam, 1, state=analyzed, patch_map=PATCH_MAP, now=T0)
        other = replace(PATCH_MAP, probability=PATCH_MAP.probability[::-1])
        store.record_image(exam, 1, state=analyzed, patch_map=other, now=T0)
        kept = store.patch_map(1)
        assert kept is not None
        assert np.allclose(kept.probability, other.probability, atol=1e-3)
        store.record_image(exam, 1, state=ImageState.SET_ASIDE, reason=Reason.IMPLANT, now=T0)
        assert store.patch_map(1) is None

    def test_patch_scores_go_with_the_bytes_they_are_of(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(number), now=T0)
        exam = claim(store)
        for number in (1, 2):
            store.record_image(exam, number, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        assert store.patch_map(1) is None
        assert store.patch_map(2) is not None

    def test_patch_scores_are_purged_with_the_files(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.record_image(exam, 1, state=ImageState.ANALYZED, patch_map=PATCH_MAP, now=T0)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=T0)
        assert store.patch_map(1) is not None
        store.mark_purged(1, now=T0 + DAY)
        assert store.patch_map(1) is None

    def test_an_image_of_another_study_is_not_found(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        exam = claim(store)
        with pytest.raises(NotFound):
            store.begin_image(exam, 2, now=T0)
        with pytest.raises(NotFound):
            store.record_image(exam, 77, state=ImageState.ANALYZED, now=T0)


class TestMoving:
    def test_a_closed_exam_is_due_at_once_and_knows_when_it_was_closed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        store.move_exam(claim(store), ExamStatus.ANALYZED, text="Done.", now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        assert (exam.status, exam.tries, exam.analyzed_at) == (
            ExamStatus.ANALYZED,
            1,
            T0 + SECOND,
        )

    @pytest.mark.parametrize("to", [ExamStatus.ANALYZED, ExamStatus.SKIPPED])
    def test_an_exam_that_grew_is_not_closed(self, store: ExamStore, to: ExamStatus):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(2), now=T0)
        with pytest.raises(StaleExam):
            store.move_exam(exam, to, text="Done.", now=T0)
        assert statuses(store) == ["receiving"]

    def test_a_move_the_table_does_not_have_is_refused(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = claim(store)
        before = snapshot(store)
        with pytest.raises(IllegalMove):
            store.move_exam(exam, ExamStatus.DELIVERED, text="Done.", now=T0)
        with pytest.raises(IllegalMove):
            store.record_results(exam, [result(1)], {}, now=T0)
        assert snapshot(store) == before

    def test_a_failed_exam_keeps_its_problem_and_is_not_claimed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E801", "out of tries")
        store.move_exam(claim(store), ExamStatus.FAILED, text="Out.", problem=problem, now=T0)
        assert store.claim_exam("w1", now=T0 + DAY, lease=LEASE) is None
        assert snapshot(store)["jobs"][0][10:13] == ("receiving", "E801", "out of tries")

    def test_an_exam_is_reported_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = report(store, "A")
        with pytest.raises(LeaseLost):
            store.record_results(exam, [result(exam.id)], {"A": ["mammography-cad-sr"]}, now=T0)
        assert len(snapshot(store)["deliveries"]) == 1

    def test_an_object_that_is_already_recorded_is_refused(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        first = report(store, "A")
        store.accept(new_image(1, "1.2"), now=T0)
        second = close(store)
        before = snapshot(store)
        with pytest.raises(IllegalMove):
            store.record_results(second, [result(first.id)], {}, now=T0)
        assert snapshot(store) == before


class TestDelivering:
    def test_each_destination_gets_the_kinds_it_wants(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = close(store)
        cad, twin = result(exam.id), result(exam.id, "tid1500-sr")
        wanted = {"A": [cad.kind, twin.kind], "B": [twin.kind], "C": ["gsps"]}
        store.record_results(exam, [cad, twin], wanted, now=T0)
        to_a = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        to_b = store.claim_deliveries("B", "s1", now=T0, lease=LEASE, limit=9)
        assert [delivery.result for delivery in to_a] == [cad, twin]
        assert [delivery.result for delivery in to_b] == [twin]
        assert {(d.exam_id, d.tries, d.first_try_at) for d in (*to_a, *to_b)} == {(exam.id, 1, T0)}
        assert not store.claim_deliveries("C", "s1", now=T0, lease=LEASE, limit=9)

    def test_a_kind_of_several_objects_is_delivered_when_the_last_of_them_is(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        exam = close(store)
        views = [
            replace(
                result(exam.id, "gsps"),
                sop_instance_uid=f"2.25.{view}",
                path=f"results/2.25.{view}",
            )
            for view in (1, 2, 3, 4)
        ]
        store.record_results(exam, views, {"A": ["gsps"]}, now=T0)
        due = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        assert [delivery.result for delivery in due] == views
        for delivery in due:
            assert statuses(store) == ["reported"]
            store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered"]

    def test_with_nothing_to_deliver_the_exam_is_delivered_at_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store)
        assert statuses(store) == ["delivered"]
        assert kinds(store)[-2:] == ["reported", "delivered"]

    def test_the_exam_is_delivered_with_its_last_delivery(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        first = take(store, "A")
        store.record_delivery(first, sent(first), DONE, now=T0)
        assert statuses(store) == ["reported"]
        second = take(store, "B")
        store.record_delivery(second, sent(second, 0xB000), DONE, now=T0)
        assert statuses(store) == ["delivered"]
        assert [d[10] for d in snapshot(store)["deliveries"]] == [0, 0xB000]

    def test_a_refused_delivery_fails_the_exam_but_not_before_the_others_end(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        refused = take(store, "A")
        store.record_delivery(refused, sent(refused, 0xC000), GONE, now=T0)
        assert statuses(store) == ["reported"]
        other = take(store, "B")
        store.record_delivery(other, sent(other), DONE, now=T0)
        job = snapshot(store)["jobs"][0]
        assert job[3] == "failed"
        assert job[10:13] == ("reported", "E602", f"delivery to A: {GONE.text}")

    def test_a_delivery_is_tried_again_when_it_is_due_and_keeps_its_first_try(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        first, later = take(store), T0 + SECOND
        store.record_delivery(first, sent(first, None), retry_at(later), now=T0)
        assert not store.claim_deliveries("A", "s1", now=later - TICK, lease=LEASE, limit=9)
        second = take(store, now=later)
        assert (second.tries, second.first_try_at) == (2, T0)

    def test_the_same_trouble_again_leaves_one_event_until_its_cause_changes(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        texts = ["no connection", "no connection", "no answer", "no answer"]
        for text in texts:
            delivery = take(store)
            store.record_delivery(delivery, sent(delivery, None), retry_at(T0, text), now=T0)
        assert kinds(store).count("delivery-retry") == 2
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert kinds(store)[-2:] == ["delivery-done", "delivered"]

    def test_a_lost_delivery_cannot_be_recorded_nor_renewed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        lost = take(store)
        assert not store.claim_deliveries("A", "s2", now=T0 + LEASE - TICK, lease=LEASE, limit=9)
        take(store, now=T0 + LEASE, owner="s2")
        before = snapshot(store)
        with pytest.raises(LeaseLost):
            store.record_delivery(lost, sent(lost), DONE, now=T0 + LEASE)
        with pytest.raises(LeaseLost):
            store.renew_deliveries([lost], now=T0 + LEASE, lease=LEASE)
        store.release_deliveries([lost], now=T0 + LEASE)
        assert snapshot(store) == before

    def test_a_renewed_delivery_stays_with_its_sender(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        store.renew_deliveries([take(store)], now=T0 + 50 * SECOND, lease=LEASE)
        due = T0 + 110 * SECOND
        assert not store.claim_deliveries("A", "s2", now=due - TICK, lease=LEASE, limit=9)
        assert store.claim_deliveries("A", "s2", now=due, lease=LEASE, limit=9)

    def test_a_delivery_handed_back_counts_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        store.release_deliveries([take(store)], now=T0 + SECOND)
        again = take(store, now=T0 + SECOND)
        assert (again.tries, again.first_try_at) == (1, T0 + SECOND)

    def test_no_more_than_the_limit_are_claimed_and_the_oldest_first(self, store: ExamStore):
        for number in (1, 2, 3):
            store.accept(new_image(1, f"1.{number}"), now=T0)
            report(store, "A", now=T0 + number * SECOND)
        claimed = store.claim_deliveries("A", "s1", now=T0 + DAY, lease=LEASE, limit=2)
        assert [delivery.exam_id for delivery in claimed] == [1, 2]


def delivery_statuses(store: ExamStore) -> list[object]:
    return [delivery[3] for delivery in snapshot(store)["deliveries"]]


def current_sets(store: ExamStore) -> list[object]:
    """The exams with result objects that nothing has superseded."""
    reported = {event[0] for event in snapshot(store)["events"] if event[2] == "reported"}
    return [job[0] for job in snapshot(store)["jobs"] if job[0] in reported and job[13] is None]


class TestSuperseding:
    def test_a_first_revision_has_no_predecessor(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        assert tuple(store.predecessors(close(store))) == ()

    def test_what_was_never_sent_is_withdrawn_and_not_named(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A", "B")
        store.accept(new_image(2), now=T0)
        second = close(store)
        assert tuple(store.predecessors(second)) == ()
        record(store, second, "A")
        assert delivery_statuses(store) == ["superseded", "superseded", "pending"]
        assert statuses(store) == ["superseded", "reported"]
        assert current_sets(store) == [second.id]
        assert take(store, "A", now=T0 + DAY).exam_id == second.id

    def test_until_the_newer_revision_is_reported_the_older_one_is_delivered(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        store.predecessors(second)
        store.move_exam(second, ExamStatus.FAILED, text="No object could be built.", now=T0)
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered", "failed"]
        assert current_sets(store) == [1]

    def test_what_was_sent_anywhere_is_named_and_its_rest_withdrawn(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = report(store, "A", "B")
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        store.accept(new_image(2), now=T0)
        second = close(store)
        (named,) = store.predecessors(second)
        assert named.sop_instance_uid == result(first.id).sop_instance_uid
        assert named.study_instance_uid == "1.2.3"
        record(store, second, "A", "B")
        assert statuses(store) == ["delivered", "reported"]
        assert current_sets(store) == [second.id]

    def test_what_is_on_its_way_is_named_and_may_still_end_well(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        assert len(store.predecessors(second)) == 1
        record(store, second)
        assert statuses(store) == ["reported", "delivered"]
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered", "delivered"]

    @pytest.mark.parametrize("decision", [GONE, retry_at(T0 + SECOND)])
    def test_what_was_on_its_way_and_did_not_arrive_is_not_sent_after_the_newer_one(
        self, store: ExamStore, decision: Decision
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        report(store)
        store.record_delivery(delivery, sent(delivery, None), decision, now=T0)
        assert statuses(store) == ["superseded", "delivered"]
        assert not store.claim_deliveries("A", "s1", now=T0 + DAY, lease=LEASE, limit=9)

    @pytest.mark.parametrize("handed_back", [True, False], ids=["handed back", "sender died"])
    def test_a_superseded_delivery_that_nobody_holds_any_more_is_not_claimed_again(
        self, store: ExamStore, handed_back: bool
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        report(store)
        if handed_back:
            store.release_deliveries([delivery], now=T0)
        assert not store.claim_deliveries("A", "s2", now=T0 + LEASE, lease=LEASE, limit=9)
        assert statuses(store) == ["superseded", "delivered"]

    def test_a_result_that_names_too_few_predecessors_is_built_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        named = store.predecessors(second)
        take(store, "A")
        before = snapshot(store)
        with pytest.raises(StaleExam):
            store.record_results(second, [result(2)], {}, predecessors=named, now=T0)
        assert snapshot(store) == before
        record(store, second)
        assert current_sets(store) == [second.id]

    def test_only_the_newest_set_that_was_sent_is_named(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(number), now=T0)
            report(store, "A")
            delivery = take(store)
            store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        store.accept(new_image(3), now=T0)
        (named,) = store.predecessors(close(store))
        assert named.sop_instance_uid == result(2).sop_instance_uid

    def test_an_earlier_revision_closed_but_not_reported_never_reports(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = close(store)
        store.accept(new_image(2), now=T0)
        report(store)
        with pytest.raises(LeaseLost):
            store.record_results(first, [result(1)], {"A": ["mammography-cad-sr"]}, now=T0)
        assert statuses(store) == ["superseded", "delivered"]

    def test_an_earlier_revision_that_failed_waits_for_nobody_any_more(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        report(store)
        assert statuses(store) == ["superseded", "delivered"]
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)

    @pytest.mark.parametrize(("at_b", "end"), [(DONE, "delivered"), (GONE, "superseded")])
    def test_an_earlier_delivery_that_failed_waits_for_nobody_any_more(
        self, store: ExamStore, at_b: Decision, end: str
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", at_b)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        store.accept(new_image(2), now=T0)
        report(store)
        assert statuses(store) == [end, "delivered"]
        assert snapshot(store)["jobs"][0][10:13] == (None, None, None)


class TestChangedInput:
    def test_other_bytes_of_an_image_wait_to_be_read_in_place_of_the_first(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert store.accept(new_image(1, content="b"), now=T0 + SECOND) is Acceptance.CHANGED
        exam = claim(store, now=T0 + SECOND)
        (image,) = exam.images
        assert (image.sha256, image.state, exam.revision) == ("b", ImageState.RECEIVED, 1)
        assert [event[2:4] for event in snapshot(store)["events"]][-1] == ("image-replaced", "E202")

    def test_bytes_that_change_after_the_result_make_a_revision_that_renews(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        deliver(store)
        assert store.accept(new_image(1, content="b"), now=T0 + SECOND) is Acceptance.CHANGED
        second = close(store, T0 + SECOND)
        assert (second.revision, second.renews) == (2, True)
        assert [(i.sha256, i.revision) for i in second.images] == [("b", 2), ("a", 1)]
        assert len(store.predecessors(second)) == 1
        record(store, second, "A", now=T0 + SECOND)
        assert current_sets(store) == [2]

    def test_the_same_changed_bytes_three_times_are_one_change(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        answers = [store.accept(new_image(1, content="b"), now=T0) for _ in range(3)]
        assert answers == [Acceptance.CHANGED, Acceptance.SAME, Acceptance.SAME]
        assert statuses(store) == ["delivered", "receiving"]

    def test_bytes_that_change_while_the_image_is_read_are_read_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.accept(new_image(1, content="b"), now=T0 + SECOND)
        for attempt in (
            lambda: store.begin_image(exam, 1, now=T0),
            lambda: store.record_image(exam, 1, state=ImageState.ANALYZED, now=T0),
            lambda: store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0),
        ):
            with pytest.raises(StaleExam):
                attempt()
        store.release_exam(exam, due_at=T0 + DAY, now=T0 + SECOND)
        assert claim(store, now=T0 + SECOND).images[0].sha256 == "b"

    @pytest.mark.parametrize(
        ("reason", "state"),
        [
            (Reason.PATIENT_DIFFERS, ImageState.RECEIVED),
            (Reason.PRESENTATION_PREFERRED, ImageState.RECEIVED),
            (Reason.IMPLANT, ImageState.SET_ASIDE),
        ],
    )
    def test_what_was_set_aside_for_what_another_image_was_is_judged_again(
        self, store: ExamStore, reason: Reason, state: ImageState
    ):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        exam = claim(store)
        store.record_image(exam, 2, state=ImageState.SET_ASIDE, reason=reason, now=T0)
        store.release_exam(exam, due_at=T0, now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        assert [image.state for image in claim(store).images] == [ImageState.RECEIVED, state]

    def test_an_exam_closed_with_bytes_that_changed_is_never_reported(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = close(store)
        store.accept(new_image(1, content="b"), now=T0)
        with pytest.raises(LeaseLost):
            store.record_results(first, [result(1)], {}, now=T0)
        assert statuses(store) == ["superseded", "receiving"]
        report(store)
        assert current_sets(store) == [2]

    def test_the_replaced_file_stays_known_until_its_exam_is_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        changed = replace(new_image(1, content="b"), path="images/changed")
        store.accept(changed, now=T0)
        deliver(store)
        files = []
        for exam_id in (2, 1):
            assert over(store, T0 + DAY) == [exam_id]
            files.append(list(store.mark_purged(exam_id, now=T0 + DAY)))
        assert files == [
            ["images/changed", result(2).path],
            ["images/1.2.3-1", result(1).path],
        ]

    def test_bytes_that_come_back_after_they_were_replaced_count_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(replace(new_image(1, content="b"), path="images/changed"), now=T0)
        assert store.accept(new_image(1), now=T0) is Acceptance.CHANGED
        store.cancel(1, why="a test", by="anna", now=T0)
        assert list(store.mark_purged(1, now=T0 + DAY)) == ["images/1.2.3-1", "images/changed"]

    def test_an_image_that_names_another_study_is_refused(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        before = snapshot(store)
        moved = replace(new_image(1, content="b"), study_instance_uid="1.2.4")
        assert store.accept(moved, now=T0) is Acceptance.CONFLICT
        after = snapshot(store)
        assert after["events"].pop()[2:4] == ("image-conflict", "E202")
        assert after == before

    def test_an_exam_whose_bytes_changed_in_a_cancelled_revision_is_not_retried(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(1, content="b"), now=T0)
        store.cancel(2, why="a mistake", by="anna", now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        assert store.reanalyze(1, by="anna", now=T0) == 3

    @pytest.mark.parametrize("delivered", [True, False])
    def test_purged_bytes_that_come_back_say_whether_their_result_was_delivered(
        self, store: ExamStore, delivered: bool
    ):
        store.accept(new_image(1), now=T0)
        if delivered:
            deliver(store)
        else:
            store.cancel(1, why="a test", by="anna", now=T0)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1), now=T0 + DAY) is Acceptance.NEW
        (image,) = claim(store, now=T0 + DAY).images
        assert image.returned is delivered

    def test_other_bytes_after_the_purge_are_a_change_and_not_a_return(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1, content="b"), now=T0 + DAY) is Acceptance.CHANGED
        exam = claim(store, now=T0 + DAY)
        assert (exam.renews, exam.images[0].returned) == (True, False)


class TestReanalysis:
    def test_every_image_is_read_again_in_a_revision_of_its_own(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0 + SECOND)
        deliver(store, now=T0 + SECOND)
        assert store.reanalyze(1, by="anna", now=T0 + DAY) == 2
        assert snapshot(store)["events"][-1][2:] == ("reanalyze", None, None, "anna")
        second = claim(store, now=T0 + DAY)
        assert (second.revision, second.renews, second.last_image_at) == (2, True, T0 + SECOND)
        assert {image.state for image in second.images} == {ImageState.RECEIVED}
        store.release_exam(second, due_at=T0 + DAY, now=T0 + DAY)
        second = close(store, T0 + DAY)
        assert len(store.predecessors(second)) == 1
        record(store, second, "A", now=T0 + DAY)
        assert current_sets(store) == [2]

    def test_exams_that_came_later_are_read_before_it(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        deliver(store)
        store.reanalyze(1, by="anna", now=T0)
        store.accept(new_image(1, "1.2"), now=T0 + SECOND)
        assert claim(store, now=T0 + DAY).study_instance_uid == "1.2"

    def test_it_is_refused_while_a_revision_is_being_worked_on(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        with pytest.raises(IllegalMove, match="revision 1"):
            store.reanalyze(1, by="anna", now=T0)
        deliver(store)
        store.reanalyze(1, by="anna", now=T0)
        with pytest.raises(IllegalMove, match="revision 2"):
            store.reanalyze(1, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.reanalyze(9, by="anna", now=T0)

    def test_it_is_refused_when_images_were_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        with pytest.raises(IllegalMove, match="purged"):
            store.reanalyze(1, by="anna", now=T0 + DAY)

    def test_images_that_came_back_after_the_purge_can_be_read_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        store.accept(new_image(1), now=T0 + DAY)
        exam = claim(store, now=T0 + DAY)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing new.", now=T0 + DAY)
        assert store.reanalyze(1, by="anna", now=T0 + DAY) == 3
        exam = claim(store, now=T0 + DAY)
        assert (exam.renews, len(exam.images)) == (True, 1)


RULES = BreakerRules(delays=RetryRules(SECOND, 60 * SECOND))
PATIENCE = timedelta(hours=72)


def note(
    store: ExamStore, event: LineEvent, now: datetime = T0, destination: str = "A"
) -> LineStatus:
    return store.note_line(
        destination,
        event,
        error="no connection",
        jitter=1.0,
        rules=RULES,
        give_up_after=PATIENCE,
        now=now,
    )


def open_line(store: ExamStore, now: datetime = T0) -> None:
    for _ in range(RULES.open_after):
        note(store, LineEvent.SILENT, now)


class TestLines:
    def test_a_destination_never_in_trouble_has_a_closed_line(self, store: ExamStore):
        assert store.line("A") == LineStatus()
        assert not store.hold_probe("A", now=T0, lease=LEASE)

    def test_what_was_noted_comes_back(self, store: ExamStore):
        open_line(store)
        line = store.line("A")
        assert (line.state, line.failures, line.since) == (LineState.OPEN, 3, T0)
        assert (line.probe_at, line.error) == (T0 + SECOND, "no connection")
        assert store.line("B") == LineStatus()

    def test_one_caller_at_a_time_may_probe(self, store: ExamStore):
        open_line(store)
        assert not store.hold_probe("A", now=T0 + SECOND - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + SECOND + LEASE - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + SECOND + LEASE, lease=LEASE)

    def test_a_probe_that_takes_long_is_held_until_a_lease_after_its_last_renewal(
        self, store: ExamStore
    ):
        open_line(store)
        assert store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        store.renew_probe("A", now=T0 + LEASE, lease=LEASE)
        store.renew_probe("B", now=T0 + LEASE, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + 2 * LEASE - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + 2 * LEASE, lease=LEASE)
        note(store, LineEvent.ECHOED)
        store.renew_probe("A", now=T0 + LEASE, lease=LEASE)
        assert store.line("A").probe_at is None

    def test_a_clock_that_was_put_back_does_not_hold_up_the_probe(self, store: ExamStore):
        open_line(store)
        assert store.hold_probe("A", now=T0 - timedelta(hours=1), lease=LEASE)

    def test_a_person_who_starts_an_exam_again_has_its_destination_asked_at_once(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        open_line(store)
        assert not store.hold_probe("A", now=T0, lease=LEASE)
        store.retry(1, by="anna", now=T0)
        assert store.hold_probe("A", now=T0, lease=LEASE)

    def test_when_the_line_closes_what_waits_is_due_at_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name in ("A", "B"):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery, None), retry_at(T0 + DAY), now=T0)
        open_line(store)
        note(store, LineEvent.ECHOED, T0 + SECOND)
        assert take(store, "A", T0 + SECOND).tries == 2
        assert not store.claim_deliveries("B", "s1", now=T0 + SECOND, lease=LEASE, limit=9)

    def test_silence_starts_the_clock_of_what_waits_and_uses_up_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        open_line(store)
        report(store, "A")
        for hours in (1, 72):
            note(store, LineEvent.SILENT, T0 + timedelta(hours=hours))
            assert statuses(store) == ["reported"]
        assert [d[7:10] for d in snapshot(store)["deliveries"]] == [(0, 0, T0 + SECOND * 3600)]
        note(store, LineEvent.SILENT, T0 + timedelta(hours=73))
        assert statuses(store) == ["failed"]
        assert snapshot(store)["jobs"][0][11] == "E603"
        assert store.retry(1, by="anna", now=T0 + timedelta(hours=73)) is ExamStatus.REPORTED

    def test_what_is_on_its_way_is_not_given_up_by_a_probe(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        take(store)
        store.renew_deliveries([], now=T0, lease=LEASE)
        for _ in range(RULES.open_after):
            store.note_line(
                "A",
                LineEvent.SILENT,
                error="",
                jitter=1.0,
                rules=RULES,
                give_up_after=timedelta(0),
                now=T0,
            )
        assert statuses(store) == ["reported"]


class TestDroppedDestinations:
    def test_what_waits_there_is_cancelled_and_the_exam_moves_on(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert store.drop_destination("B", why="replaced", by="anna", now=T0) == 1
        assert delivery_statuses(store) == ["delivered", "cancelled"]
        assert statuses(store) == ["delivered"]
        assert store.drop_destination("B", why="replaced", by="anna", now=T0) == 0

    def test_an_exam_that_nobody_got_is_not_called_delivered(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        on_its_way = take(store)
        store.drop_destination("A", why="gone", by="anna", now=T0)
        assert statuses(store) == ["cancelled"]
        with pytest.raises(LeaseLost):
            store.record_delivery(on_its_way, sent(on_its_way), DONE, now=T0)

    def test_a_failure_there_waits_for_nobody_any_more(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", DONE)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        assert statuses(store) == ["failed"]
        store.drop_destination("A", why="gone", by="anna", now=T0)
        assert statuses(store) == ["delivered"]


KNOWN = ExamIdentifiers("P-1", "A-1", date(2026, 3, 1))


class TestIdentifiers:
    def test_a_later_image_adds_what_was_lacking_and_changes_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert snapshot(store)["identifiers"] == []
        store.accept(new_image(2, identifiers=ExamIdentifiers(patient_id="P-1")), now=T0 + SECOND)
        store.accept(
            new_image(3, identifiers=ExamIdentifiers("P-2", "A-1", date(2026, 3, 1))),
            now=T0 + SECOND,
        )
        assert snapshot(store)["identifiers"] == [(1, T0, "P-1", "A-1", date(2026, 3, 1))]

    def test_the_same_image_again_adds_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert store.accept(new_image(1, identifiers=KNOWN), now=T0) is Acceptance.SAME
        assert snapshot(store)["identifiers"] == []

    def test_a_revision_knows_what_its_own_images_say(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        put_right = replace(KNOWN, patient_id="P-7")
        store.accept(new_image(1, content="b", identifiers=put_right), now=T0 + SECOND)
        assert [line[:3] for line in snapshot(store)["identifiers"]] == [
            (1, T0, "P-1"),
            (2, T0 + SECOND, "P-7"),
        ]

    def test_what_is_read_again_keeps_what_it_is_found_by(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        store.reanalyze(1, by="anna", now=T0 + SECOND)
        assert snapshot(store)["identifiers"][1] == (2, T0 + SECOND, "P-1", "A-1", date(2026, 3, 1))

    def test_no_event_tells_them(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        assert "P-1" not in str(snapshot(store)["events"])


class TestPriority:
    def test_an_urgent_exam_is_read_before_all_others(self, store: ExamStore):
        for number in (1, 2, 3):
            store.accept(new_image(1, f"1.{number}"), now=T0 + number * SECOND)
        exam = claim(store, now=T0 + SECOND)
        store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=T0 + SECOND)
        store.set_priority(3, Priority.URGENT, by="anna", now=T0 + 4 * SECOND)
        assert [claim(store, now=T0 + 4 * SECOND).id for _ in range(3)] == [3, 1, 2]
        assert kinds(store)[-1] == "priority"

    def test_its_results_are_sent_before_all_others(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(1, f"1.{number}"), now=T0 + number * SECOND)
            report(store, "A", now=T0 + number * SECOND)
        store.set_priority(2, Priority.URGENT, by="anna", now=T0 + 3 * SECOND)
        now = T0 + 3 * SECOND
        claimed = store.claim_deliveries("A", "s1", now=now, lease=LEASE, limit=9)
        assert [delivery.exam_id for delivery in claimed] == [2, 1]

    def test_an_exam_that_was_urgent_before_it_was_reported_is_sent_first(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(1, f"1.{number}"), now=T0)
        store.set_priority(2, Priority.URGENT, by="anna", now=T0)
        report(store, "A"), report(store, "A")
        (first,) = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=1)
        assert first.exam_id == 2

    def test_it_goes_on_with_the_later_revisions_of_its_study(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.set_priority(1, Priority.URGENT, by="anna", now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        report(store, "A")
        store.reanalyze(2, by="anna", now=T0)
        assert [job[-2] for job in snapshot(store)["jobs"]] == [Priority.URGENT] * 3

    def test_the_same_priority_again_changes_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        before = snapshot(store)
        store.set_priority(1, Priority.NORMAL, by="anna", now=T0)
        assert snapshot(store) == before

    def test_a_finished_exam_has_nothing_that_could_go_first(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        with pytest.raises(IllegalMove, match="exam 1 is delivered"):
            store.set_priority(1, Priority.URGENT, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.set_priority(2, Priority.URGENT, by="anna", now=T0)


CAD = {"A": ["mammography-cad-sr"]}


class TestSendingAgain:
    def test_what_was_delivered_is_due_again_and_nothing_is_built(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        assert store.resend(1, CAD, by="anna", now=T0 + SECOND) == 1
        assert statuses(store) == [ExamStatus.REPORTED]
        again = take(store, now=T0 + SECOND)
        assert (again.result, again.tries) == (result(1), 1)
        store.record_delivery(again, sent(again), DONE, now=T0 + SECOND)
        assert statuses(store) == [ExamStatus.DELIVERED]
        assert kinds(store)[-3:] == ["resend", "delivery-done", "delivered"]

    def test_a_destination_that_never_got_it_gets_it(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        assert store.resend(1, {"B": ["mammography-cad-sr"]}, by="anna", now=T0 + SECOND) == 1
        assert not store.claim_deliveries("A", "s1", now=T0 + SECOND, lease=LEASE, limit=9)
        assert take(store, "B", now=T0 + SECOND).result == result(1)

    def test_a_proof_of_the_first_time_proves_nothing_of_the_second(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=T0, now=T0)
        proofs = store.claim_proofs("A", "p", now=T0, lease=LEASE, limit=9)
        store.record_request(proofs, "2.25.9", report_due_at=T0 + LEASE, now=T0)
        store.resend(1, CAD, by="anna", now=T0 + SECOND)
        committed = CommitmentReport("2.25.9", (delivery.result.sop_instance_uid,))
        store.record_report(committed, by="PACS", now=T0 + SECOND)
        with pytest.raises(LeaseLost):
            store.renew_proofs(proofs, now=T0 + SECOND, lease=LEASE)
        assert statuses(store) == [ExamStatus.REPORTED]
        again = take(store, now=T0 + 2 * SECOND)
        store.record_delivery(again, sent(again), DONE, proof_due_at=T0, now=T0 + 2 * SECOND)
        assert statuses(store) == [ExamStatus.DELIVERED]

    def test_an_exam_that_waits_or_was_never_sent_is_not_sent_again(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        with pytest.raises(IllegalMove, match="receiving"):
            store.resend(1, CAD, by="anna", now=T0)
        report(store, "A")
        before = snapshot(store)
        with pytest.raises(IllegalMove, match="reported"):
            store.resend(1, CAD, by="anna", now=T0)
        assert snapshot(store) == before

    def test_an_exam_whose_place_a_newer_revision_took_is_not_sent_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.accept(new_image(2), now=T0 + SECOND)
        deliver(store, T0 + SECOND)
        with pytest.raises(IllegalMove, match="exam 2 has taken the place of exam 1"):
            store.resend(1, CAD, by="anna", now=T0 + SECOND)

    def test_a_purged_exam_has_no_files_to_send(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        with pytest.raises(IllegalMove, match="purged"):
            store.resend(1, CAD, by="anna", now=T0 + DAY)

    def test_a_destination_that_wants_none_of_its_objects_changes_nothing(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        deliver(store)
        before = snapshot(store)
        for nobody in ({}, {"B": ["tid1500-sr"]}):
            with pytest.raises(IllegalMove):
                store.resend(1, nobody, by="anna", now=T0)
        assert snapshot(store) == before


class TestPersons:
    def test_a_failed_exam_starts_again_at_the_step_that_failed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        problem = Problem("E501", "the object is wrong")
        store.move_exam(close(store), ExamStatus.FAILED, text="No.", problem=problem, now=T0)
        assert store.retry(1, by="anna", now=T0 + SECOND) is ExamStatus.ANALYZED
        assert snapshot(store)["events"][-1][2:] == ("retry", None, None, "anna")
        assert claim(store, now=T0 + SECOND).tries == 1

    def test_images_that_took_their_worker_down_start_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.accept(new_image(2), now=T0)
        exam = claim(store)
        store.begin_image(exam, 1, now=T0)
        for number, reason in ((1, Reason.WORKER_LOST), (2, Reason.NO_BREAST)):
            store.record_image(exam, number, state=ImageState.FAILED, reason=reason, now=T0)
        store.move_exam(exam, ExamStatus.FAILED, text="Out of tries.", now=T0)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.RECEIVING
        first, second = claim(store).images
        assert (first.state, first.tries, first.reason) == (ImageState.RECEIVED, 0, None)
        assert (second.state, second.reason) == (ImageState.FAILED, Reason.NO_BREAST)

    def test_failed_deliveries_start_again_with_new_patience(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", DONE)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        assert store.retry(1, by="anna", now=T0 + DAY) is ExamStatus.REPORTED
        again = take(store, "A", T0 + DAY)
        assert (again.tries, again.first_try_at) == (1, T0 + DAY)
        assert not store.claim_deliveries("B", "s1", now=T0 + DAY, lease=LEASE, limit=9)
        store.record_delivery(again, sent(again), DONE, now=T0 + DAY)
        assert statuses(store) == ["delivered"]

    def test_a_retried_delivery_still_counts_as_sent(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery, 0xC000), GONE, now=T0)
        store.retry(1, by="anna", now=T0)
        store.accept(new_image(2), now=T0)
        assert len(store.predecessors(close(store))) == 1
        assert statuses(store) == ["reported", "analyzed"]

    def test_only_a_failed_exam_is_retried(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        with pytest.raises(NotFound):
            store.retry(2, by="anna", now=T0)

    def test_a_person_who_knows_that_the_archive_is_back_need_not_wait(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        later = Decision(Verdict.RETRY, "E601", "no connection", T0 + DAY)
        store.record_delivery(delivery, sent(delivery), later, now=T0)
        assert not store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.REPORTED
        assert take(store).result == delivery.result

    def test_an_exam_whose_images_a_newer_revision_took_is_not_retried(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)
        store.cancel(2, why="a mistake", by="anna", now=T0)
        assert store.retry(1, by="anna", now=T0) is ExamStatus.RECEIVING

    def test_a_newer_revision_without_a_result_does_not_bar_the_retry(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        store.move_exam(claim(store), ExamStatus.SKIPPED, text="Nothing new to read.", now=T0)
        # Nor once the retention time of that one is over.
        store.mark_purged(2, now=T0 + DAY)
        assert store.retry(1, by="anna", now=T0 + DAY) is ExamStatus.RECEIVING

    def test_a_cancelled_exam_sends_nothing_and_its_worker_has_lost_it(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store, "A", "B")
        on_its_way, analyzed = take(store, "A"), claim(store)
        for exam_id in (1, 2):
            store.cancel(exam_id, why="a test object", by="anna", now=T0)
        assert statuses(store) == ["cancelled", "cancelled"]
        assert {d[3] for d in snapshot(store)["deliveries"]} == {DeliveryStatus.CANCELLED}
        with pytest.raises(LeaseLost):
            store.record_delivery(on_its_way, sent(on_its_way), DONE, now=T0)
        with pytest.raises(LeaseLost):
            store.release_exam(analyzed, due_at=T0, now=T0)
        assert store.claim_exam("w1", now=T0 + DAY, lease=LEASE) is None

    def test_what_could_not_be_sent_waits_for_nobody_once_its_exam_is_cancelled(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery, 0xC000), GONE, now=T0)
        store.cancel(1, why="given up", by="anna", now=T0)
        assert delivery_statuses(store) == ["cancelled"]
        assert store.drop_destination("A", why="replaced", by="anna", now=T0) == 0

    def test_a_failed_exam_can_be_cancelled_and_a_finished_one_cannot(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.cancel(1, why="given up", by="anna", now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store)
        for exam_id in (1, 2):
            with pytest.raises(IllegalMove):
                store.cancel(exam_id, why="again", by="anna", now=T0)
        with pytest.raises(NotFound):
            store.cancel(3, why="again", by="anna", now=T0)


def over(store: ExamStore, moment: datetime) -> list[int]:
    """The exams that may be purged and ended before `moment`."""
    return [exam.exam_id for exam in store.purgeable(finished_before=moment, limit=9)]


class TestRetention:
    def test_an_image_that_comes_back_after_it_was_purged_is_a_new_revision(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.record_image(exam, 1, state=ImageState.ANALYZED, findings=[FINDING], now=T0)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=T0)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1), now=T0 + DAY) is Acceptance.NEW
        again = claim(store, now=T0 + DAY)
        assert again.revision == 2
        (image,) = again.images
        assert (image.state, image.tries, image.findings) == (ImageState.RECEIVED, 0, ())
        assert (image.revision, image.received_at) == (2, T0 + DAY)
        store.move_exam(again, ExamStatus.SKIPPED, text="Nothing.", now=T0 + DAY)
        assert over(store, T0 + DAY * 2) == [2]

    def test_a_delivered_exam_is_purged_after_its_time_with_all_its_files(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        assert not store.purgeable(finished_before=T0, limit=9)
        assert store.purgeable(finished_before=T0 + TICK, limit=9) == [
            Purgeable(1, "1.2.3", finished_at=T0, size=1001 + 77)
        ]
        files = ["images/1.2.3-1", result(1).path]
        assert list(store.mark_purged(1, now=T0 + DAY)) == files
        after = snapshot(store)
        store.mark_purged(1, now=T0 + DAY)
        assert snapshot(store) == after
        assert statuses(store) == ["purged"]
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)

    def test_an_exam_that_no_destination_ever_got_is_kept(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store)
        assert statuses(store) == ["delivered"]
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)

    def test_skipped_and_cancelled_exams_are_purged_too(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.move_exam(claim(store), ExamStatus.SKIPPED, text="Nothing to read.", now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        store.cancel(2, why="a test", by="anna", now=T0 + TICK)
        assert over(store, T0 + DAY) == [1, 2]
        assert len(store.purgeable(finished_before=T0 + DAY, limit=1)) == 1

    def test_an_exam_that_somebody_still_needs_is_never_purged(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store, "A")
        store.accept(new_image(1, "1.3"), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)
        for exam_id in (1, 2, 3):
            with pytest.raises(IllegalMove):
                store.mark_purged(exam_id, now=T0 + DAY)
        with pytest.raises(NotFound):
            store.mark_purged(4, now=T0 + DAY)

    def test_no_file_goes_that_a_later_revision_refers_to(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.accept(new_image(2), now=T0 + SECOND)
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)
        deliver(store, now=T0 + SECOND)
        assert over(store, T0 + DAY) == [2]
        store.mark_purged(2, now=T0 + DAY)
        assert over(store, T0 + DAY) == [1]

    def test_an_exam_that_got_an_image_since_it_was_named_is_not_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        assert over(store, T0 + DAY) == [1]
        store.accept(new_image(2), now=T0 + DAY)
        with pytest.raises(IllegalMove):
            store.mark_purged(1, now=T0 + DAY)
        assert statuses(store) == ["delivered", "receiving"]

    def test_an_exam_delivered_to_nobody_is_not_marked_either(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store)
        with pytest.raises(IllegalMove):
            store.mark_purged(1, now=T0 + DAY)

    def test_an_exam_after_the_purge_does_not_name_images_whose_files_are_gone(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        store.accept(new_image(2), now=T0 + DAY)
        exam = claim(store, now=T0 + DAY)
        assert (exam.revision, len(exam.images)) == (2, 1)
