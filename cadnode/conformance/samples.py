"""Made-up exams from which every result object is built, so that the statement says what is written.

They differ in all that an object may depend on: findings, failures, revisions, what the images tell
and what they leave out, and what the site calls its device. Nothing in them is of a person.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from cadnode.app import MANUFACTURER
from cadnode.captures import MOST_ROWS
from cadnode.conformance.sample_pixels import GRIDS, add_pixels, shade
from cadnode.core.eligibility import MAMMOGRAPHY_CLASSES
from cadnode.core.exam import Algorithm, AnalyzedImage, DocumentReference, ExamReport
from cadnode.core.findings import Calcification, Finding
from cadnode.core.mammogram import Laterality
from cadnode.core.model import ModelSpec, algorithm
from cadnode.core.reasons import Reason
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes as c
from cadnode.dicom.iod_modules import attributes_of, modules_of
from cadnode.result_parts import RESULT_CLASSES

FOR_PRESENTATION, FOR_PROCESSING = sorted(MAMMOGRAPHY_CLASSES)

SCREENING = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))

_TALL = 10
"""The number of the image with more rows than a picture of it."""

_COPYABLE = frozenset({"Patient", "Study", "Series"})
"""Information entities of which an object may repeat attributes of its images."""

_LEVELS = 2
"""Of sequences in what an image tells about patient, study and series."""

_ENUMERATED = {
    "PatientSex": ("F", "M"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "QualityControlSubject": ("YES", "NO"),
    "TypeOfPatientID": ("TEXT", "RFID"),
    "PatientSexNeutered": ("ALTERED", "UNALTERED"),
}
_NOT_TOLD = frozenset(
    {
        # Set by the sample itself, or of no use in a mammogram.
        *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "Laterality", "FrameOfReferenceUID"),
        *("SmallestPixelValueInSeries", "LargestPixelValueInSeries", "PatientPosition"),
        "ConversionSourceAttributesSequence",
    }
)


_ORDERS = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")

_FIELD: Mapping[tuple[str, ...], Sequence[str]] = {("RequestAttributesSequence",): _ORDERS}
"""What modalities write beyond the standard's modules."""


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
    for keyword in ("RequestedProcedureDescription", "RequestedProcedureCodeSequence", *_ORDERS):
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


def mammograms(
    variant: str,
    views: Sequence[tuple[str | None, str | None]],
    *,
    told: bool = True,
    modifiers: bool = False,
) -> list[Dataset]:
    """The images of one exam. With `told` they say all that the standard lets an image say about
    patient, study and series; else only what it requires, most of it empty."""
    return [
        _mammogram(variant, number, side, view, told=told, modifiers=modifiers)
        for number, (side, view) in enumerate(views, start=1)
    ]


def _mammogram(
    variant: str,
    number: int,
    side: str | None,
    view: str | None,
    *,
    told: bool,
    modifiers: bool,
) -> Dataset:
    presentation = number != 2 if modifiers else number % 2 == 1
    sop_class = FOR_PRESENTATION if presentation else FOR_PROCESSING
    image = copy.deepcopy(_told(variant, sop_class)) if told else _required(variant)
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = sop_class
    image.SOPInstanceUID = derive_uid("sample", variant, str(number))
    image.StudyInstanceUID = derive_uid("sample", variant)
    image.SeriesInstanceUID = derive_uid("sample", variant, sop_class)
    image.FrameOfReferenceUID = derive_uid("sample", variant, "frame of reference")
    image.Modality = "MG"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.InstanceNumber = number
    image.PresentationIntentType = "FOR " + ("PRESENTATION" if presentation else "PROCESSING")
    image.BodyPartExamined = "BREAST"
    if side is not None:
        image.ImageLaterality = side
    if view is not None:
        image.ViewPosition = view
        code = _code(c.VIEWS[view])
        if modifiers:
            code.ViewModifierCodeSequence = DicomSequence(map(_code, c.VIEW_MODIFIERS))
        image.ViewCodeSequence = DicomSequence([code])
    if told:
        image.ContentDate, image.ContentTime = "20260102", "101112"
        image.PatientOrientation = GRIDS[variant][4]
        image.PositionerPrimaryAngle, image.PositionerSecondaryAngle = 45.0, 0.0
    grid = GRIDS[variant]
    if modifiers and number == _TALL:
        grid = (2 * MOST_ROWS, *grid[1:])
    add_pixels(image, grid, told=told)
    if modifiers:
        shade(image, number)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _required(variant: str) -> Dataset:
    """Type 2 attributes of patient, study and series: empty but for what tells the exams apart."""
    image = Dataset()
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        setattr(image, keyword, "")
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "StudyID", "SeriesNumber"):
        setattr(image, keyword, "")
    image.PatientID = f"{variant} PatientID"
    return image


@functools.lru_cache
def _told(variant: str, sop_class: str) -> Dataset:
    image = Dataset()
    for module in modules_of(sop_class):
        if module.entity in _COPYABLE:
            for keyword, value in _values(variant, module, ()):
                setattr(image, keyword, value)
    return image


def _values(variant: str, module: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for keyword in (*attributes_of(module, path), *_FIELD.get(path, ())):
        if keyword in _NOT_TOLD:
            continue
        vr = dictionary_VR(keyword)
        if vr != "SQ":
            value = _value(variant, keyword, vr)
            if value is not None:
                yield keyword, value
        elif len(path) < _LEVELS:
            item = Dataset()
            for inner, value in _values(variant, module, (*path, keyword)):
                setattr(item, inner, value)
            yield keyword, DicomSequence([item])


def _value(variant: str, keyword: str, vr: str) -> Any:
    """A value that tells the attribute and the variant; None where such values are of no use."""
    number = ord(variant)
    said = {
        "AE": f"{variant}AE",
        "AS": f"{number - 20:03d}Y",
        "DA": f"20{number - 60:02d}0304",
        "DS": str(number),
        "DT": f"20{number - 60:02d}0304050607",
        "IS": str(number),
        "LO": f"{variant} {keyword}"[:64],
        "LT": f"{variant} {keyword}",
        "PN": f"{variant}^Example",
        "SH": f"{variant} {keyword}"[:16],
        "ST": f"{variant} {keyword}",
        "TM": f"{number - 60:02d}0506",
        "UC": f"{variant} {keyword}",
        "UI": derive_uid("sample", variant, keyword),
        "UR": f"http://example.org/{variant}/{keyword}",
        "US": number,
        "UT": f"{variant} {keyword}",
        "CS": _ENUMERATED.get(keyword, ("EXAMPLE_A", "EXAMPLE_C"))[variant == "C"],
    }
    value = said.get(vr)
    least = dictionary_VM(keyword).split("-")[0]
    return [value] * int(least) if value is not None and least not in ("1", "0") else value


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = code.value, code.meaning
    item.CodingSchemeDesignator = code.scheme_designator
    return item


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
