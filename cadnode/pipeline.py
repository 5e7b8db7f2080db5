"""The life of an exam, step by step, in the order it happens. Read this first.

    analyze   look at every image that has come; close the exam when it is complete
    report    build the result objects and write them down
    deliver   send what is due at one destination (`outgoing`)

Receiving comes before (`dimse.scp` -> `storage`), retention after (`storage.retention`). Each step
starts from facts on disk and leaves facts on disk, so that any of them can be killed and run again:
UIDs derive from what they name, result files are written aside and renamed, and a second delivery
sends the stored file. No step knows a library: files, pixels, weights and network are ports.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from cadnode.core.analysis import Prepared, analyze
from cadnode.core.eligibility import judge
from cadnode.core.errors import ImageFailed, InstanceConflict, OutOfTries
from cadnode.core.exam import (
    AnalyzedImage,
    CompletedBy,
    ExamImage,
    ExamReport,
    ExamRules,
    ImageState,
    completed_by,
    superseded_by_presentation,
)
from cadnode.core.jobs import Exam, ExamStatus, Problem
from cadnode.core.mammogram import ImageHeader, Intent
from cadnode.core.metrics import IMAGES_ANALYZED, Metrics
from cadnode.core.model import algorithm, model_label
from cadnode.core.patch_map import PatchMap
from cadnode.core.ports import (
    Classifier,
    ExamStore,
    MammogramReader,
    OutputBuilder,
    ResultFiles,
    Sender,
)
from cadnode.core.reasons import Reason
from cadnode.core.retry import RetryRules
from cadnode.outgoing import Outgoing
from cadnode.reading_ahead import ReadingAhead

log = structlog.get_logger(__name__)

IMAGE_TRIES = 3
"""How often reading one image may take the worker down before the image is given up."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the site decides about exams and deliveries."""

    exam: ExamRules
    analyzed_views: frozenset[str]
    retry: RetryRules
    max_tries: int
    destinations: Mapping[str, Sequence[str]]
    """Enabled destinations: name -> kinds of object each one wants."""
    proof_after: Mapping[str, timedelta] = field(default_factory=dict)
    """Destinations that are to prove what they hold: name -> how long after the delivery."""


