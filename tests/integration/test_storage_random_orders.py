"""The SQL store and the one in memory stay the same in any order of calls."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.errors import StoreError
from cadnode.core.exam import ImageState
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.jobs import Acceptance, Delivery, Exam, ExamStatus, Priority, Problem
from cadnode.core.ports import ExamStore
from cadnode.core.proof import CommitmentReport, Proof, ProofDecision, ProofVerdict
from cadnode.core.reasons import Reason
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.exams import (
    DONE,
    FINDING,
    GONE,
    LEASE,
    SECOND,
    T0,
    current_sets,
    new_image,
    result,
    retry_at,
    sent,
    snapshot,
)
from tests.contract.fake_store import FakeExamStore


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cadnode-template-"))
    upgrade(f"sqlite:///{folder / 'jobs.db'}")
    return folder / "jobs.db"


def _mark_purged(store: ExamStore, exam_id: int, now: datetime) -> list[str]:
    return list(store.mark_purged(exam_id, now=now))


def _stored(store: ExamStore, delivery: Delivery, now: datetime) -> None:
    store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=now, now=now)


def _ask(store: ExamStore, proof: Proof, uid: str, now: datetime) -> None:
    store.record_request([proof], uid, report_due_at=now + LEASE, now=now)


def _close(store: ExamStore, exam: Exam, now: datetime) -> None:
    store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=now)


def _report(store: ExamStore, exam: Exam, to: str, now: datetime) -> object:
    named, built = store.predecessors(exam), result(exam.id)
    destinations = {name: [built.kind] for name in to}
    store.record_results(exam, [built], destinations, predecessors=named, now=now)
    return tuple(named)


def _exam_ids(store: ExamStore) -> list[int]:
    return [job[0] for job in snapshot(store)["jobs"] if isinstance(job[0], int)]


class TwoStores(RuleBasedStateMachine):
    """Every call goes to both; both must answer, refuse and remember the same."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="cadnode-store-")
        path = Path(self.folder.name) / "jobs.db"
        shutil.copyfile(_template(), path)
        self.database = Database(f"sqlite:///{path}")
        self.sql: ExamStore = SqlExamStore(self.database)
        self.memory: ExamStore = FakeExamStore()
        self.now = T0
        self.acknowledged: set[tuple[str, str]] = set()
        self.exams: list[Exam] = []
        self.deliveries: list[Delivery] = []
        self.proofs: list[Proof] = []
        self.transactions: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()

    def both(self, call: Callable[[ExamStore], object]) -> Any:
        answers = []
        for store in (self.sql, self.memory):
            try:
                answers.append(call(store))
            except StoreError as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    @invariant()
    def both_know_the_same(self) -> None:
        if hasattr(self, "database"):
            assert snapshot(self.sql) == snapshot(self.memory)
            for name in "AB":
                assert self.sql.line(name) == self.memory.line(name)

    @invariant()
    def no_study_has_two_current_sets(self) -> None:
        if hasattr(self, "database"):
            known = snapshot(self.sql)
            current = set(current_sets(self.sql))
            studies = [job[1] for job in known["jobs"] if job[0] in current]
            assert len(studies) == len(set(studies))

    @invariant()
    def nothing_acknowledged_is_forgotten(self) -> None:
        if hasattr(self, "database"):
            tables = snapshot(self.sql)
            study_of = {job[0]: job[1] for job in tables["jobs"]}
            known = {(study_of[image[1]], image[2]) for image in tables["images"]}
            assert self.acknowledged <= known
            # No closed exam is without what it was closed with, and none waits unseen.
            counts = Counter(image[1] for image in tables["images"])
            assert {job[0]: job[-1] for job in tables["jobs"]} == {
                job: counts[job] for job in study_of
            }

    @rule(
        study=st.sampled_from(["1.1", "1.2"]),
        number=st.integers(1, 4),
        content=st.sampled_from("aaab"),
    )
    def accept(self, study: str, number: int, content: str) -> None:
        known = ExamIdentifiers(patient_id=f"P{number % 2}") if number > 1 else NO_IDENTIFIERS
        image = new_image(number, study, content, known)
        answer = self.both(lambda s: s.accept(image, now=self.now))
        if answer is not Acceptance.CONFLICT:
            self.acknowledged.add((study, image.sop_instance_uid))

    @rule(seconds=st.sampled_from([1, 30, 60]))
    def time_goes_by(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(owner=st.sampled_from(["w1", "w2"]))
    def claim_exam(self, owner: str) -> None:
        exam = self.both(lambda s: s.claim_exam(owner, now=self.now, lease=LEASE))
        if isinstance(exam, Exam):
            self.exams.append(exam)

    @precondition(lambda self: self.exams)
    @rule(data=st.data())
    def analyze(self, data: st.DataObject) -> None:
        exam = self.pick_exam(data)
        image_id = data.draw(st.sampled_from([image.id for image in exam.images] or [99]))
        state = data.draw(st.sampled_from(ImageState))
        reason = data.draw(
            st.sampled_from([None, Reason.WORKER_LOST, Reason.NO_BREAST, Reason.PATIENT_DIFFERS])
        )
        self.both(lambda s: s.begin_image(exam, image_id, now=self.now))
        self.both(
            lambda s: s.record_image(
                exam, image_id, state=state, findings=[FINDING], reason=reason, now=self.now
            )
        )

    @precondition(lambda self: self.exams)
    @rule(
        data=st.data(), wait=st.sampled_from([0, 1, 100]), problem=st.sampled_from(["", "x", "y"])
    )
    def hand_back(self, data: st.DataObject, wait: int, problem: str) -> None:
        exam, due_at = self.pick_exam(data), self.now + timedelta(seconds=wait)
        why = Problem("E401", problem) if problem else None
        self.both(lambda s: s.release_exam(exam, due_at=due_at, problem=why, now=self.now))

    @precondition(lambda self: self.exams)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        exam = self.pick_exam(data)
        self.both(lambda s: s.renew_exam(exam, now=self.now, lease=LEASE))

    @precondition(lambda self: self.exams)
    @rule(
        data=st.data(),
        to=st.sampled_from(["analyzed", "analyzed", "analyzed", "skipped", "failed", "delivered"]),
    )
    def move(self, data: st.DataObject, to: str) -> None:
        exam, status = self.pick_exam(data), ExamStatus(to)
        self.both(lambda s: s.move_exam(exam, status, text="Moved.", now=self.now))

    @precondition(lambda self: self.exams)
    @rule(data=st.data(), wanted=st.sampled_from(["", "A", "AB"]))
    def report(self, data: st.DataObject, wanted: str) -> None:
        exam = self.pick_exam(data)
        built = [result(exam.id)]
        destinations = {name: [built[0].kind] for name in wanted}
        named = self.both(lambda s: tuple(s.predecessors(exam)))
        assert isinstance(named, tuple)
        self.both(
            lambda s: s.record_results(exam, built, destinations, predecessors=named, now=self.now)
        )

    @rule(wanted=st.sampled_from(["A", "AB"]))
    def analyze_and_report_what_is_due(self, wanted: str) -> None:
        for _ in ("close", "report"):
            exam = self.both(lambda s: s.claim_exam("w3", now=self.now, lease=LEASE))
            if not isinstance(exam, Exam):
                return
            if exam.status is ExamStatus.RECEIVING:
                self.both(partial(_close, exam=exam, now=self.now))
            else:
                self.both(partial(_report, exam=exam, to=wanted, now=self.now))

    @rule(destination=st.sampled_from("AB"), owner=st.sampled_from(["s1", "s2"]))
    def claim_deliveries(self, destination: str, owner: str) -> None:
        claimed = self.both(
            lambda s: s.claim_deliveries(destination, owner, now=self.now, lease=LEASE, limit=2)
        )
        assert isinstance(claimed, list)
        self.deliveries += claimed

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), end=st.sampled_from(["done", "gone", "again", "back", "renew"]))
    def deliver(self, data: st.DataObject, end: str) -> None:
        delivery = data.draw(st.sampled_from(self.deliveries[-4:]))
        match end:
            case "back":
                self.both(lambda s: s.release_deliveries([delivery], now=self.now))
            case "renew":
                self.both(lambda s: s.renew_deliveries([delivery], now=self.now, lease=LEASE))
            case _:
                decision = {"done": DONE, "gone": GONE, "again": retry_at(self.now + SECOND)}[end]
                outcome = sent(delivery)
                due = self.now if delivery.destination == "A" else None
                self.both(
                    lambda s: s.record_delivery(
                        delivery, outcome, decision, proof_due_at=due, now=self.now
                    )
                )

    @rule()
    def deliver_and_claim_proofs(self) -> None:
        for delivery in self.both(
            lambda s: s.claim_deliveries("A", "s3", now=self.now, lease=LEASE, limit=9)
        ):
            self.both(partial(_stored, delivery=delivery, now=self.now))
        claimed = self.both(lambda s: s.claim_proofs("A", "p", now=self.now, lease=LEASE, limit=2))
        assert isinstance(claimed, list)
        self.proofs += claimed

    @precondition(lambda self: self.proofs)
    @rule(data=st.data(), verdict=st.sampled_from([None, *ProofVerdict]))
    def prove(self, data: st.DataObject, verdict: ProofVerdict | None) -> None:
        proof = data.draw(st.sampled_from(self.proofs[-3:]))
        if verdict is None:
            self.both(lambda s: s.renew_proofs([proof], now=self.now, lease=LEASE))
            return
        decision = ProofDecision(verdict, "a test", self.now + 30 * SECOND)
        if verdict is ProofVerdict.AWAIT:
            self.transactions.append(f"9.{len(self.transactions)}")
            self.both(partial(_ask, proof=proof, uid=self.transactions[-1], now=self.now))
        self.both(lambda s: s.record_proof(proof, decision, now=self.now))

    @precondition(lambda self: self.transactions)
    @rule(data=st.data(), well=st.booleans())
    def report_on_a_transaction(self, data: st.DataObject, well: bool) -> None:
        uid = data.draw(st.sampled_from(self.transactions[-3:]))
        named = [proof.result.sop_instance_uid for proof in self.proofs[-3:]]
        report = (
            CommitmentReport(uid, tuple(named))
            if well
            else CommitmentReport(uid, (), dict.fromkeys(named, 0x0112))
        )
        self.both(lambda s: s.record_report(report, by="PACS", now=self.now))

    @rule(
        exam_id=st.integers(1, 4),
        what=st.sampled_from(
            [*["retry", "reanalyze", "resend"] * 2, "urgent", "normal", "cancel", "drop"]
        ),
        to=st.sampled_from(["A", "B", "AB"]),
    )
    def a_person_decides(self, exam_id: int, what: str, to: str) -> None:
        match what:
            case "resend":
                wanted = {name: ["mammography-cad-sr"] for name in to}
                self.both(lambda s: s.resend(exam_id, wanted, by="anna", now=self.now))
            case "urgent" | "normal":
                priority = Priority[what.upper()]
                self.both(lambda s: s.set_priority(exam_id, priority, by="anna", now=self.now))
            case "retry":
                self.both(lambda s: s.retry(exam_id, by="anna", now=self.now))
            case "reanalyze":
                self.both(lambda s: s.reanalyze(exam_id, by="anna", now=self.now))
            case "cancel":
                self.both(lambda s: s.cancel(exam_id, why="a test", by="anna", now=self.now))
            case "drop":
                self.both(lambda s: s.drop_destination("B", why="a test", by="a", now=self.now))
            case _:
                raise AssertionError(what)

    @rule(to=st.sampled_from(["A", "B", "AB"]), urgent=st.booleans())
    def deliver_all_and_send_again(self, to: str, urgent: bool) -> None:
        """What ten rules in the right order would do once in a hundred runs."""
        self.analyze_and_report_what_is_due("A")
        for job_id in _exam_ids(self.sql):
            priority = Priority.URGENT if urgent and job_id % 2 else Priority.NORMAL
            self.both(lambda s: s.set_priority(job_id, priority, by="anna", now=self.now))  # noqa: B023
        for name in "AB":
            for delivery in self.both(
                lambda s: s.claim_deliveries(name, "s4", now=self.now, lease=LEASE, limit=9)  # noqa: B023
            ):
                self.both(partial(_stored, delivery=delivery, now=self.now))
        wanted = {name: ["mammography-cad-sr"] for name in to}
        for job_id in _exam_ids(self.sql):
            self.both(lambda s: s.resend(job_id, wanted, by="anna", now=self.now))  # noqa: B023

    @rule(destination=st.sampled_from("AB"), event=st.sampled_from(LineEvent))
    def hear(self, destination: str, event: LineEvent) -> None:
        self.both(
            lambda s: s.note_line(
                destination,
                event,
                error="no connection",
                jitter=0.5,
                rules=BreakerRules(),
                give_up_after=90 * SECOND,
                now=self.now,
            )
        )
        self.both(lambda s: s.line(destination))

    @rule(destination=st.sampled_from("AB"))
    def probe(self, destination: str) -> None:
        self.both(lambda s: s.hold_probe(destination, now=self.now, lease=LEASE))

    @rule()
    def purge(self) -> None:
        over = self.both(lambda s: s.purgeable(finished_before=self.now - 60 * SECOND, limit=2))
        assert isinstance(over, list)
        for exam in over:
            self.both(partial(_mark_purged, exam_id=exam.exam_id, now=self.now))

    def pick_exam(self, data: st.DataObject) -> Exam:
        # Mostly the latest claim, sometimes one long lost.
        return data.draw(st.sampled_from([*self.exams[-3:], self.exams[-1], self.exams[-1]]))


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    # Shrinking a failure takes minutes and the steps printed are plain enough without it.
    phases=[Phase.generate],
    max_examples=10,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
