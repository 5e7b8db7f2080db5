"""The exam store of a node with a broker: after each commit it says which exam has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cadnode.core.hints import Hints
from cadnode.core.jobs import Acceptance, Delivery, Exam, ExamStatus, NewImage, StoredResult
from cadnode.core.proof import Proof, ProofDecision
from cadnode.core.retry import Decision, SendOutcome
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore


class HintingExamStore(SqlExamStore):
    """A SqlExamStore that tells `hints`; what raises has changed nothing, and nobody is told."""

    def __init__(self, database: Database, hints: Hints) -> None:
        super().__init__(database)
        self._hints = hints

    def accept(self, image: NewImage, *, now: datetime) -> Acceptance:
        """See ExamStore.accept."""
        acceptance = super().accept(image, now=now)
        if acceptance in (Acceptance.NEW, Acceptance.CHANGED):
            self._hints.study_changed(image.study_instance_uid)
        return acceptance

    def release_exam(self, exam: Exam, **how: Any) -> None:
        """See ExamStore.release_exam."""
        super().release_exam(exam, **how)
        self._hints.exam_changed(exam.id)

    def move_exam(self, exam: Exam, to: ExamStatus, **how: Any) -> None:
        """See ExamStore.move_exam."""
        super().move_exam(exam, to, **how)
        self._hints.exam_changed(exam.id)

    def record_results(
        self,
        exam: Exam,
        results: Sequence[StoredResult],
        destinations: Mapping[str, Sequence[str]],
        **how: Any,
    ) -> None:
        """See ExamStore.record_results."""
        super().record_results(exam, results, destinations, **how)
        self._hints.exam_changed(exam.id)

    def record_delivery(
        self, delivery: Delivery, outcome: SendOutcome, decision: Decision, **how: Any
    ) -> None:
        """See DeliveryStore.record_delivery."""
        super().record_delivery(delivery, outcome, decision, **how)
        self._hints.exam_changed(delivery.exam_id)

    def release_deliveries(self, deliveries: Sequence[Delivery], *, now: datetime) -> None:
        """See DeliveryStore.release_deliveries."""
        super().release_deliveries(deliveries, now=now)
        for exam_id in {delivery.exam_id for delivery in deliveries}:
            self._hints.exam_changed(exam_id)

    def record_proof(self, proof: Proof, decision: ProofDecision, *, now: datetime) -> None:
        """See ProofStore.record_proof: what is not held there is to be delivered again."""
        super().record_proof(proof, decision, now=now)
        self._hints.exam_changed(proof.exam_id)
