"""Exams in a node that is not running: received, and read by a quick classifier."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pydicom.dataset import Dataset

from cadnode.app import once, utc_now
from cadnode.core.exam import ExamRules
from cadnode.core.jobs import Acceptance, NewImage
from tests.console import ConsoleUnderTest
from tests.contract.fake_classifier import FakeClassifier
from tests.objects import write

ALL_AT_ONCE = ExamRules(expected_views=frozenset(), quiet_seconds=0.0)
OWNER = "host:4711:0badcafe"


def receive(
    node: ConsoleUnderTest, objects: Iterable[Dataset], *, calling_ae: str = "MODALITY"
) -> list[Acceptance]:
    """Have the node keep the objects as its receiver does."""
    answers = []
    for number, dataset in enumerate(objects):
        file = write(dataset, node.spool.incoming_dir / f"{number}.part")
        study, uid = str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)
        with node.spool.receiving(study):
            kept = node.spool.keep_image(file, study_instance_uid=study, sop_instance_uid=uid)
            image = NewImage(
                sop_instance_uid=uid,
                sop_class_uid=str(dataset.SOPClassUID),
                study_instance_uid=study,
                series_instance_uid=str(dataset.SeriesInstanceUID),
                transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
                path=kept.path,
                size=kept.size,
                sha256=kept.sha256,
                calling_ae=calling_ae,
            )
            answers.append(node.store.exams.accept(image, now=utc_now()))
    return answers


def analyze(node: ConsoleUnderTest, rules: ExamRules = ALL_AT_ONCE) -> None:
    """Run every exam that is due up to its results."""
    pipeline = node.app.pipeline(
        node.store.exams,
        node.spool,
        classifier=once(FakeClassifier),
        senders={},
        exam_rules=rules,
    )
    while exam := node.store.exams.claim_exam(OWNER, now=utc_now(), lease=timedelta(hours=1)):
        pipeline.advance(exam, lambda: None)
