"""One image of 2560 x 3328, from the file to its findings, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from cadnode.core.analysis import analyze_mammogram
from cadnode.core.grid import cut, resample, tile, to_model_grid
from cadnode.core.intensity import NORMALISATIONS
from cadnode.core.marks import marks
from cadnode.core.model import PatchScores
from cadnode.core.ports import Classifier
from cadnode.dicom.reader import DicomReader

ROWS, COLUMNS = 3328, 2560
PITCH_MM = 0.07
T = TypeVar("T")


def full_size(film: Path, folder: Path) -> Path:
    """The film on the grid of a large detector, uncompressed."""
    dataset = dcmread(film)
    pixels = resample(dataset.pixel_array.astype(np.float32), shape=(ROWS, COLUMNS))
    dataset.PixelData = np.clip(pixels.round(), 0, 65535).astype("<u2").tobytes()
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.PixelSpacing = dataset.ImagerPixelSpacing = [PITCH_MM, PITCH_MM]
    path = folder / "full.dcm"
    dataset.save_as(path)
    return path


def stages(path: Path, reader: DicomReader, classifier: Classifier) -> dict[str, float]:
    """Seconds of each stage, and of all of it as the worker does it."""
    took: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        found = work()
        took[name] = time.perf_counter() - began
        return found

    spec = classifier.spec
    header = reader.header(path)
    image = timed("read and decode", lambda: reader.mammogram(path, header))
    grid = timed(
        "breast, resampling",
        lambda: to_model_grid(image.pixels, image.valid, image.spacing, spec.pitch_mm),
    )
    normalise = NORMALISATIONS[spec.normalisation]
    pixels = timed("normalisation", lambda: normalise(grid.pixels, grid.breast))

    def patches_of() -> tuple[np.ndarray, np.ndarray]:
        origins = tile(grid.breast, patch_size=spec.patch_size, stride=spec.stride)
        return origins, cut(pixels, origins, spec.patch_size)

    origins, patches = timed("patches", patches_of)
    scores: PatchScores = timed("network", lambda: classifier.classify(patches))
    timed("marks", lambda: marks(grid, image.pixels, image.spacing, origins, scores, spec))
    timed("all, as a worker", lambda: _whole(path, reader, classifier))
    took["patches scored"] = float(len(patches))
    return took


def _whole(path: Path, reader: DicomReader, classifier: Classifier) -> None:
    image = reader.mammogram(path, reader.header(path))
    analyze_mammogram(image, classifier)
