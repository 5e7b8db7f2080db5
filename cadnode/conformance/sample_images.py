"""Made-up mammograms: all that the standard lets an image say, or hardly anything of it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from cadnode.captures import MOST_ROWS
from cadnode.conformance.sample_pixels import GRIDS, add_pixels, shade
from cadnode.core.eligibility import MAMMOGRAPHY_CLASSES
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes as c
from cadnode.dicom.iod_modules import attributes_of, modules_of

FOR_PRESENTATION, FOR_PROCESSING = sorted(MAMMOGRAPHY_CLASSES)

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

ORDERS = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")

_FIELD: Mapping[tuple[str, ...], Sequence[str]] = {("RequestAttributesSequence",): ORDERS}
"""What modalities write beyond the standard's modules."""


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
