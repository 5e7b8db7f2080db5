"""What a patch is taught: one answer for the patch and one for each cell of its map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.training.clusters import SINGLE
from cadnode.training.simulator import GROUP, SimulatedView

NO, YES, UNKNOWN = 0, 1, 255
MARGIN = 6
"""Pixels: a calcification closer to a cell's edge leaves the neighbouring cell unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchLabel:
    """Truth of one patch."""

    patch: int
    """NO, YES or UNKNOWN (a patch not to be used)."""
    cells: NDArray[np.uint8]
    """Shape (map_size, map_size) of NO, YES, UNKNOWN."""
    lesion: int
    """Index of the cluster with most calcifications in it, or -1."""


def label_patch(view: SimulatedView, top: int, left: int, size: int, map_size: int) -> PatchLabel:
    """YES with at least three visible calcifications of one cluster well inside, or with one that
    counts alone; UNKNOWN where it could be argued."""
    cell = size // map_size
    cells = np.zeros((map_size, map_size), np.uint8)
    unsure = view.unsure[top : top + size, left : left + size]
    if unsure.any():
        rows, columns = np.nonzero(unsure)
        cells[np.minimum(rows // cell, map_size - 1), np.minimum(columns // cell, map_size - 1)] = (
            UNKNOWN
        )
    local = view.calcifications[view.visible] - (top, left)
    local_owners = view.owners[view.visible]
    near = np.all((local > -MARGIN) & (local < size + MARGIN), axis=1)
    faint = np.concatenate([view.calcifications[~view.visible], view.specks]) - (top, left)
    faint = faint[np.all((faint >= 0) & (faint < size), axis=1)]
    for row, column in faint:
        cells[int(row) // cell, int(column) // cell] = UNKNOWN
    for row, column in local[near]:
        for down in (-MARGIN, MARGIN):
            for right in (-MARGIN, MARGIN):
                r, c = int(row + down) // cell, int(column + right) // cell
                if 0 <= r < map_size and 0 <= c < map_size:
                    cells[r, c] = UNKNOWN
    within = near & np.all((local >= 0) & (local < size), axis=1)
    for row, column in local[within]:
        cells[int(row) // cell, int(column) // cell] = YES
    if within.any():
        owners, counts = np.unique(local_owners[within], return_counts=True)
        lesion = int(owners[np.argmax(counts)])
        well = near & np.all((local >= MARGIN) & (local < size - MARGIN), axis=1)
        _, well_counts = np.unique(local_owners[well], return_counts=True)
        alone = any(view.clusters[int(o)].morphology in SINGLE for o in local_owners[well])
        enough = alone or (len(well_counts) and well_counts.max() >= GROUP)
        return PatchLabel(YES if enough else UNKNOWN, cells, lesion)
    unknown = len(faint) >= 2 or bool(near.any()) or bool(unsure.any())
    return PatchLabel(UNKNOWN if unknown else NO, cells, -1)
