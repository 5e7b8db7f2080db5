"""The patch scores of an image as a picture to be laid over it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from cadnode.core.patch_map import PatchMap


@dataclass(frozen=True, slots=True)
class HeatPicture:
    """A PNG with one pixel for each cell, and how much of the image it covers from its corner."""

    content: bytes
    width: float
    """In received columns; it may reach beyond the image."""
    height: float
    """In received rows."""


def heat_picture(patch_map: PatchMap) -> HeatPicture:
    """From clear (nothing) over orange to yellow (certain), as the stylesheet's legend has it."""
    heat = patch_map.heat
    values = np.clip(heat.values, 0.0, 1.0)
    rgba = np.zeros((*values.shape, 4), np.uint8)
    rgba[..., 0] = 250
    rgba[..., 1] = 90 + 140 * values
    rgba[..., 2] = 40
    rgba[..., 3] = 200 * values
    file = BytesIO()
    Image.fromarray(rgba).save(file, "PNG")
    rows, columns = values.shape
    return HeatPicture(file.getvalue(), columns * heat.column_step, rows * heat.row_step)
