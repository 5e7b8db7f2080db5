"""From stored values to what a display would show: one table over all values an image can hold.

The chain is PS3.4 N.2: modality transformation, then VOI, then presentation. A table of at most
65,536 entries carries the whole of it, so an image costs one look-up per pixel.

For Presentation: the first item of VOI LUT Sequence, else the first usable window (LINEAR,
LINEAR_EXACT or SIGMOID, PS3.3 C.11.2.1), else the range of the valid pixels. MONOCHROME1 or
Presentation LUT Shape INVERSE turn it round, once: in a mammogram the two always come together
(PS3.3 C.8.11.3.1.2), and a sender that sets only one of them means the same.

For Processing: no VOI is meant for it. Pixel Intensity Relationship and its sign (PS3.3
C.8.11.3.1.2) tell how values follow the exposure; attenuation, the negative logarithm of it, is
what a For Presentation image shows, tissue bright, air dark. It is scaled to the range of the valid
pixels, extremes cut: air above the first, and dead or covered detector elements below the last ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import ImageHeader, Intent
from cadnode.core.reasons import Reason
from cadnode.dicom.files import quiet
from cadnode.dicom.header import integer, items, number, text, values

Table = NDArray[np.float64]

_AIR_PERCENTILE, _DENSEST_PERCENTILE = 0.1, 99.99


@dataclass(frozen=True, slots=True, eq=False)
class DisplayTables:
    """What becomes of each stored value."""

    shown: NDArray[np.float32]
    """0..1, dense tissue bright; 0 for padding."""
    valid: NDArray[np.bool_]
    """False for padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """One item of a VOI LUT or Modality LUT Sequence (PS3.3 C.11.2.1.1, C.11.1.1)."""

    first: int
    """The input value that the first entry is for; those before it get the first one too."""
    entries: NDArray[np.float64]
    bits: int
    """Of an entry: what is shown brightest is 2**bits - 1."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 C.11.2.1.2), and how values within it are spread."""

    center: float
    width: float
    function: str
    """LINEAR, LINEAR_EXACT, SIGMOID; anything else means LINEAR."""


def chosen_voi(dataset: Dataset) -> Lut | Window | None:
    """The VOI transformation that a For Presentation image is shown with, or None without one."""
    for item in items(dataset, "VOILUTSequence"):
        table = _lut(item)
        if table is not None:
            return Lut(*table)
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    for index in range(len(values(dataset, "WindowCenter"))):
        center = number(dataset, "WindowCenter", index)
        width = number(dataset, "WindowWidth", index)
        if center is not None and width is not None and _is_width(width, function):
            return Window(center, width, function)
    return None


def modality_lut(dataset: Dataset) -> Lut | None:
    """The first usable Modality LUT; where there is one, slope and intercept do not count."""
    for item in items(dataset, "ModalityLUTSequence"):
        table = _lut(item)
        if table is not None:
            return Lut(*table)
    return None


def is_inverse(dataset: Dataset, photometric_interpretation: str | None) -> bool:
    """True when the lowest value of a For Presentation image is shown brightest."""
    shape = text(dataset, "PresentationLUTShape").upper()
    return photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"


def exposure_sign(dataset: Dataset, photometric_interpretation: str | None) -> int:
    """1 when the values of a For Processing image rise with exposure, -1 when they fall.

    Without a sign they rise in MONOCHROME1 (dense tissue low, shown bright), fall in MONOCHROME2.
    """
    sign = number(dataset, "PixelIntensityRelationshipSign")
    if sign is None or sign == 0:
        return 1 if photometric_interpretation == "MONOCHROME1" else -1
    return 1 if sign > 0 else -1


def windowed(values_in: Table, window: Window) -> Table:
    """Values through a window, in 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values_in - center) / width)))
    if window.function == "LINEAR_EXACT":
        return np.clip((values_in - center) / width + 0.5, 0, 1)
    if width == 1:
        return np.where(values_in <= center - 0.5, 0.0, 1.0)
    return np.clip((values_in - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def display_tables(
    dataset: Dataset, header: ImageHeader, pixels: NDArray[np.uint16]
) -> DisplayTables:
    """The tables for the stored `pixels` of `dataset`, indexed by the bit pattern of a value."""
    with quiet():
        bits = header.bits_stored or 16
        numbers = _numbers(dataset, bits)
        valid = ~_padding(dataset, numbers)
        modality = _modality(dataset, numbers)
        if header.intent is Intent.PROCESSING:
            shown = _attenuation(dataset, header, modality, _counts(pixels, valid))
        else:
            shown = _value_of_interest(dataset, modality, pixels, valid)
            if is_inverse(dataset, header.photometric_interpretation):
                shown = 1 - shown
    if not np.isfinite(shown).all():
        raise ImageFailed(Reason.DECODING_FAILED, "rescale or window values out of any range")
    return DisplayTables(np.where(valid, shown, 0).astype(np.float32), valid)


def _numbers(dataset: Dataset, bits: int) -> Table:
    """The number that each bit pattern stands for."""
    numbers = np.arange(1 << bits, dtype=np.float64)
    if integer(dataset, "PixelRepresentation") == 1:
        numbers[1 << (bits - 1) :] -= 1 << bits
    return numbers


def _padding(dataset: Dataset, numbers: Table) -> NDArray[np.bool_]:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2): before any transformation."""
    value = number(dataset, "PixelPaddingValue")
    if value is None:
        return np.zeros(numbers.shape, dtype=np.bool_)
    limit = number(dataset, "PixelPaddingRangeLimit")
    first, last = sorted((value, value if limit is None else limit))
    return (numbers >= first) & (numbers <= last)


