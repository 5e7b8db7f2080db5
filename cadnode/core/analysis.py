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


def analyze_mammogram(
    mammogram: Mammogram,
    classifier: Classifier,
    *,
    batch: int = 16,
    on_batch: Callable[[], None] | None = None,
) -> ImageReading:
    """The reading of one image; `on_batch` is called after each batch of patches.

    Raises ImageFailed (NO_BREAST), ModelUnfit, and whatever `on_batch` raises.
    """
    spec = classifier.spec
    grid = to_model_grid(mammogram.pixels, mammogram.valid, mammogram.spacing, spec.pitch_mm)
    pixels = NORMALISATIONS[spec.normalisation](grid.pixels, grid.breast)
    origins = tile(grid.breast, patch_size=spec.patch_size, stride=spec.stride)
    answers = []
    for start in range(0, len(origins), batch):
        answers.append(
            classifier.classify(cut(pixels, origins[start : start + batch], spec.patch_size))
        )
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
