"""The images that a report speaks of: their headers, and their entries in an Image Library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset, Sequence, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import AnalyzedImage, ExamReport
from cadnode.dicom import sr_codes as c
from cadnode.dicom import sr_tree as t
from cadnode.dicom.files import PARSE_ERRORS
from cadnode.dicom.view_codes import view_of_text


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One image of a report, with its header as far as its file can be read."""

    image: AnalyzedImage
    sop_class_uid: str
    series_instance_uid: str
    header: Dataset
    """Without pixel data; empty when the file cannot be read."""

    @property
    def readable(self) -> bool:
        return len(self.header) > 0

    @property
    def analyzed(self) -> bool:
        return self.image.failure is None

    @property
    def code_of_view(self) -> Code | None:
        """The view (CID 4014) by the image's code, else its View Position, else the report."""
        for item in value_of(self.header, "ViewCodeSequence") or ():
            found = c.member(_code(item), c.VIEWS.values())
            if found is not None:
                return found
        by_text, _ = view_of_text(str(value_of(self.header, "ViewPosition") or ""))
        return c.VIEWS.get(by_text or "") or c.VIEWS.get(self.image.view or "")

    @property
    def side(self) -> str | None:
        """`R`, `L` or `B` by Image Laterality, else the report."""
        side = str(value_of(self.header, "ImageLaterality") or "").strip().upper()
        return side if side in c.SIDES else self.image.laterality

    @property
    def view_modifiers(self) -> tuple[Code, ...]:
        """The view modifiers that are in CID 4015."""
        return tuple(
            found
            for view in value_of(self.header, "ViewCodeSequence") or ()
            for item in value_of(view, "ViewModifierCodeSequence") or ()
            if (found := c.member(_code(item), c.VIEW_MODIFIERS)) is not None
        )

    @property
    def spacing(self) -> tuple[float, float] | None:
        """(horizontal, vertical) distance of pixel centers in mm, on the detector plane."""
        for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
            match _numbers(self.header, keyword):
                case (row, column) if row > 0 and column > 0:
                    return column, row
        return None

    @property
    def size(self) -> tuple[int, int] | None:
        """(rows, columns), or None where the header does not say."""
        match (*_numbers(self.header, "Rows"), *_numbers(self.header, "Columns")):
            case (rows, columns) if rows and columns:
                return int(rows), int(columns)
        return None


def value_of(header: Dataset, keyword: str) -> Any:
    """The value of an attribute; None when it is absent, empty or not what its VR says."""
    try:
        value = header.get(keyword)
    except PARSE_ERRORS:
        return None
    if isinstance(value, Sequence) is not (dictionary_VR(keyword) == "SQ"):
        return None
    return None if value == "" else value


def _numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """Every value as a finite number; none at all when one of them is no number."""
    value = value_of(header, keyword)
    values = value if isinstance(value, MultiValue) else () if value is None else (value,)
    try:
        numbers = tuple(float(one) for one in values)
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _code(item: Dataset) -> Code | None:
    try:
        return c.read_code(item)
    except PARSE_ERRORS:
        return None


def read_sources(report: ExamReport) -> tuple[SourceImage, ...]:
    """The images of the report in its order, each with its header.

    Raises ResultInvalid when no image can be read (there is no patient to write then), when the
    file of an analyzed image cannot, and when an unreadable image cannot even be referenced.
    """
    sources = tuple(_source(image, report) for image in report.images)
    if not any(source.readable for source in sources):
        raise ResultInvalid(
            f"none of the {len(sources)} images of study {report.study_instance_uid} can be read, "
            "so patient and study of the report are unknown"
        )
    return sources


def _source(image: AnalyzedImage, report: ExamReport) -> SourceImage:
    header, problem = _header(image, report.study_instance_uid)
    if problem and image.failure is None:
        raise ResultInvalid(f"analyzed image {image.sop_instance_uid}: {problem}")
    sop_class_uid = str(value_of(header, "SOPClassUID") or image.sop_class_uid)
    series_instance_uid = str(value_of(header, "SeriesInstanceUID") or image.series_instance_uid)
    if not sop_class_uid or not series_instance_uid:
        raise ResultInvalid(
            f"image {image.sop_instance_uid} cannot be referenced: its SOP class or series is "
            "known neither from its file nor from the report"
        )
    return SourceImage(image, sop_class_uid, series_instance_uid, header)


