"""The Segmentations of an exam (PS3.3 A.51): which pixels of an image each mark covers.

For research pipelines that want masks. One for each image that has marks, one segment and one frame
for each mark, in the pixel matrix of the image: a mammogram has no frame of reference, so pixels
are placed by the image they derive from (C.7.6.16.2.6) and by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from highdicom import SOPClass
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import Algorithm, BuiltResult, ExamReport
from cadnode.core.findings import Point
from cadnode.dicom import sr_codes as c
from cadnode.dicom.image_library import SourceImage, read_sources
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    built,
    copy_attributes,
    document_uid,
    file_bytes,
    new_object,
)
from cadnode.dicom.per_image import (
    image_reference,
    marks_by_image,
    part_name,
    series_reference,
)
from cadnode.dicom.sr_marks import Mark

SEGMENTATION: Final = DocumentKind(
    kind="segmentation",
    sop_class_uid=SegmentationStorage,
    series_number=9006,
    series_description="Mammography CAD masks",
    modality="SEG",
)
_SOURCE: Final = Code("121322", "DCM", "Source image for image processing operation")
_SEGMENTED: Final = Code("113076", "DCM", "Segmentation")
_ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
_REFERENCED_SEGMENT: Final = 0x0062000B
_SEGMENT_IDENTIFICATION: Final = 0x0062000A


class Segmentation:
    """Builds the segmentations of an exam, one for each image with a mark to show."""

    kind = SEGMENTATION.kind

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """See OutputBuilder.objects."""
        marks = marks_by_image(report)
        for index, source in enumerate(read_sources(report)):
            if marks[index]:
                made = self._segmentation(report, source, index + 1, marks[index])
                yield built(made, SEGMENTATION, file_bytes(made), part_name(source, index + 1))

    def _segmentation(
        self, report: ExamReport, source: SourceImage, number: int, marks: Sequence[Mark]
    ) -> SOPClass:
        if source.size is None:
            raise ResultInvalid(
                f"analyzed image {source.image.sop_instance_uid}: no rows or columns"
            )
        uid = source.image.sop_instance_uid
        made = new_object(SEGMENTATION, report, source.header, self._equipment, uid, number=number)
        made.ImageType = ["DERIVED", "PRIMARY"]
        made.ContentLabel = "CAD MARKS"
        made.ContentDescription = f"Marks in {source.image.view_name}"
        made.ContentCreatorName = ""
        made.LossyImageCompression = "00"
        copy_attributes(
            source.header, made, ("PatientOrientation",), required=("PatientOrientation",)
        )
        made.SegmentationType = "BINARY"
        made.SegmentSequence = DicomSequence(
            _segment(index, mark, report.algorithm) for index, mark in enumerate(marks, start=1)
        )
        organization = document_uid("dimensions", SEGMENTATION, report, self._equipment, uid)
        _write_dimensions(made, organization)
        _write_frames(made, source, len(marks))
        made.ReferencedSeriesSequence = DicomSequence([series_reference(source, "instances")])
        _write_pixels(made, source.size, marks)
        return made


def _segment(number: int, mark: Mark, algorithm: Algorithm) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber = number
    segment.SegmentLabel = mark.tracking_identifier
    segment.SegmentAlgorithmType = "AUTOMATIC"
    segment.SegmentAlgorithmName = algorithm.name
    segment.SegmentedPropertyCategoryCodeSequence = _coded(c.ABNORMAL_STRUCTURE)
    segment.SegmentedPropertyTypeCodeSequence = _coded(c.CALCIFICATION_CLUSTER)
    segment.TrackingID = mark.tracking_identifier
    segment.TrackingUID = mark.tracking_uid
    identification = Dataset()
    identification.AlgorithmFamilyCodeSequence = _coded(_ARTIFICIAL_INTELLIGENCE)
    identification.AlgorithmName = algorithm.name
    identification.AlgorithmVersion = algorithm.version
    segment.SegmentationAlgorithmIdentificationSequence = DicomSequence([identification])
    return segment


def _coded(code: Code) -> DicomSequence:
    return DicomSequence([CodedConcept.from_code(code)])


def _write_dimensions(made: Dataset, organization_uid: str) -> None:
    """Frames go by segment (PS3.3 C.7.6.17)."""
    organization = Dataset()
    organization.DimensionOrganizationUID = organization_uid
    made.DimensionOrganizationSequence = DicomSequence([organization])
    index = Dataset()
    index.DimensionOrganizationUID = organization_uid
    index.DimensionIndexPointer = _REFERENCED_SEGMENT
    index.FunctionalGroupPointer = _SEGMENT_IDENTIFICATION
    index.DimensionDescriptionLabel = "Segment Number"
    made.DimensionIndexSequence = DicomSequence([index])


def _write_frames(made: Dataset, source: SourceImage, frames: int) -> None:
    made.SharedFunctionalGroupsSequence = DicomSequence([Dataset()])
    made.PerFrameFunctionalGroupsSequence = DicomSequence(
        _frame(source, number) for number in range(1, frames + 1)
    )
    made.NumberOfFrames = frames


def _frame(source: SourceImage, number: int) -> Dataset:
    content, derivation, segment, frame = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [number]
    reference = image_reference(source)
    reference.SpatialLocationsPreserved = "YES"
    reference.PurposeOfReferenceCodeSequence = _coded(_SOURCE)
    derivation.DerivationCodeSequence = _coded(_SEGMENTED)
    derivation.SourceImageSequence = DicomSequence([reference])
    # Readers look for it frame by frame, also where it is the same for all.
    frame.DerivationImageSequence = DicomSequence([derivation])
    segment.ReferencedSegmentNumber = number
    frame.FrameContentSequence = DicomSequence([content])
    frame.SegmentIdentificationSequence = DicomSequence([segment])
    return frame


def _write_pixels(made: Dataset, size: tuple[int, int], marks: Sequence[Mark]) -> None:
    """One bit a pixel, the first one lowest, frames without a gap (PS3.5 8.1.1 and annex D)."""
    made.Rows, made.Columns = size
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    pixels = size[0] * size[1]
    packed = np.zeros(math.ceil(pixels * len(marks) / 16) * 2, np.uint8)
    for index, mark in enumerate(marks):
        outline = mark.finding.outline
        if not outline or not all(0 <= x <= size[1] and 0 <= y <= size[0] for x, y in outline):
            raise ResultInvalid(f"mark {mark.tracking_identifier} reaches outside its image")
        inside = covered(outline, size) + index * pixels
        np.bitwise_or.at(packed, inside >> 3, np.left_shift(1, inside & 7).astype(np.uint8))
    made.PixelData = packed.tobytes()
    made["PixelData"].VR = "OB"


def covered(outline: Sequence[Point], size: tuple[int, int]) -> NDArray[np.intp]:
    """The pixels, as row * columns + column, whose center lies inside a closed polygon (even-odd).

    An outline too thin to hold one covers the pixels of its corners. The polygon lies inside the
    image of `size` (rows, columns).
    """
    rows, columns = size
    found: list[int] = []
    ys = [y for _, y in outline]
    for row in range(math.floor(min(ys)), math.ceil(max(ys))):
        crossings = sorted(_crossings(outline, row + 0.5))
        for enters, leaves in zip(crossings[::2], crossings[1::2], strict=True):
            first, last = math.ceil(enters - 0.5), math.ceil(leaves - 0.5)
            found.extend(range(row * columns + first, row * columns + last))
    corners = (min(int(y), rows - 1) * columns + min(int(x), columns - 1) for x, y in outline)
    return np.unique(np.array(found or list(corners), np.intp))


def _crossings(outline: Sequence[Point], y: float) -> Iterator[float]:
    """Where the edges of the polygon cross a horizontal line."""
    for (x0, y0), (x1, y1) in pairwise(outline):
        if (y0 <= y) != (y1 <= y):
            yield x0 + (y - y0) / (y1 - y0) * (x1 - x0)
