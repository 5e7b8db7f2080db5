"""Why an image has no marks: one code and one plain sentence for each case.

N1xx: set aside on purpose; the image is not of a kind this node reads and no result object names
it. N2xx: an image this node should have read but could not; the result objects list it under
Failed Detections. The codes stand in `docs/operations.md`; a test compares the two.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why an image was set aside (N1xx) or failed (N2xx)."""

    NOT_A_MAMMOGRAM = ("N101", "not a digital mammography image")
    TOMOSYNTHESIS = ("N102", "breast tomosynthesis is not analyzed")
    PRESENTATION_PREFERRED = (
        "N103",
        "the For Presentation image of the same view was analyzed instead",
    )
    MAGNIFICATION = ("N104", "a magnification or spot view is not a screening view")
    IMPLANT = ("N105", "an implant view is not analyzed")
    SPECIMEN = ("N106", "a specimen image is not analyzed")
    VIEW_NOT_READ = ("N107", "this view is not one the node is set to read")
    VIEW_MISSING = ("N108", "the image does not say which view it is")
    LATERALITY_MISSING = ("N109", "the image does not say which breast it shows")
    SECONDARY_CAPTURE = ("N110", "a secondary capture is not analyzed")
    OWN_RESULT = ("N111", "a derived or marked-up image is not analyzed")
    PATIENT_DIFFERS = ("N112", "the image names another patient than the rest of its study")
    HAS_ITS_RESULT = (
        "N113",
        "the image came back unchanged after it was purged; it has its result",
    )

    NO_PIXEL_DATA = ("N201", "there is no pixel data")
    PIXEL_DATA_TRUNCATED = ("N202", "the pixel data is shorter than the header says")
    SYNTAX_UNSUPPORTED = ("N203", "the transfer syntax is not a lossless one this node decodes")
    NOT_MONOCHROME = ("N204", "the image is not a single-channel grey image")
    BIT_DEPTH = ("N205", "fewer than 10 bits are stored, too coarse for calcifications")
    SIZE_OUT_OF_RANGE = ("N206", "the number of rows or columns is zero or beyond the limit")
    PIXEL_SPACING_MISSING = ("N207", "there is no usable pixel spacing")
    DECODING_FAILED = ("N208", "the pixel data cannot be decoded")
    MULTI_FRAME = ("N209", "more than one frame in a projection image")
    NO_BREAST = ("N210", "no breast tissue was found in the image")
    WORKER_LOST = ("N211", "reading the image took the worker down repeatedly")
    UNREADABLE = ("N212", "the stored file cannot be read as DICOM")
    DECODER_BROKE = ("N213", "the decoder crashed or ran out of memory on the pixel data")
    DECODING_TOO_LONG = ("N214", "decoding the pixel data took longer than the limit")

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text

    @property
    def set_aside(self) -> bool:
        """True for N1xx: not attempted, so not listed in any result object."""
        return self.code.startswith("N1")

    @classmethod
    def of(cls, code: str) -> Reason:
        """The reason with this code; KeyError when there is none."""
        return _BY_CODE[code]


_BY_CODE = {reason.code: reason for reason in Reason}
