"""The part of the ExamStore in memory that writes down results and withdraws superseded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from cadnode.core.errors import IllegalMove, StaleExam
from cadnode.core.exam import DocumentReference
from cadnode.core.jobs import ANALYSIS_LANE, DeliveryStatus, Exam, ExamStatus, StoredResult
from tests.contract.fake_rows import FakeDelivery, FakeJob, FakeRows, is_free


class FakeReporting(FakeRows):
    """A closed exam becomes result objects."""

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
                or (d.status is DeliveryStatus.PENDING and is_free(d, now))
            ]
            self._withdraw(job, unsent, now, exam.owner)
