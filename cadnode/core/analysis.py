"""One mammogram through the model: what was scored, what it said, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.core.findings import Finding
from cadnode.core.grid import ModelGrid, cut, tile, to_model_grid
from cadnode.core.intensity import NORMALISATIONS
from cadnode.core.mammogram import Mammogram
from cadnode.core.marks import marks
from cadnode.core.model import ModelSpec, PatchScores
from cadnode.core.patch_map import HeatMap, PatchMap
from cadnode.core.ports import Classifier

BATCH = 32
"""Patches scored between two calls of `on_batch`: some tenths of a second, or seconds where the
CPU is slow."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageReading:
    """What the model said about one image."""

    findings: tuple[Finding, ...]
    """In received pixels, highest score first."""
    patch_map: PatchMap

    @property
    def patches(self) -> int:
        """How many patches were scored."""
        return len(self.patch_map.origins)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One image, ready for the model."""

    mammogram: Mammogram
    grid: ModelGrid
    origins: NDArray[np.intp]
    """(n, 2): first (row, column) of each patch on the grid."""
    patches: NDArray[np.float32]
    """(n, patch_size, patch_size), normalised."""


def prepare(mammogram: Mammogram, spec: ModelSpec) -> Prepared:
    """All that comes before the model. Raises ImageFailed (NO_BREAST)."""
    grid = to_model_grid(mammogram.pixels, mammogram.valid, mammogram.spacing, spec.pitch_mm)
    pixels = NORMALISATIONS[spec.normalisation](grid.pixels, grid.breast)
    origins = tile(grid.breast, patch_size=spec.patch_size, stride=spec.stride)
    return Prepared(mammogram, grid, origins, cut(pixels, origins, spec.patch_size))


def analyze_mammogram(
    mammogram: Mammogram,
    classifier: Classifier,
    *,
    batch: int = BATCH,
    on_batch: Callable[[], None] | None = None,
) -> ImageReading:
    """The reading of one image; `on_batch` is called after each batch of patches.

    Raises ImageFailed (NO_BREAST), ModelUnfit, and whatever `on_batch` raises.
    """
    return analyze(prepare(mammogram, classifier.spec), classifier, batch=batch, on_batch=on_batch)


def analyze(
    prepared: Prepared,
    classifier: Classifier,
    *,
    batch: int = BATCH,
    on_batch: Callable[[], None] | None = None,
) -> ImageReading:
    """The reading of a prepared image. Raises ModelUnfit, and whatever `on_batch` raises."""
    spec, mammogram = classifier.spec, prepared.mammogram
    grid, origins = prepared.grid, prepared.origins
    answers = []
    # Batches of one size: what is left over would make a small one, which costs more a patch.
    for part in np.array_split(prepared.patches, -(-len(origins) // batch)):
        answers.append(classifier.classify(part))
        if on_batch is not None:
            on_batch()
    scores = PatchScores(
        probability=np.concatenate([answer.probability for answer in answers]),
        maps=np.concatenate([answer.maps for answer in answers]),
    )
    return ImageReading(
        findings=marks(grid, mammogram.pixels, mammogram.spacing, origins, scores, spec),
        patch_map=PatchMap(
            image_shape=grid.image_shape,
            row_scale=grid.row_scale,
            column_scale=grid.column_scale,
            patch_size=spec.patch_size,
            origins=origins.astype(np.int32),
            probability=scores.probability,
            heat=_heat(grid, origins, scores, spec),
            thresholds=spec.thresholds,
            recommended=spec.recommended,
        ),
    )


def _heat(
    grid: ModelGrid, origins: NDArray[np.intp], scores: PatchScores, spec: ModelSpec
) -> HeatMap:
    side = spec.patch_size / spec.map_size
    rows, columns = (int(np.ceil(size / side)) for size in grid.pixels.shape)
    total = np.zeros((rows, columns))
    count = np.zeros((rows, columns))
    for (top, left), probability, heat in zip(
        origins.tolist(), scores.probability.tolist(), scores.maps, strict=True
    ):
        down, map_rows = _inside(rows, top, side, spec.map_size)
        across, map_columns = _inside(columns, left, side, spec.map_size)
        total[np.ix_(down, across)] += probability * heat[np.ix_(map_rows, map_columns)]
        count[np.ix_(down, across)] += 1
    return HeatMap(
        values=(total / np.maximum(count, 1)).astype(np.float32),
        row_step=side * grid.row_scale,
        column_step=side * grid.column_scale,
    )


def _inside(
    size: int, first: int, side: float, map_size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The heat cells along one axis centered in a patch, and the map cells they lie in."""
    cell = np.floor(((np.arange(size) + 0.5) * side - first) / side).astype(np.intp)
    inside = np.flatnonzero((cell >= 0) & (cell < map_size))
    return inside, cell[inside]
