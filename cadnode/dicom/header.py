"""What a mammogram's header says, as an ImageHeader: every attribute by itself, none trusted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import ImageHeader, Intent, Laterality, PixelSpacing
from cadnode.core.reasons import Reason
from cadnode.dicom.files import PARSE_ERRORS, OpenFile, quiet
from cadnode.dicom.view_codes import modifier_of_code, view_of_code, view_of_text

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.02, 0.5
"""Outside of this no mammogram is taken: the value is a default, another unit, or a thumbnail's."""


def image_header(file: OpenFile) -> ImageHeader:
    """The header as plain values; raises ImageFailed (UNREADABLE) without its identifiers."""
    with quiet():
        return _image_header(file)


def _image_header(file: OpenFile) -> ImageHeader:
    dataset = file.dataset
    view, modifiers = _view(dataset)
    return ImageHeader(
        sop_instance_uid=_identifier(dataset, "SOPInstanceUID"),
        sop_class_uid=_identifier(dataset, "SOPClassUID"),
        study_instance_uid=_identifier(dataset, "StudyInstanceUID"),
        series_instance_uid=text(dataset, "SeriesInstanceUID"),
        transfer_syntax_uid=file.transfer_syntax_uid,
        modality=text(dataset, "Modality") or None,
        image_type=tuple(_plain(item).upper() for item in values(dataset, "ImageType")),
        intent=_intent(dataset),
        laterality=_laterality(dataset),
        view=view,
        view_modifiers=modifiers,
        implant_present=text(dataset, "BreastImplantPresent").upper() == "YES",
        magnification_factor=number(dataset, "EstimatedRadiographicMagnificationFactor"),
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        frames=_frames(dataset),
        samples_per_pixel=integer(dataset, "SamplesPerPixel"),
        photometric_interpretation=text(dataset, "PhotometricInterpretation").upper() or None,
        bits_allocated=integer(dataset, "BitsAllocated"),
        bits_stored=integer(dataset, "BitsStored"),
        spacing=_spacing(dataset),
        patient_orientation=tuple(
            _plain(item).upper() for item in values(dataset, "PatientOrientation")
        ),
        has_pixel_data=file.pixel_offset is not None and file.pixel_length != 0,
        source_uids=tuple(
            uid
            for item in items(dataset, "SourceImageSequence")
            if (uid := text(item, "ReferencedSOPInstanceUID"))
        ),
        patient_key=_patient_key(dataset),
    )


def values(dataset: Dataset, keyword: str) -> Sequence[Any]:
    """The values of an attribute, none when it is absent, empty or cannot be parsed."""
    try:
        value = dataset.get(keyword)
    except PARSE_ERRORS:
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    return (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text without padding, empty when there is none."""
    found = values(dataset, keyword)
    return _plain(found[0]) if found else ""


def number(dataset: Dataset, keyword: str, index: int = 0) -> float | None:
    """One value as a finite number, or None."""
    found = values(dataset, keyword)
    try:
        value = float(found[index])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The first value as a whole number, or None."""
    value = number(dataset, keyword)
    return int(value) if value is not None else None


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence, none when it is absent or is no sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def _plain(value: object) -> str:
    """As text; nothing for a sequence in the place of a text, which would be parsed only now."""
    return "" if isinstance(value, Dataset) else str(value).strip(" \0")


def _identifier(dataset: Dataset, keyword: str) -> str:
    uid = text(dataset, keyword)
    if not uid:
        raise ImageFailed(Reason.UNREADABLE, f"no {keyword}")
    return uid


def _intent(dataset: Dataset) -> Intent | None:
    """Presentation Intent Type; where it is absent the SOP class says the same."""
    said = text(dataset, "PresentationIntentType").upper()
    if said in set(Intent):
        return Intent(said)
    return {
        "1.2.840.10008.5.1.4.1.1.1.2": Intent.PRESENTATION,
        "1.2.840.10008.5.1.4.1.1.1.2.1": Intent.PROCESSING,
    }.get(text(dataset, "SOPClassUID"))


def _laterality(dataset: Dataset) -> Laterality | None:
    """Image Laterality, else Laterality, else Frame Laterality; `B` and nonsense are None.

    The first one that is there decides: a sender that says B there and R elsewhere said B.
    """
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    anatomy = items(shared[0], "FrameAnatomySequence") if shared else ()
    said = (
        text(dataset, "ImageLaterality")
        or text(dataset, "Laterality")
        or (text(anatomy[0], "FrameLaterality") if anatomy else "")
    ).upper()
    return Laterality(said) if said in set(Laterality) else None


def _view(dataset: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """The view by its code, else by View Position; the modifiers that either names."""
    from_text, modifiers = view_of_text(text(dataset, "ViewPosition"))
    sequence = items(dataset, "ViewCodeSequence")
    if not sequence:
        return from_text, modifiers
    view = view_of_code(*_code(sequence[0])[:2]) or from_text
    coded = (
        modifier_of_code(*_code(item)) for item in items(sequence[0], "ViewModifierCodeSequence")
    )
    return view, tuple(dict.fromkeys([*filter(None, coded), *modifiers]))


def _code(item: Dataset) -> tuple[str, str, str]:
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    return value, text(item, "CodingSchemeDesignator").upper(), text(item, "CodeMeaning")


def _frames(dataset: Dataset) -> int:
    frames = integer(dataset, "NumberOfFrames")
    return 1 if frames is None else frames


def _spacing(dataset: Dataset) -> PixelSpacing | None:
    """Imager Pixel Spacing, else Pixel Spacing (PS3.3 10.7.1.3); None when neither is usable.

    Imager Pixel Spacing is on the detector plane, where this node measures. Pixel Spacing, where a
    sender adds it, may be corrected to the object plane (some percent smaller in a contact view).
    """
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        row, column = number(dataset, keyword, 0), number(dataset, keyword, 1)
        if row is not None and column is not None and _usable(row) and _usable(column):
            return PixelSpacing(row, column)
    return None


def _usable(spacing_mm: float) -> bool:
    return SMALLEST_SPACING_MM <= spacing_mm <= LARGEST_SPACING_MM


def _patient_key(dataset: Dataset) -> str | None:
    patient_id = text(dataset, "PatientID")
    if not patient_id:
        return None
    named = f"{text(dataset, 'IssuerOfPatientID')}\x1f{patient_id}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]
