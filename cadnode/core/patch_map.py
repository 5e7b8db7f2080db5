"""What a model said of one image, patch by patch, in the pixels that were received.

Kept with the image, so that a person can be shown later why a mark is there, or is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Where the model sees something, coarse, for display."""

    values: NDArray[np.float32]
    """0..1: patch probability times localisation map, the mean of the patches that overlap."""
    row_step: float
    """Received pixels per row of `values`."""
    column_step: float
    """Received pixels per column of `values`.

    Value [r, c] covers the received pixels from (c * column_step, r * row_step) on, as
    (column, row); the last ones may reach beyond the image.
    """


@dataclass(frozen=True, slots=True, eq=False)
class PatchMap:
    """The scores of one image, and how they are to be read."""

    image_shape: tuple[int, int]
    """(rows, columns) of the received image."""
    row_scale: float
    """Received rows per row at the model's pitch."""
    column_scale: float
    """Received columns per column at the model's pitch."""
    patch_size: int
    """Side of a patch in pixels at the model's pitch."""
    origins: NDArray[np.int32]
    """(n, 2): first (row, column) of each patch at the model's pitch."""
    probability: NDArray[np.float32]
    """(n,): what the model said of each patch."""
    heat: HeatMap
    thresholds: tuple[float, ...]
    """Score thresholds by operating point, the strictest first, as the model has them."""
    recommended: int
    """The operating point shown by default."""

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(n, 4): first column, first row, last column, last row of each patch in received pixels,
        cut off at the edges of the image."""
        first = self.origins[:, ::-1] * (self.column_scale, self.row_scale)
        last = (self.origins[:, ::-1] + self.patch_size) * (self.column_scale, self.row_scale)
        rows, columns = self.image_shape
        return np.clip(np.hstack([first, last]), 0, (columns, rows, columns, rows))
