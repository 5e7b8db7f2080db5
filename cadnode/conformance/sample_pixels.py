"""The pixels of the made-up exams, and each of the ways in which an image says how to show them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydicom import Dataset
from pydicom import Sequence as DicomSequence

Grid = tuple[int, int, float, int, list[str]]

GRIDS: Mapping[str, Grid] = {
    "A": (96, 80, 0.07, 12, ["P", "L"]),
    "B": (88, 72, 0.1, 14, ["A", "R"]),
    "C": (104, 96, 0.05, 10, ["A", "FR"]),
}
"""Rows, columns, spacing in mm, bits and Patient Orientation of a variant."""


def add_pixels(image: Dataset, grid: Grid, *, told: bool) -> None:
    height, width, spacing, bits, _ = grid
    rows, columns = np.mgrid[0:height, 0:width]
    breast = (rows - height / 2) ** 2 + columns**2 < (0.45 * height) ** 2
    image.ImagerPixelSpacing = [spacing, spacing]
    if told:
        image.PixelSpacing = [0.95 * spacing, 0.95 * spacing]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = height, width
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelRepresentation = 0
    image.WindowCenter, image.WindowWidth = (1 << (bits - 1)) - 100, (1 << bits) - 300
    image.PresentationLUTShape = "IDENTITY"
    image.PixelIntensityRelationship, image.PixelIntensityRelationshipSign = "LOG", -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.PixelData = np.where(breast, 700 + rows, 10).astype("<u2").tobytes()


def shade(image: Dataset, number: int) -> None:
    """Each of the ways in which an image says how its values are to be seen."""
    match number:
        case 3:
            image.VOILUTFunction = "LINEAR_EXACT"
        case 4:
            image.VOILUTSequence = DicomSequence([_lut()])
            del image.WindowCenter, image.WindowWidth
        case 5:
            lut = _lut()
            lut.ModalityLUTType = "US"
            image.ModalityLUTSequence = DicomSequence([lut])
            del image.RescaleIntercept, image.RescaleSlope, image.RescaleType
        case 6:
            image.PhotometricInterpretation = "MONOCHROME1"
            del image.PresentationLUTShape
        case 7:
            image.RescaleIntercept, image.RescaleSlope = 5, 2
        case 8:
            image.LossyImageCompression = "01"
            image.LossyImageCompressionRatio = 8.0
            image.LossyImageCompressionMethod = "ISO_10918_1"
        case 9:
            image.VOILUTFunction = "SIGMOID"
        case 2 | 11:
            del image.WindowCenter, image.WindowWidth


def _lut() -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [512, 0, 16]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = (np.arange(512) * 128).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item