def _header(image: AnalyzedImage, study_instance_uid: str) -> tuple[Dataset, str]:
    """The header, or an empty one and what is wrong with the file."""
    try:
        header: Dataset = dcmread(image.path, stop_before_pixels=True)
        uids = header.get("SOPInstanceUID"), header.get("StudyInstanceUID")
    except PARSE_ERRORS as error:
        return Dataset(), f"its file cannot be read ({type(error).__name__})"
    if uids != (image.sop_instance_uid, study_instance_uid):
        return Dataset(), "its file holds another image or study"
    return header, ""


def library_entry(source: SourceImage) -> t.Node:
    """TID 4020: the image, without a concept name, and its acquisition context.

    A row is there when the image has the attribute and its value makes sense; the rows of a failed
    image whose file cannot be read come from the report.
    """
    return t.image(
        t.CONTAINS,
        source.sop_class_uid,
        source.image.sop_instance_uid,
        *_acquisition_context(source),
    )


def _acquisition_context(source: SourceImage) -> Iterator[t.Node]:
    if source.side is not None:
        yield t.code(t.ACQ_CONTEXT, c.IMAGE_LATERALITY, c.SIDES[source.side])
    if source.code_of_view is not None:
        modifiers = (
            t.code(t.CONCEPT_MOD, c.IMAGE_VIEW_MODIFIER, modifier)
            for modifier in source.view_modifiers
        )
        yield t.code(t.ACQ_CONTEXT, c.IMAGE_VIEW, source.code_of_view, *modifiers)
    yield from orientation(source)
    yield from _times(source.header)
    yield from pixel_spacing(source)
    for keyword, name in (
        ("PositionerPrimaryAngle", c.POSITIONER_PRIMARY_ANGLE),
        ("PositionerSecondaryAngle", c.POSITIONER_SECONDARY_ANGLE),
    ):
        angle = value_of(source.header, keyword)
        if isinstance(angle, int | float):
            yield t.number(t.ACQ_CONTEXT, name, float(angle), c.DEGREES)
    yield from pixel_data_size(source)


def orientation(source: SourceImage) -> Iterator[t.Node]:
    """Patient Orientation Row and Column, where the image has both."""
    values = value_of(source.header, "PatientOrientation")
    if values is None or isinstance(values, str) or len(values) != 2 or not all(values):
        return
    yield t.text(t.ACQ_CONTEXT, c.PATIENT_ORIENTATION_ROW, str(values[0]))
    yield t.text(t.ACQ_CONTEXT, c.PATIENT_ORIENTATION_COLUMN, str(values[1]))


def pixel_spacing(source: SourceImage) -> Iterator[t.Node]:
    """Horizontal and Vertical Pixel Spacing in mm."""
    if source.spacing is None:
        return
    horizontal, vertical = source.spacing
    yield t.number(t.ACQ_CONTEXT, c.HORIZONTAL_PIXEL_SPACING, horizontal, c.MILLIMETER)
    yield t.number(t.ACQ_CONTEXT, c.VERTICAL_PIXEL_SPACING, vertical, c.MILLIMETER)


def pixel_data_size(source: SourceImage) -> Iterator[t.Node]:
    """Pixel Data Rows and Columns."""
    if source.size is None:
        return
    rows, columns = source.size
    yield t.number(t.ACQ_CONTEXT, c.PIXEL_DATA_ROWS, rows, c.PIXELS)
    yield t.number(t.ACQ_CONTEXT, c.PIXEL_DATA_COLUMNS, columns, c.PIXELS)


def _times(header: Dataset) -> Iterator[t.Node]:
    rows: tuple[tuple[str, Code, Callable[[t.Relationship, Code, str], t.Node]], ...] = (
        ("StudyDate", c.STUDY_DATE, t.date),
        ("StudyTime", c.STUDY_TIME, t.time),
        ("ContentDate", c.CONTENT_DATE, t.date),
        ("ContentTime", c.CONTENT_TIME, t.time),
    )
    for keyword, name, row in rows:
        value = value_of(header, keyword)
        if value is None:
            continue
        try:
            node = row(t.ACQ_CONTEXT, name, str(value))
        except ValueError:
            continue
        yield node
