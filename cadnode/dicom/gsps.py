"""The Grayscale Softcopy Presentation States of an exam (PS3.3 A.33.1): marks over each image.

One for each analyzed image, not one for the exam: Modality LUT and Presentation LUT of a state hold
for all that it refers to (C.11.1, C.11.6), and one exam may have MONOCHROME1 and MONOCHROME2. An image
without marks gets one too, which says so; it also takes the place of an earlier revision's marks.
A viewer draws all layers of a state alike, so it holds only the marks shown at the recommended
operating point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from highdicom import SOPClass
from highdicom.pr import GraphicAnnotation
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import BuiltResult, ExamReport
from cadnode.core.mammogram import Intent, PixelSpacing
from cadnode.dicom.gsps_graphics import LAYERS, graphic_annotations
from cadnode.dicom.header import number
from cadnode.dicom.image_library import SourceImage, read_sources
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    built,
    file_bytes,
    new_object,
)
from cadnode.dicom.per_image import marks_by_image, notice, of_side, part_name, series_reference
from cadnode.dicom.softcopy import write_transformations
from cadnode.dicom.sr_marks import Mark

GSPS: Final = DocumentKind(
    kind="gsps",
    sop_class_uid=GrayscaleSoftcopyPresentationStateStorage,
    series_number=9003,
    series_description="Mammography CAD marks",
    modality="PR",
)
_PROCESSING: Final = "1.2.840.10008.5.1.4.1.1.1.2.1"


class Gsps:
    """Builds the presentation states of an exam, one for each analyzed image."""

    kind = GSPS.kind

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """See OutputBuilder.objects."""
        sources = read_sources(report)
        marks = marks_by_image(report)
        for index, source in enumerate(sources):
            if source.analyzed:
                state = self._state(report, source, index + 1, marks[index])
                yield built(state, GSPS, file_bytes(state), part_name(source, index + 1))

    def _state(
        self, report: ExamReport, source: SourceImage, number_: int, marks: Sequence[Mark]
    ) -> SOPClass:
        image = _reference(source)
        kind, side = of_side(GSPS, source)
        state = new_object(
            kind,
            report,
            source.header,
            self._equipment,
            source.image.sop_instance_uid,
            number=number_,
            side=side,
        )
        state.Laterality = side
        state.ContentLabel = "CAD MARKS"
        state.ContentDescription = f"{source.image.view_name}: {_count(marks)}"
        state.PresentationCreationDate = state.ContentDate
        state.PresentationCreationTime = state.ContentTime
        del state.ContentDate, state.ContentTime
        state.ContentCreatorName = ""
        state.ReferencedSeriesSequence = DicomSequence([series_reference(source, "images")])
        _write_displayed_area(state, source)
        drawn = _drawn(image, source, marks, f"CAD: {_count(marks)}\r\n{notice(report)}")
        state.GraphicAnnotationSequence = DicomSequence(drawn)
        used = {annotation.GraphicLayer for annotation in drawn}
        state.GraphicLayerSequence = DicomSequence(
            layer for layer in LAYERS if layer.GraphicLayer in used
        )
        intent = Intent.PROCESSING if source.sop_class_uid == _PROCESSING else Intent.PRESENTATION
        write_transformations(source.header, intent, state)
        return state


def _count(marks: Sequence[Mark]) -> str:
    return f"{len(marks) or 'no'} mark{'' if len(marks) == 1 else 's'}"


def _reference(source: SourceImage) -> Dataset:
    """What annotations need to know of the image."""
    if source.size is None:
        raise ResultInvalid(f"analyzed image {source.image.sop_instance_uid}: no rows or columns")
    image = Dataset()
    image.SOPClassUID = source.sop_class_uid
    image.SOPInstanceUID = source.image.sop_instance_uid
    image.SeriesInstanceUID = source.series_instance_uid
    image.Rows, image.Columns = source.size
    return image


def _drawn(
    image: Dataset, source: SourceImage, marks: Sequence[Mark], note: str
) -> list[GraphicAnnotation]:
    try:
        return list(
            graphic_annotations(image, marks, _spacing(source), note, note_right=source.side == "L")
        )
    except KeyError as error:
        raise ResultInvalid(f"SOP class {source.sop_class_uid} is not known") from error
    except ValueError as error:
        raise ResultInvalid(
            f"a mark reaches outside image {source.image.sop_instance_uid}, or is no outline"
        ) from error


def _spacing(source: SourceImage) -> PixelSpacing:
    horizontal, vertical = source.spacing or (1.0, 1.0)
    return PixelSpacing(row=vertical, column=horizontal)


def _write_displayed_area(state: Dataset, source: SourceImage) -> None:
    """The whole image; here pixels count from 1, 1, the first one (PS3.3 C.10.4)."""
    rows, columns = source.size or (1, 1)
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    if source.spacing is not None:
        horizontal, vertical = source.spacing
        area.PresentationPixelSpacing = [f"{vertical:.10g}", f"{horizontal:.10g}"]
    else:
        aspect = (
            number(source.header, "PixelAspectRatio"),
            number(source.header, "PixelAspectRatio", 1),
        )
        vertical_ratio, horizontal_ratio = (int(one) if one and one >= 1 else 1 for one in aspect)
        area.PresentationPixelAspectRatio = [vertical_ratio, horizontal_ratio]
    state.DisplayedAreaSelectionSequence = DicomSequence([area])