def _modality(dataset: Dataset, numbers: Table) -> Table:
    """Modality LUT, else rescale slope and intercept (PS3.3 C.11.1)."""
    lut = modality_lut(dataset)
    if lut is not None:
        return _looked_up(numbers, lut)
    slope = number(dataset, "RescaleSlope") or 1.0
    intercept = number(dataset, "RescaleIntercept") or 0.0
    return numbers * slope + intercept


def _value_of_interest(
    dataset: Dataset, modality: Table, pixels: NDArray[np.uint16], valid: NDArray[np.bool_]
) -> Table:
    voi = chosen_voi(dataset)
    if isinstance(voi, Lut):
        return np.clip(_looked_up(modality, voi) / (2.0**voi.bits - 1), 0, 1)
    if voi is not None:
        return windowed(modality, voi)
    there = (_counts(pixels, valid) > 0).nonzero()[0]
    if not there.size:
        return np.zeros(modality.shape)
    return _between(modality, float(modality[there].min()), float(modality[there].max()))


def _is_width(width: float, function: str) -> bool:
    return width >= 1 if function == "LINEAR" else width > 0


def _attenuation(
    dataset: Dataset, header: ImageHeader, modality: Table, counts: NDArray[np.int64]
) -> Table:
    """Attenuation in 0..1 over the range of the valid pixels.

    Without a relationship the values are taken as proportional to exposure.
    """
    sign = exposure_sign(dataset, header.photometric_interpretation)
    exposure = modality if sign > 0 else modality.max() - modality
    if text(dataset, "PixelIntensityRelationship").upper() == "LOG":
        attenuation = -exposure
    else:
        attenuation = -np.log(np.maximum(exposure, 1))
    there = counts.nonzero()[0]
    if not there.size:
        return np.zeros(modality.shape)
    order = there[np.argsort(attenuation[there], kind="stable")]
    share = np.cumsum(counts[order]) / counts.sum() * 100
    air, densest = (
        float(attenuation[order[int(np.searchsorted(share, percentile))]])
        for percentile in (_AIR_PERCENTILE, _DENSEST_PERCENTILE)
    )
    return _between(attenuation, air, densest)


def _between(values_in: Table, lowest: float, highest: float) -> Table:
    if highest <= lowest:
        return np.zeros(values_in.shape)
    return np.clip((values_in - lowest) / (highest - lowest), 0, 1)


def _counts(pixels: NDArray[np.uint16], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many pixels have each stored value, padding left out."""
    counts = np.zeros(valid.shape, dtype=np.int64)
    for start in range(0, pixels.shape[0], 256):  # bincount widens what it counts to 8 bytes
        counts += np.bincount(pixels[start : start + 256].ravel(), minlength=valid.size)
    return np.where(valid, counts, 0)


def _lut(item: Dataset) -> tuple[int, Table, int] | None:
    """First value mapped, entries, and bits of one LUT item (PS3.3 C.11.2.1.1); None if damaged."""
    descriptor = [number(item, "LUTDescriptor", index) for index in range(3)]
    if None in descriptor:
        return None
    length, first, bits = (int(value or 0) for value in descriptor)
    length = (length & 0xFFFF) or 65536
    entries = _entries(item, length)
    if entries is None or not 8 <= bits <= 16:
        return None
    return first, entries, bits


def _entries(item: Dataset, length: int) -> Table | None:
    """LUT Data as numbers, whether it came as words, as 8-bit entries, or as a parsed list."""
    found: Any = values(item, "LUTData")
    if len(found) == 1 and isinstance(found[0], bytes):
        width = "u1" if len(found[0]) in (length, length + 1) and length > 1 else "<u2"
        usable = len(found[0]) // np.dtype(width).itemsize * np.dtype(width).itemsize
        table = np.frombuffer(found[0][:usable], dtype=width).astype(np.float64)
    else:
        table = np.asarray(found, dtype=np.float64)
    return table[:length] if table.size >= length else None


def _looked_up(values_in: Table, lut: Lut) -> Table:
    """Entries for values; those before the first and behind the last get the first and last."""
    index = np.clip(np.rint(values_in) - lut.first, 0, lut.entries.size - 1)
    return np.asarray(lut.entries[index.astype(np.intp)])
