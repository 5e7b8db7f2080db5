"""Does the node read this image? One rule for each reason, tried in order; the first that holds wins.

| asked                                             | reason             |
| ------------------------------------------------- | ------------------ |
| tomosynthesis volume, projections or synthetic 2D | TOMOSYNTHESIS      |
| any Secondary Capture                             | SECONDARY_CAPTURE  |
| another SOP class, or another modality than MG    | NOT_A_MAMMOGRAM    |
| Image Type says copy, CAD output or subtraction   | OWN_RESULT         |
| the view is a specimen                            | SPECIMEN           |
| implant present, or displaced for the view        | IMPLANT            |
| magnified or spot compressed                      | MAGNIFICATION      |
| no view                                           | VIEW_MISSING       |
| a view that is not read, or only part of one      | VIEW_NOT_READ      |
| no laterality                                     | LATERALITY_MISSING |
| no pixel data                                     | NO_PIXEL_DATA      |
| a transfer syntax that is lossy or unknown        | SYNTAX_UNSUPPORTED |
| colour, or more than one sample per pixel         | NOT_MONOCHROME     |
| more than one frame                               | MULTI_FRAME        |
| no rows or no columns                             | SIZE_OUT_OF_RANGE  |
| fewer than 10 bits stored                         | BIT_DEPTH          |
| no usable pixel spacing                           | PIXEL_SPACING_MISSING |

What an image is comes before whether it can be decoded: an RGB Secondary Capture is set aside as a
Secondary Capture, and no result object lists it as failed.
"""

from __future__ import annotations

from collections.abc import Callable

from cadnode.core.mammogram import ImageHeader
from cadnode.core.reasons import Reason

MAMMOGRAPHY_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography X-Ray, For Presentation
        "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography X-Ray, For Processing
    }
)

TOMOSYNTHESIS_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.13.1.3",  # Breast Tomosynthesis
        "1.2.840.10008.5.1.4.1.1.13.1.4",  # Breast Projection X-Ray, For Presentation
        "1.2.840.10008.5.1.4.1.1.13.1.5",  # Breast Projection X-Ray, For Processing
    }
)

SECONDARY_CAPTURE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.1",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)

LOSSLESS_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2",  # Implicit VR Little Endian
        "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.5",  # RLE Lossless
        "1.2.840.10008.1.2.4.57",  # JPEG Lossless, process 14
        "1.2.840.10008.1.2.4.70",  # JPEG Lossless, process 14, selection value 1
        "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
        "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless Only
        "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 Lossless Only
        "1.2.840.10008.1.2.4.202",  # the same with RPCL options
    }
)
"""JPEG 2000 (.91) and HTJ2K (.203) may hold lossless data too, but do not say so."""

MINIMUM_BITS_STORED = 10

MAGNIFIED_FROM = 1.3
"""Estimated Radiographic Magnification Factor from which an exposure was on a magnification stand.

A contact exposure of a 150 mm thick breast at 650 mm source distance reaches 1.17 at mid-breast;
stands begin at 1.4.
"""

_DERIVED_IMAGE_TYPES = frozenset({"SECONDARY", "CAD", "SUBTRACTION", "RECOMBINED"})
"""Image Type values of copies and computed images. DERIVED alone is what every For Presentation
image may say (PS3.3 C.8.11.7.1.4) and means nothing here."""

_MAGNIFYING = frozenset({"magnification", "spot compression"})
_PARTIAL = frozenset({"axillary tail", "cleavage", "tangential"})


def judge(header: ImageHeader, *, analyzed_views: frozenset[str]) -> Reason | None:
    """Why the image is not analyzed, or None when it can be; `analyzed_views` as {"CC", "MLO"}."""
    for reason, holds in _RULES:
        if holds(header):
            return reason
        if reason is Reason.VIEW_MISSING and header.view not in analyzed_views:
            return Reason.VIEW_NOT_READ
    return None


def _tomosynthesis(header: ImageHeader) -> bool:
    return header.sop_class_uid in TOMOSYNTHESIS_CLASSES or (
        header.sop_class_uid in MAMMOGRAPHY_CLASSES
        and any(
            value.startswith("TOMO") or value == "GENERATED_2D" for value in header.image_type[2:]
        )
    )


def _not_a_mammogram(header: ImageHeader) -> bool:
    return header.sop_class_uid not in MAMMOGRAPHY_CLASSES or header.modality not in (None, "MG")


def _magnified(header: ImageHeader) -> bool:
    factor = header.magnification_factor
    return not _MAGNIFYING.isdisjoint(header.view_modifiers) or (
        factor is not None and factor >= MAGNIFIED_FROM
    )


def _not_monochrome(header: ImageHeader) -> bool:
    return header.samples_per_pixel != 1 or header.photometric_interpretation not in (
        "MONOCHROME1",
        "MONOCHROME2",
    )


_RULES: tuple[tuple[Reason, Callable[[ImageHeader], bool]], ...] = (
    (Reason.TOMOSYNTHESIS, _tomosynthesis),
    (Reason.SECONDARY_CAPTURE, lambda header: header.sop_class_uid in SECONDARY_CAPTURE_CLASSES),
    (Reason.NOT_A_MAMMOGRAM, _not_a_mammogram),
    (
        Reason.OWN_RESULT,
        lambda header: not _DERIVED_IMAGE_TYPES.isdisjoint(header.image_type[1:]),
    ),
    (Reason.SPECIMEN, lambda header: header.view == "SPECIMEN"),
    (
        Reason.IMPLANT,
        lambda header: header.implant_present or "implant displaced" in header.view_modifiers,
    ),
    (Reason.MAGNIFICATION, _magnified),
    (Reason.VIEW_MISSING, lambda header: header.view is None),
    (Reason.VIEW_NOT_READ, lambda header: not _PARTIAL.isdisjoint(header.view_modifiers)),
    (Reason.LATERALITY_MISSING, lambda header: header.laterality is None),
    (Reason.NO_PIXEL_DATA, lambda header: not header.has_pixel_data),
    (
        Reason.SYNTAX_UNSUPPORTED,
        lambda header: header.transfer_syntax_uid not in LOSSLESS_SYNTAXES,
    ),
    (Reason.NOT_MONOCHROME, _not_monochrome),
    (Reason.MULTI_FRAME, lambda header: header.frames != 1),
    (Reason.SIZE_OUT_OF_RANGE, lambda header: min(header.rows or 0, header.columns or 0) < 1),
    (Reason.BIT_DEPTH, lambda header: (header.bits_stored or 0) < MINIMUM_BITS_STORED),
    (Reason.PIXEL_SPACING_MISSING, lambda header: header.spacing is None),
)
