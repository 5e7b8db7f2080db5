"""The part of the ExamStore in memory that takes images in."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cadnode.core.exam import ExamImage, ImageState
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import Acceptance, DeliveryStatus, ExamStatus, NewImage, Priority
from cadnode.core.reasons import Reason
from tests.contract.fake_rows import FakeImage, FakeJob, FakeRows


class FakeReceiving(FakeRows):
    """Images become exams."""

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
        own = [known for known, kept in self.images.items() if kept.job is job]
        instead = own[:1] == [number]
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
        if instead:
            known, new = new, known
        job.identifiers = ExamIdentifiers(
            known.patient_id or new.patient_id,
            known.accession_number or new.accession_number,
            known.study_date or new.study_date,
        )
        return job

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
