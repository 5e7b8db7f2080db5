"""Reports for the tests of the result objects: a study of small mammograms on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

from cadnode.core.exam import Algorithm, AnalyzedImage, ExamReport
from cadnode.core.findings import Calcification, Finding
from cadnode.core.mammogram import Laterality
from cadnode.core.reasons import Reason
from cadnode.dicom.object_header import Equipment
from tests.objects import four_views, write

CREATED = datetime(2024, 1, 2, 11, 30, 15, 250000, tzinfo=UTC)
EQUIPMENT = Equipment()
ALGORITHM = Algorithm(
    name="cadnode calcifications",
    version="1.2.0",
    manufacturer="cadnode project",
    parameters=("patch=224", "pitch=0.07 mm"),
    maximum_operating_point=3,
    recommended_operating_point=1,
)


def finding(
    column: float = 30.5,
    row: float = 40.0,
    *,
    score: float = 0.92,
    operating_point: int = 0,
    calcifications: int = 3,
    radius: float = 6.0,
) -> Finding:
    """A cluster with a square outline around (column, row)."""
    left, right, top, bottom = column - radius, column + radius, row - radius, row + radius
    return Finding(
        score=score,
        center=(column, row),
        outline=((left, top), (right, top), (right, bottom), (left, bottom), (left, top)),
        area_mm2=0.7056,
        operating_point=operating_point,
        calcifications=tuple(
            Calcification(
                center=(column + 0.1 * index, row - 0.1 * index),
                diameter_mm=0.2 + 0.01 * index,
                contrast=5.0 + (index * 7) % 11,
            )
            for index in range(calcifications)
        ),
    )


def analyzed(dataset: Dataset, path: Path, *findings: Finding) -> AnalyzedImage:
    """The image of `dataset`, written to `path`, with its findings."""
    write(dataset, path)
    return AnalyzedImage(
        path=path,
        sop_instance_uid=dataset.SOPInstanceUID,
        laterality=Laterality(dataset.ImageLaterality) if "ImageLaterality" in dataset else None,
        view=dataset.get("ViewPosition"),
        findings=findings,
        sop_class_uid=dataset.SOPClassUID,
        series_instance_uid=dataset.SeriesInstanceUID,
    )


def failed(image: AnalyzedImage, reason: Reason = Reason.DECODING_FAILED) -> AnalyzedImage:
    """The same image as one that could not be analyzed."""
    return replace(image, findings=(), failure=reason)


def report_of(
    folder: Path,
    *,
    findings: Sequence[Sequence[Finding]] = ((), (), (), ()),
    fail: Sequence[int] = (),
    datasets: Sequence[Dataset] | None = None,
    **changes: Any,
) -> ExamReport:
    """The report of a four-view exam: `findings` by image, `fail` the indices that failed."""
    datasets = list(datasets or four_views())
    images = [
        analyzed(dataset, folder / f"{index}.dcm", *of_image)
        for index, (dataset, of_image) in enumerate(zip(datasets, findings, strict=False))
    ]
    report = ExamReport(
        study_instance_uid=datasets[0].StudyInstanceUID,
        revision=1,
        created_at=CREATED,
        algorithm=ALGORITHM,
        images=tuple(
            failed(image) if index in fail else image for index, image in enumerate(images)
        ),
    )
    return replace(report, **changes)


TWO_CLUSTERS = (
    (),
    (finding(), finding(60.0, 70.0, score=0.61, operating_point=2, calcifications=2)),
    (),
    (finding(20.0, 50.25, score=0.75, operating_point=1, calcifications=0),),
)
