"""The grayscale transformations of a presentation state: the image as this node displays it.

Modality, VOI and Presentation LUT (PS3.4 N.2) of the image are said again, in the form that the
oldest viewers understand: a sigmoid window, which some of them take for a linear one, becomes a
table. A For Processing image has no VOI of its own; it gets a window over all that it can hold, and
the polarity that shows dense tissue bright.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds

from cadnode.core.mammogram import Intent
from cadnode.dicom.display import (
    Lut,
    Window,
    chosen_voi,
    exposure_sign,
    is_inverse,
    modality_lut,
    windowed,
)
from cadnode.dicom.header import integer, number, text

_NO_EXPONENT_BELOW = 1e15
"""Beyond it a decimal string of 16 bytes says no value that a pixel can have."""


def write_transformations(image: Dataset, intent: Intent, state: Dataset) -> None:
    """Write the Modality LUT, Softcopy VOI LUT and Softcopy Presentation LUT modules of `state`
    for the image with this header."""
    modality = modality_lut(image)
    slope, intercept = _rescaling(image)
    if modality is not None:
        item = _lut_item(modality)
        item.ModalityLUTType = "US"
        state.ModalityLUTSequence = DicomSequence([item])
    elif (slope, intercept) != (1.0, 0.0):
        state.RescaleIntercept = _decimal(intercept)
        state.RescaleSlope = _decimal(slope)
        state.RescaleType = "US"
    photometric = text(image, "PhotometricInterpretation").upper()
    if intent is Intent.PROCESSING:
        voi, inverse = None, exposure_sign(image, photometric) > 0
    else:
        voi, inverse = chosen_voi(image), is_inverse(image, photometric)
    whole_numbers = modality is None and slope == 1.0 and intercept == round(intercept)
    lowest, highest = _range(image)
    if isinstance(voi, Window) and voi.function == "SIGMOID" and whole_numbers:
        voi = _tabulated(voi, round(lowest + intercept), round(highest + intercept))
    if voi is None:
        voi = _whole_range(modality, lowest * slope + intercept, highest * slope + intercept)
    state.SoftcopyVOILUTSequence = DicomSequence([_voi_item(voi)])
    state.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"


def _rescaling(image: Dataset) -> tuple[float, float]:
    slope, intercept = number(image, "RescaleSlope") or 1.0, number(image, "RescaleIntercept")
    values = (slope, intercept or 0.0)
    return values if max(map(abs, values)) < _NO_EXPONENT_BELOW else (1.0, 0.0)


def _range(image: Dataset) -> tuple[int, int]:
    """The lowest and the highest number that a stored value can be."""
    bits = integer(image, "BitsStored") or 16
    bits = bits if 0 < bits <= 16 else 16
    if integer(image, "PixelRepresentation") == 1:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _whole_range(modality: Lut | None, first: float, last: float) -> Window:
    if modality is not None:
        first, last = 0.0, 2.0**modality.bits - 1
    lowest, highest = sorted((first, last))
    # From the lowest to the highest value, both included (PS3.3 C.11.2.1.2.1).
    return Window((lowest + highest + 1) / 2, highest - lowest + 1, "LINEAR")


def _tabulated(window: Window, first: int, last: int) -> Lut:
    shown = windowed(np.arange(first, last + 1, dtype=np.float64), window)
    return Lut(first, np.rint(shown * 65535), 16)


def _voi_item(voi: Lut | Window) -> Dataset:
    item = Dataset()
    if isinstance(voi, Lut):
        item.VOILUTSequence = DicomSequence([_lut_item(voi)])
        return item
    item.WindowCenter, item.WindowWidth = _decimal(voi.center), _decimal(voi.width)
    if voi.function in ("SIGMOID", "LINEAR_EXACT"):
        item.VOILUTFunction = voi.function
    return item


def _lut_item(lut: Lut) -> Dataset:
    item = Dataset()
    vr = "SS" if lut.first < 0 else "US"
    descriptor = [lut.entries.size & 0xFFFF, lut.first, lut.bits]
    if vr == "SS":
        descriptor[0] = (descriptor[0] ^ 0x8000) - 0x8000
    item.add(DataElement(Tag("LUTDescriptor"), vr, descriptor))
    item.add(DataElement(Tag("LUTData"), "OW", _words(lut.entries)))
    return item


def _words(entries: NDArray[np.float64]) -> bytes:
    return np.clip(entries, 0, 65535).astype("<u2").tobytes()


def _decimal(value: float) -> str:
    return format_number_as_ds(float(value))
