"""A whole node on fakes: store, reader, classifier, builder and sender in memory, time by hand."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from cadnode.core.errors import ImageFailed
from cadnode.core.exam import BuiltResult, ExamReport, ExamRules
from cadnode.core.jobs import Acceptance, Exam, NewImage, StoredResult
from cadnode.core.mammogram import ImageHeader, Intent, Laterality, Mammogram, PixelSpacing
from cadnode.core.reasons import Reason
from cadnode.core.retry import RetryRules
from cadnode.core.uids import derive_uid
from cadnode.pipeline import Pipeline, Rules
from tests.contract.fake_classifier import FakeClassifier
from tests.contract.fake_sender import FakeSender
from tests.contract.fake_store import FakeExamStore
from tests.pictures import Picture, breast_phantom

MG = "1.2.840.10008.5.1.4.1.1.1.2"
MG_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
STUDY = "1.2.3"


@dataclass
class FakeReader:
    """Answers with the headers and failures it was given, and one small phantom for pixels."""

    headers: dict[str, ImageHeader] = field(default_factory=dict)
    failures: dict[str, Reason] = field(default_factory=dict)
    decoded: list[str] = field(default_factory=list)

    def header(self, path: Path) -> ImageHeader:
        if path.name not in self.headers:
            raise ImageFailed(Reason.UNREADABLE)
        return self.headers[path.name]

    def mammogram(self, path: Path, header: ImageHeader) -> Mammogram:
        if path.name in self.failures:
            raise ImageFailed(self.failures[path.name])
        self.decoded.append(path.name)
        assert header.laterality
        assert header.view
        assert header.intent
        assert header.spacing
        pixels = _phantom(header.laterality)
        return Mammogram(
            sop_instance_uid=header.sop_instance_uid,
            laterality=header.laterality,
            view=header.view,
            intent=header.intent,
            spacing=header.spacing,
            pixels=pixels,
            valid=np.ones(pixels.shape, dtype=bool),
        )


@dataclass
class FakeFiles:
    """Result files in a folder of the test; images are names only."""

    folder: Path
    kept: dict[str, bytes] = field(default_factory=dict)

    def keep_result(self, study_instance_uid: str, built: BuiltResult) -> StoredResult:
        self.kept[built.sop_instance_uid] = built.content
        path = self.folder / built.sop_instance_uid
        path.write_bytes(built.content)
        return StoredResult(
            kind=built.kind,
            sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
            series_instance_uid=built.series_instance_uid,
            path=built.sop_instance_uid,
            sha256="0" * 64,
            size=len(built.content),
        )

    def path_of(self, relative: str) -> Path:
        return self.folder / relative

    def remove(self, relative: str) -> None:
        (self.folder / relative).unlink(missing_ok=True)


@dataclass
class FakeBuilder:
    """Writes the report down as text; the UID derives from it as a real builder's does."""

    kind: str
    reports: list[ExamReport] = field(default_factory=list)

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        self.reports.append(report)
        images = ",".join(sorted(image.sop_instance_uid for image in report.images))
        uid = derive_uid(report.study_instance_uid, str(report.revision), images, self.kind)
        yield BuiltResult(self.kind, "1.2.88.50", uid, uid + ".1", repr(report).encode())


class Bench:
    """Sends images in, runs the lanes, moves the clock."""

    def __init__(self, folder: Path, destinations: tuple[str, ...] = ("pacs",)) -> None:
        self.now = START
        self.store = FakeExamStore()
        self.reader = FakeReader()
        self.files = FakeFiles(folder)
        self.builder = FakeBuilder("mammography-cad-sr")
        self.senders = {name: FakeSender() for name in destinations}
        self.pipeline = Pipeline(
            store=self.store,
            files=self.files,
            reader=self.reader,
            classifier=FakeClassifier,
            builders=[self.builder],
            senders=self.senders,
            rules=Rules(
                exam=ExamRules(frozenset({"RCC", "LCC", "RMLO", "LMLO"}), quiet_seconds=60),
                analyzed_views=frozenset({"CC", "MLO"}),
                retry=RetryRules(),
                max_tries=4,
                destinations={name: ["mammography-cad-sr"] for name in destinations},
            ),
            manufacturer="test",
            clock=lambda: self.now,
            jitter=lambda: 1.0,
        )

    def send(self, name: str, view: str = "RCC", **changes: object) -> Acceptance:
        """One image, called `name`, arrives."""
        header = replace(header_of(name, view), **changes)  # type: ignore[arg-type]
        self.reader.headers[name] = header
        return self.store.accept(
            NewImage(
                sop_instance_uid=header.sop_instance_uid,
                sop_class_uid=header.sop_class_uid,
                study_instance_uid=header.study_instance_uid,
                series_instance_uid=header.series_instance_uid,
                transfer_syntax_uid=header.transfer_syntax_uid,
                path=name,
                size=1,
                sha256=name,
                calling_ae="MG1",
            ),
            now=self.now,
        )

    def send_four(self) -> None:
        """A whole screening exam arrives."""
        for view in ("RCC", "LCC", "RMLO", "LMLO"):
            self.send(view.lower(), view)

    def claim(self) -> Exam | None:
        return self.store.claim_exam("worker", now=self.now, lease=LEASE)

    def analyze(self) -> None:
        """Run the analysis lane until nothing is due."""
        while exam := self.claim():
            self.pipeline.advance(exam, lambda: None)

    def deliver(self) -> None:
        """Run each delivery lane once."""
        for name in self.senders:
            due = self.store.claim_deliveries(name, "worker", now=self.now, lease=LEASE, limit=10)
            if due:
                self.pipeline.deliver(name, due)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def statuses(self) -> list[str]:
        """The status of each exam, by revision."""
        return [str(job.status) for job in self.store.jobs.values()]

    def reasons(self) -> dict[str, str]:
        """By name of the image: the code of its reason, or its state where it has none."""
        return {
            image.value.path: image.value.reason.code
            if image.value.reason
            else str(image.value.state)
            for image in self.store.images.values()
        }


@functools.cache
def _phantom(laterality: str) -> Picture:
    return breast_phantom(120, 100, 0.2, laterality=laterality)


def header_of(name: str, view: str) -> ImageHeader:
    """The header of a plain screening image called `name`."""
    return ImageHeader(
        sop_instance_uid=derive_uid(name),
        sop_class_uid=MG,
        study_instance_uid=STUDY,
        series_instance_uid="1.2.3.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="MG",
        image_type=("ORIGINAL", "PRIMARY"),
        intent=Intent.PRESENTATION,
        laterality=Laterality(view[0]),
        view=view[1:],
        rows=120,
        columns=100,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        bits_stored=12,
        spacing=PixelSpacing(0.2, 0.2),
        has_pixel_data=True,
        patient_key="one",
    )
