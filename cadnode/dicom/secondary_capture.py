"""The Secondary Captures of an exam (PS3.3 A.8.1): a picture of each image with its marks drawn in.

For viewers that show nothing but images. Each is a reduced colour picture of one view: who sees a
mark in it looks for it in the mammogram. Modality is OT, so that no hanging protocol takes it for
one. The pixels come from outside, one picture at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from highdicom import SOPClass
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.uid import SecondaryCaptureImageStorage

from cadnode.core.exam import Algorithm, AnalyzedImage, BuiltResult, ExamReport
from cadnode.dicom.header import text
from cadnode.dicom.image_library import SourceImage, read_sources
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    built,
    copy_attributes,
    file_bytes,
    new_object,
)
from cadnode.dicom.per_image import NOT_FOR_DIAGNOSIS, image_reference, part_name

SECONDARY_CAPTURE: Final = DocumentKind(
    kind="secondary-capture",
    sop_class_uid=SecondaryCaptureImageStorage,
    series_number=9005,
    series_description="Mammography CAD pictures, not for diagnosis",
    modality="OT",
)
_SOURCE: Final = Code("121322", "DCM", "Source image for image processing operation")
_RESAMPLED: Final = Code("113085", "DCM", "Spatial resampling")
_LOSSY: Final = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")

Draw = Callable[[AnalyzedImage, Algorithm, str], NDArray[np.uint8]]
"""From an analyzed image, what read it and a caption to a picture: shape (rows, columns, 3), RGB.

Raises ImageFailed and ImageUnreachable as a MammogramReader does.
"""


class SecondaryCapture:
    """Builds the Secondary Captures of an exam, one for each analyzed image."""

    kind = SECONDARY_CAPTURE.kind

    def __init__(self, equipment: Equipment, draw: Draw) -> None:
        self._equipment = equipment
        self._draw = draw

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """See OutputBuilder.objects."""
        for index, source in enumerate(read_sources(report)):
            if source.analyzed:
                capture = self._capture(report, source, index + 1)
                yield built(
                    capture,
                    SECONDARY_CAPTURE,
                    file_bytes(capture),
                    part_name(source, index + 1),
                )

    def _capture(self, report: ExamReport, source: SourceImage, number: int) -> SOPClass:
        capture = new_object(
            SECONDARY_CAPTURE,
            report,
            source.header,
            self._equipment,
            source.image.sop_instance_uid,
            number=number,
        )
        capture.ConversionType = "WSD"
        capture.DateOfSecondaryCapture = capture.ContentDate
        capture.TimeOfSecondaryCapture = capture.ContentTime
        capture.ImageType = ["DERIVED", "SECONDARY"]
        capture.BurnedInAnnotation = "YES"
        capture.ImageComments = NOT_FOR_DIAGNOSIS
        copy_attributes(
            source.header, capture, ("PatientOrientation",), required=("PatientOrientation",)
        )
        if source.side is not None:
            capture.ImageLaterality = source.side
        self._write_derivation(capture, report.algorithm, source)
        _write_pixels(capture, self._draw(source.image, report.algorithm, NOT_FOR_DIAGNOSIS))
        return capture

    def _write_derivation(
        self, capture: Dataset, algorithm: Algorithm, source: SourceImage
    ) -> None:
        view = source.image.view_name
        capture.DerivationDescription = (
            f"{view}, reduced, with the marks of {algorithm.name} {algorithm.version} drawn in"
        )[:1024]
        capture.DerivationCodeSequence = DicomSequence([CodedConcept.from_code(_RESAMPLED)])
        item = image_reference(source)
        item.PurposeOfReferenceCodeSequence = DicomSequence([CodedConcept.from_code(_SOURCE)])
        capture.SourceImageSequence = DicomSequence([item])
        if text(source.header, "LossyImageCompression") == "01":
            capture.LossyImageCompression = "01"
            copy_attributes(source.header, capture, _LOSSY)


def _write_pixels(capture: Dataset, picture: NDArray[np.uint8]) -> None:
    capture.SamplesPerPixel = 3
    capture.PhotometricInterpretation = "RGB"
    capture.PlanarConfiguration = 0
    capture.Rows, capture.Columns = picture.shape[:2]
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit = 7
    capture.PixelRepresentation = 0
    content = np.ascontiguousarray(picture).tobytes()
    # An even number of bytes (PS3.5 8.1.1).
    capture.PixelData = content + b"\0" * (len(content) % 2)
    capture["PixelData"].VR = "OB"
