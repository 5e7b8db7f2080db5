"""Made-up exams from which every result object is built, so that the statement says what is written.

They differ in all that an object may depend on: findings, failures, revisions, what the images tell
and what they leave out, and what the site calls its device. Nothing in them is of a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import Dataset

from cadnode.app import MANUFACTURER
from cadnode.conformance.sample_images import ORDERS, mammograms
from cadnode.core.exam import Algorithm, AnalyzedImage, DocumentReference, ExamReport
from cadnode.core.findings import Calcification, Finding
from cadnode.core.mammogram import Laterality
from cadnode.core.model import ModelSpec, algorithm
from cadnode.core.reasons import Reason
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes as c
from cadnode.result_parts import RESULT_CLASSES

SCREENING = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One exam as the builders get it, and the images that it was made from."""

    report: ExamReport
    images: tuple[Dataset, ...]
    """Without the image whose file cannot be read."""


def model(version: str = "1", *, points: int = 3, recommended: int = 1) -> Algorithm:
    """A model with operating points 0 to `points`, as the node names it."""
    spec = ModelSpec(
        name=f"example {version}",
        version=version,
        patch_size=224,
        stride=176,
        pitch_mm=0.1,
        normalisation="local-contrast",
        thresholds=tuple(0.9 - 0.1 * point for point in range(points + 1)),
        recommended=recommended,
        map_size=7,
    )
    return algorithm(spec, MANUFACTURER)


def samples(folder: Path) -> list[Sample]:
    """Every sample; the images' files are written below `folder`."""
    # The first image is the one whose patient and study an SR document repeats.
    full = [*mammograms("A", SCREENING[:1]), *mammograms("A", SCREENING, told=False)[1:]]
    bare = mammograms("B", SCREENING, told=False)
    views = [("R" if number % 2 else "L", view) for number, view in enumerate(c.VIEWS)]
    odd = mammograms("C", views[:1], modifiers=True)
    others = [*views, ("B", "CC"), (None, None)]
    (request,) = odd[0].RequestAttributesSequence
    for keyword in ("RequestedProcedureDescription", "RequestedProcedureCodeSequence", *ORDERS):
        delattr(request, keyword)
    odd += mammograms("C", others, told=False, modifiers=True)[1:]
    odd[0].TimezoneOffsetFromUTC = "-0530"
    full[0].TimezoneOffsetFromUTC = "+0200"
    marks = (
        (finding(), finding(60.0, point=1), finding(15.0, 60.0, point=2)),
        (finding(20.0, point=1, calcifications=0), finding(50.0, point=3)),
        (),
        (finding(30.0, calcifications=5),),
    )
    strict = model("2", recommended=0)
    return [
        sample(folder / "1", full, marks),
        sample(folder / "2", bare, marks, algorithm=strict),
        sample(folder / "3", full, ((),) * 4, algorithm=model(points=0, recommended=0)),
        sample(folder / "4", bare, marks, fail=(2,), revision=2, predecessors=_earlier(bare[0])),
        sample(folder / "5", full, ((),) * 4, fail=(0, 3), unreadable=True),
        sample(
            folder / "6",
            odd,
            ((finding(),), *((),) * 12),
            fail=(11, 12),
            revision=3,
            predecessors=_earlier(odd[0]),
        ),
        sample(folder / "7", bare, ((),) * 4, fail=(0, 1, 2, 3)),
    ]


def finding(
    column: float = 30.5, row: float = 40.0, *, point: int = 0, calcifications: int = 3
) -> Finding:
    """A cluster with a square outline around (column, row)."""
    left, right, top, bottom = column - 6.0, column + 6.0, row - 6.0, row + 6.0
    return Finding(
        score=0.9 - 0.1 * point,
        center=(column, row),
        outline=((left, top), (right, top), (right, bottom), (left, bottom), (left, top)),
        area_mm2=0.7056,
        operating_point=point,
        calcifications=tuple(
            Calcification((column + 0.05 * n, row - 0.05 * n), 0.2 + 0.01 * n, 5.0 + n % 7)
            for n in range(calcifications)
        ),
    )


def sample(
    folder: Path,
    images: Sequence[Dataset],
    findings: Sequence[tuple[Finding, ...]],
    *,
    fail: Sequence[int] = (),
    unreadable: bool = False,
    **report: Any,
) -> Sample:
    """An exam of `images`; `fail` are the indices of those that could not be analyzed, and with
    `unreadable` the file of the first of these is no DICOM file either."""
    folder.mkdir(parents=True)
    analyzed = []
    for number, (image, of_image) in enumerate(zip(images, findings, strict=True)):
        path = folder / f"{number}.dcm"
        if unreadable and number == fail[0]:
            path.write_bytes(b"")
        else:
            image.save_as(path, enforce_file_format=True)
        side = image.get("ImageLaterality")
        one = AnalyzedImage(
            path=path,
            sop_instance_uid=str(image.SOPInstanceUID),
            laterality=Laterality(side) if side in set(Laterality) else None,
            view=image.get("ViewPosition"),
            findings=of_image,
            sop_class_uid=str(image.SOPClassUID),
            series_instance_uid=str(image.SeriesInstanceUID),
        )
        failed = replace(one, findings=(), failure=Reason.DECODING_FAILED)
        analyzed.append(failed if number in fail else one)
    first = images[0]
    made = ExamReport(
        study_instance_uid=str(first.StudyInstanceUID),
        revision=1,
        created_at=datetime(2026, 1, 2, 11, 30, 15, 250000, tzinfo=UTC)
        + timedelta(days=len(folder.name) + len(images) + len(fail)),
        algorithm=model(),
        images=tuple(analyzed),
    )
    readable = [i for n, i in enumerate(images) if not (unreadable and n == fail[0])]
    return Sample(replace(made, **report), tuple(readable))


def _earlier(image: Dataset) -> tuple[DocumentReference, ...]:
    study = str(image.StudyInstanceUID)
    return tuple(
        DocumentReference(
            study,
            derive_uid("sample", "earlier series", study, kind),
            sop_class,
            derive_uid("sample", "earlier", study, kind),
            kind,
        )
        for kind, sop_class in RESULT_CLASSES.items()
    )