class Pipeline(Outgoing):
    """The steps of an exam over the ports they need."""

    def __init__(
        self,
        *,
        store: ExamStore,
        files: ResultFiles,
        reader: MammogramReader,
        classifier: Callable[[], Classifier],
        builders: Sequence[OutputBuilder],
        senders: Mapping[str, Sender],
        rules: Rules,
        manufacturer: str,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(
            store=store,
            files=files,
            senders=senders,
            retry=rules.retry,
            proof_after=rules.proof_after,
            clock=clock,
            jitter=jitter,
            metrics=metrics,
        )
        self._reader = reader
        self._classifier = classifier
        self._builders = builders
        self._rules = rules
        self._manufacturer = manufacturer

    def advance(self, exam: Exam, pulse: Callable[[], None]) -> None:
        """Run the step that is due for a claimed exam and write down where it stands.

        `pulse` is called often; it raises to interrupt the step (a stop, a lost lease).
        """
        if exam.tries > self._rules.max_tries:
            self._give_up(exam)
        elif exam.status is ExamStatus.RECEIVING:
            self.analyze(exam, pulse)
        else:
            self.report(exam, pulse)

    def analyze(self, exam: Exam, pulse: Callable[[], None]) -> None:
        """Analyze what is new; close the exam if it is complete, else wait for more."""
        images = list(exam.images)
        if not _has_its_result(exam):
            reading = self._reading(exam)
            images = [
                self._settle(exam, image, pulse, reading=reading, after=images[place:])
                for place, image in enumerate(images, start=1)
            ]
        complete = completed_by(
            images, self._rules.exam, last_image_at=exam.last_image_at, now=self._clock()
        )
        if complete is None:
            quiet_ends = exam.last_image_at + timedelta(seconds=self._rules.exam.quiet_seconds)
            self._store.release_exam(exam, due_at=quiet_ends, now=self._clock())
            return
        if _has_its_result(exam):
            images = [self._leave(exam, image) for image in images]
        else:
            images = [self._settle_held(exam, image, images, pulse) for image in images]
        if exam.renews:
            images = [self._checked_again(exam, image) for image in images]
        self._close(exam, images, complete)

    def report(self, exam: Exam, pulse: Callable[[], None]) -> None:
        """Build every result object, keep the files, and note what is due where."""
        # The objects name one model: what another one has read is read again here, and only here.
        # While an update is under way, workers with two models may take turns at one exam.
        images = [
            self._settle(exam, self._of_this_model(image), pulse, closing=True)
            for image in exam.images
        ]
        predecessors = self._store.predecessors(exam)
        report = ExamReport(
            study_instance_uid=exam.study_instance_uid,
            revision=exam.revision,
            created_at=exam.analyzed_at or exam.created_at,
            algorithm=algorithm(self._classifier().spec, self._manufacturer),
            images=tuple(
                AnalyzedImage(
                    path=self._files.path_of(image.path),
                    sop_instance_uid=image.sop_instance_uid,
                    sop_class_uid=image.sop_class_uid,
                    series_instance_uid=image.series_instance_uid,
                    laterality=image.laterality,
                    view=image.view,
                    findings=image.findings,
                    failure=image.reason,
                )
                for image in images
                if image.state in (ImageState.ANALYZED, ImageState.FAILED)
            ),
            predecessors=tuple(predecessors),
        )
        results = []
        for builder in self._builders:
            for built in builder.objects(report):
                results.append(self._files.keep_result(exam.study_instance_uid, built))
                pulse()
        self._store.record_results(
            exam,
            results,
            self._rules.destinations,
            predecessors=report.predecessors,
            now=self._clock(),
        )
        log.info("reported", exam=exam.id, objects=len(results))

    # ---- inside the steps ------------------------------------------------------------------

    def _settle(
        self,
        exam: Exam,
        image: ExamImage,
        pulse: Callable[[], None],
        *,
        closing: bool = False,
        reading: ReadingAhead | None = None,
        after: Sequence[ExamImage] = (),
    ) -> ExamImage:
        """Look at one image unless that is done, and return it as it stands now.

        A For Processing image is held until the exam closes: its For Presentation image may come.
        While the model works on it, the next of the images `after` is read.
        """
        held = image.state is ImageState.RECEIVED and image.intent is Intent.PROCESSING
        if held and not closing:
            return image
        settled = image.state in (ImageState.ANALYZED, ImageState.SET_ASIDE, ImageState.FAILED)
        if settled and image.reason is not Reason.HAS_ITS_RESULT:
            return image
        pulse()
        reading = reading or self._reading(exam)
        if reading.tries(image) > IMAGE_TRIES:
            return self._failed(exam, image, ImageFailed(Reason.WORKER_LOST), None)
        header = None
        try:
            header = self._reader.header(self._files.path_of(image.path))
            reason = judge(header, analyzed_views=self._rules.analyzed_views)
            if reason is None and self._other_patient(exam, image, header):
                reason = Reason.PATIENT_DIFFERS
            if reason is None and header.intent is Intent.PROCESSING and not closing:
                return self._record(exam, image, ImageState.RECEIVED, header)
            if reason is not None and reason.set_aside:
                return self._record(exam, image, ImageState.SET_ASIDE, header, reason=reason)
            if reason is not None:
                raise ImageFailed(reason)
            spec = self._classifier().spec
            prepared = reading.prepared(image, header, spec)
            reading.look_ahead(image, after, spec)
            return self._read(exam, image, header, prepared, pulse)
        except ImageFailed as failure:
            return self._failed(exam, image, failure, header)

    def _reading(self, exam: Exam) -> ReadingAhead:
        return ReadingAhead(
            self._reader,
            self._files,
            analyzed_views=self._rules.analyzed_views,
            begin=lambda image: self._store.begin_image(exam, image.id, now=self._clock()),
        )

    def _read(
        self,
        exam: Exam,
        image: ExamImage,
        header: ImageHeader,
        prepared: Prepared,
        pulse: Callable[[], None],
    ) -> ExamImage:
        found = analyze(prepared, self._classifier(), on_batch=pulse)
        log.info(
            "analyzed",
            exam=exam.id,
            sop_instance_uid=image.sop_instance_uid,
            patches=found.patches,
            findings=len(found.findings),
        )
        return self._record(
            exam,
            image,
            ImageState.ANALYZED,
            header,
            patch_map=found.patch_map,
            findings=found.findings,
        )

    def _of_this_model(self, image: ExamImage) -> ExamImage:
        """The image as if it had not been read, where another model has read it."""
        if image.state is not ImageState.ANALYZED or image.model == self._model():
            return image
        return replace(image, state=ImageState.RECEIVED)

    def _settle_held(
        self,
        exam: Exam,
        image: ExamImage,
        images: Sequence[ExamImage],
        pulse: Callable[[], None],
    ) -> ExamImage:
        # Also one that an earlier revision has read, or failed to: its other half has come late.
        if image.state is not ImageState.SET_ASIDE and superseded_by_presentation(image, images):
            reason = Reason.PRESENTATION_PREFERRED
            return self._record(exam, image, ImageState.SET_ASIDE, None, reason=reason, findings=())
        if image.state is not ImageState.RECEIVED:
            return image
        return self._settle(exam, image, pulse, closing=True)

    def _leave(self, exam: Exam, image: ExamImage) -> ExamImage:
        reason = Reason.HAS_ITS_RESULT
        return self._record(exam, image, ImageState.SET_ASIDE, None, reason=reason, findings=())

    def _checked_again(self, exam: Exam, image: ExamImage) -> ExamImage:
        """The image that its patient was compared with may have been replaced since."""
        if image.state is not ImageState.ANALYZED:
            return image
        try:
            header = self._reader.header(self._files.path_of(image.path))
        except ImageFailed as failure:
            return self._failed(exam, image, failure, None)
        if not self._other_patient(exam, image, header):
            return image
        reason = Reason.PATIENT_DIFFERS
        return self._record(exam, image, ImageState.SET_ASIDE, header, reason=reason, findings=())

    def _close(self, exam: Exam, images: Sequence[ExamImage], complete: CompletedBy) -> None:
        looked_at = [i for i in images if i.state in (ImageState.ANALYZED, ImageState.FAILED)]
        new = any(image.revision == exam.revision for image in looked_at)
        problem = None
        if _has_its_result(exam):
            text = "closed without a result: images that were purged came back; their result stands"
            to = ExamStatus.SKIPPED
        elif not looked_at and exam.renews and self._store.predecessors(exam):
            text = "nothing is left to read, but a result of other bytes was sent; a person decides"
            to = ExamStatus.FAILED
            problem = Problem(InstanceConflict.code, text)
        elif not looked_at:
            text = "closed without a result: nothing in it that this node reads"
            to = ExamStatus.SKIPPED
        elif exam.revision > 1 and not new and not exam.renews:
            text = "closed without a result: nothing new to read; the earlier revision stands"
            to = ExamStatus.SKIPPED
        else:
            text = f"closed: {complete}"
            to = ExamStatus.ANALYZED
        self._store.move_exam(exam, to, text=text, problem=problem, now=self._clock())
        log.info("closed", exam=exam.id, status=to, images=len(images))

    def _give_up(self, exam: Exam) -> None:
        error = OutOfTries(f"the step out of {exam.status} was begun {exam.tries - 1} times")
        self._store.move_exam(
            exam,
            ExamStatus.FAILED,
            text=f"given up after {exam.tries - 1} tries; a person decides",
            problem=Problem(error.code, error.detail),
            now=self._clock(),
        )

    def _failed(
        self, exam: Exam, image: ExamImage, failure: ImageFailed, header: ImageHeader | None
    ) -> ExamImage:
        log.warning(
            "image failed",
            exam=exam.id,
            sop_instance_uid=image.sop_instance_uid,
            reason=failure.reason.code,
            detail=failure.detail,
        )
        return self._record(
            exam, image, ImageState.FAILED, header, reason=failure.reason, detail=failure.detail
        )

    def _record(
        self,
        exam: Exam,
        image: ExamImage,
        state: ImageState,
        header: ImageHeader | None,
        *,
        patch_map: PatchMap | None = None,
        **fields: Any,
    ) -> ExamImage:
        now = self._clock()
        model = self._model() if state is ImageState.ANALYZED else None
        self._store.record_image(
            exam,
            image.id,
            state=state,
            header=header,
            model=model,
            patch_map=patch_map,
            now=now,
            **fields,
        )
        if state is not ImageState.RECEIVED:
            reason = fields.get("reason")
            self._metrics.add(IMAGES_ANALYZED, reason.code if reason else "analyzed")
        known = (
            {}
            if header is None
            else {
                name: getattr(header, name)
                for name in ("laterality", "view", "intent", "source_uids", "rows", "columns")
            }
        )
        return replace(image, state=state, model=model, **known, **fields)

    def _other_patient(self, exam: Exam, image: ExamImage, header: ImageHeader) -> bool:
        """True when the image names another patient than the first readable one of its study."""
        for other in exam.images:
            if other.id == image.id or header.patient_key is None:
                return False
            try:
                first = self._reader.header(self._files.path_of(other.path))
            except ImageFailed:
                continue
            return first.patient_key is not None and first.patient_key != header.patient_key
        return False

    def _model(self) -> str:
        return model_label(self._classifier().spec)


def _has_its_result(exam: Exam) -> bool:
    """True when all there is came back, unchanged, after it was purged."""
    return not exam.renews and all(image.returned for image in exam.images)
