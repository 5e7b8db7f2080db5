"""Real tissue made into other tissue: turned, zoomed, stretched, sharper or softer.

Few real films are at hand. A network that sees them often learns them by heart, so that no two
views of a film should look alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.core.grid import resample

BANDS = (1.2, 4.0, 12.0)
"""Pixels; sigmas between which the structure of tissue is made stronger or weaker."""
BAND_DEVIATION = 0.35
"""Of the natural logarithm of a band's gain."""
EDGE = 20
"""Pixels kept around the breast."""
_LEAST_SIDE = 64

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


def distorted(
    pixels: Picture, breast: Mask, unsure: Mask, rng: np.random.Generator, *, strongly: bool
) -> tuple[Picture, Mask, Mask]:
    """Cropped to the breast, mirrored, turned by quarters and zoomed by up to a quarter.

    `strongly` zooms by up to a half, stretches one axis against the other by up to a fifth, and
    changes the weight of fine, middle and coarse structure.
    """
    rows = np.flatnonzero(breast.any(axis=1))
    columns = np.flatnonzero(breast.any(axis=0))
    box = np.s_[
        max(rows[0] - EDGE, 0) : rows[-1] + EDGE, max(columns[0] - EDGE, 0) : columns[-1] + EDGE
    ]
    zoom = float(np.exp(rng.uniform(-0.4, 0.4) if strongly else rng.uniform(-0.25, 0.25)))
    stretch = float(np.exp(rng.uniform(-0.1, 0.1))) if strongly else 1.0
    quarters, mirror = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    height, width = pixels[box].shape
    shape = (
        max(_LEAST_SIDE, round(height * zoom * stretch)),
        max(_LEAST_SIDE, round(width * zoom / stretch)),
    )
    picture = resample(pixels[box], shape=shape)
    if strongly:
        picture = _equalised(picture, rng)
    masks = [resample(mask[box].astype(np.float32), shape=shape) > 0.5 for mask in (breast, unsure)]
    turned = [np.rot90(array, quarters) for array in (picture, *masks)]
    if mirror:
        turned = [array[:, ::-1] for array in turned]
    first, second, third = (np.ascontiguousarray(array) for array in turned)
    return first.astype(np.float32), second.astype(np.bool_), third.astype(np.bool_)


def _equalised(picture: Picture, rng: np.random.Generator) -> Picture:
    gains = np.exp(rng.normal(0, BAND_DEVIATION, len(BANDS))).astype(np.float32)
    changed = picture.copy()
    finer = picture
    for gain, sigma in zip(gains, BANDS, strict=True):
        coarser = gaussian_filter(picture, sigma, truncate=2)
        changed += (gain - 1) * (finer - coarser)
        finer = coarser
    return np.clip(changed, 0, 1)
