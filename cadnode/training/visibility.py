"""What of a simulated calcification can be seen in the finished picture.

The contrast that was put in says little: blur, coarse pixels, noise and the tissue around decide.
So the picture is taken twice, with and without calcium, and the difference measured in units of
what else varies there, in the band that answers most strongly to a body of its size. A detail is
seen with certainty from a signal-to-noise ratio of about 5 (A. Rose, J. Opt. Soc. Am. 38, 1948).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

SEEN = 5.0
"""Signal-to-noise ratio from which a calcification counts as visible."""
SEEN_TOGETHER, TOGETHER, TOGETHER_MM = 4.0, 5, 3.0
"""Fainter ones are seen where at least so many lie within so many millimetres: noise alone makes
about one spot of this ratio on a square centimetre of film, and never five on a third of it."""
SIGMAS = (0.7, 1.1, 1.8, 2.9)
"""Pixels; the smaller sigma of each band, for bodies of 2 to 9 pixels."""
WIDER = 1.6
"""Larger over smaller sigma of a band: near the Laplacian."""
BLOCK = 8
"""Pixels; the noise of a band is measured on blocks of this side."""
NEIGHBOURHOOD = 2.5
"""Blocks; sigma of the window over which it is averaged."""
_TINY = 1e-9


def signal_to_noise(
    with_calcium: NDArray[np.float32], without: NDArray[np.float32], breast: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """At every pixel the best ratio over the bands; 0 outside the breast.

    Both pictures show the same view with the same noise, before normalisation.
    """
    rows, columns = without.shape
    ratio: NDArray[np.float32] = np.zeros((rows, columns), np.float32)
    inside = breast.astype(np.float32)
    share = _around(inside) + np.float32(_TINY)
    added = with_calcium - without
    for sigma in SIGMAS:
        noise = np.sqrt(_around(inside * _band(without, sigma) ** 2) / share) + np.float32(_TINY)
        whole: NDArray[np.float32] = noise.repeat(BLOCK, 0).repeat(BLOCK, 1)
        ratio = np.maximum(ratio, _band(added, sigma) / whole[:rows, :columns])
    return ratio * inside


def seen_together(
    places: NDArray[np.float64], owners: NDArray[np.intp], ratios: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which calcifications (n, at (row, column) in mm) are seen for the company they are in: at
    least `TOGETHER` of their own cluster and of a ratio of `SEEN_TOGETHER`, themselves counted."""
    seen = np.zeros(len(places), np.bool_)
    for owner in np.unique(owners):
        members = np.flatnonzero((owners == owner) & (ratios >= SEEN_TOGETHER))
        if len(members) >= TOGETHER:
            tree = cKDTree(places[members])
            near = tree.query_ball_point(places[members], TOGETHER_MM, return_length=True)
            seen[members[near >= TOGETHER]] = True
    return seen


def _band(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    band: NDArray[np.float32] = gaussian_filter(pixels, sigma, truncate=3) - gaussian_filter(
        pixels, WIDER * sigma, truncate=3
    )
    return band


def _around(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the neighbourhood, one value a block."""
    padded = np.pad(pixels, [(0, -side % BLOCK) for side in pixels.shape])
    rows, columns = (side // BLOCK for side in padded.shape)
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3))
    smooth: NDArray[np.float32] = gaussian_filter(blocks, NEIGHBOURHOOD, truncate=3)
    return smooth
