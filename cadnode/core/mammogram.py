"""A mammogram as plain values: what its header says, and its pixels ready for analysis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Laterality(StrEnum):
    """Image Laterality (0020,0062) of one breast."""

    RIGHT = "R"
    LEFT = "L"


class Intent(StrEnum):
    """Presentation Intent Type (0008,0068)."""

    PRESENTATION = "FOR PRESENTATION"
    PROCESSING = "FOR PROCESSING"


@dataclass(frozen=True, slots=True)
class PixelSpacing:
    """Distance between pixel centers on the detector plane, in mm (PS3.3 10.7.1)."""

    row: float
    """Between rows, that is vertically: the first value of the attribute."""
    column: float
    """Between columns, that is horizontally: the second value of the attribute."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the node must know of an image to decide about it, read without its pixels.

    Absent or nonsensical attributes are None (or empty): deciding what that means is
    `eligibility`'s work. `view` is the short name of the view (`CC`, `MLO`, `ML`, `XCCL`, ...)
    whichever way the image says it (SCT code, SRT code, or View Position text), `view_modifiers`
    are lower-case meanings (`magnification`, `spot compression`, `implant displaced`, ...).
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str | None = None
    image_type: tuple[str, ...] = ()
    intent: Intent | None = None
    laterality: Laterality | None = None
    view: str | None = None
    view_modifiers: tuple[str, ...] = ()
    implant_present: bool = False
    magnification_factor: float | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int = 1
    samples_per_pixel: int | None = None
    photometric_interpretation: str | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    spacing: PixelSpacing | None = None
    patient_orientation: tuple[str, ...] = ()
    """Patient Orientation (0020,0020): the direction of the rows, then that of the columns."""
    has_pixel_data: bool = False
    source_uids: tuple[str, ...] = ()
    """Source Image Sequence (0008,2112): the For Processing images this one was made from."""
    patient_key: str | None = None
    """A one-way hash of Patient ID and its issuer, to tell two patients apart without naming them."""


@dataclass(frozen=True, slots=True, eq=False)
class Mammogram:
    """One image, decoded, in the pixel grid in which it was received.

    `pixels` is float32 of shape (rows, columns) in 0..1 as displayed (PS3.14 P-values scaled):
    dense tissue bright, air dark, whatever photometric interpretation, LUT or window the object
    had. No flip, crop or resample has been applied. `valid` is False where the object marks
    padding (PS3.3 C.7.5.1.1.2).
    """

    sop_instance_uid: str
    laterality: Laterality
    view: str
    intent: Intent
    spacing: PixelSpacing
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
