"""Single calcifications: small bright spots, each with its place, size and contrast.

A spot is a maximum of a difference of Gaussians, the band-pass that answers most strongly to a disk
of its size, over several sizes. The answer is measured in units of the noise around it in the
same band, so that one threshold serves film and detector, fat and dense tissue.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from cadnode.core.findings import Calcification
from cadnode.core.grid import resample

LARGEST_MM = 1.5
"""Coarser things are not what a cluster is made of."""
FINEST_PITCH_MM = 0.05
"""Finer pixels show nothing more of a calcification of 0.1 mm, the smallest that is seen."""
SIGMAS = (0.75, 1.06, 1.5)
"""In pixels of one octave; each neighbouring pair is one band."""
BAND_DIAMETER = 3.2
"""Diameter of the disk a band answers to most strongly, in units of its smaller sigma."""
NOISE_BLOCK = 24
"""Pixels of one octave on which the noise is estimated; far larger than a spot."""
NOISE_FLOOR = 2e-4
"""Of the displayed range: a 12-bit step. Below it, differences are rounding."""
LEAST_ROUNDNESS = 0.3
"""Weaker over stronger curvature at the peak: 1 for a disk, 0 for a line."""
LEAST_SPREAD = 0.2
"""Weaker over stronger gradient energy around the peak: 1 for a disk, 0 for a line."""
SUPPRESSION = 0.6
"""Of two spots nearer than this many diameters of the larger, the weaker goes."""
NORMAL_DEVIATION = np.float32(1.4826)
"""Standard deviation over median absolute value of normal noise."""
LEAST_CLOSED = 0.6
"""Share of the directions in which a spot falls to half its contrast."""
DIRECTIONS = 16
"""Radial profiles averaged for the diameter."""


def find_spots(
    pixels: NDArray[np.float32],
    spacing_mm: tuple[float, float],
    *,
    minimum_contrast: float,
    region: NDArray[np.bool_] | None = None,
) -> list[Calcification]:
    """Bright spots 0.1 to 1.5 mm across, strongest first, centers (column, row) in pixels.

    `spacing_mm` is (between rows, between columns). Only spots centered where `region` is True
    are given; the pixels around it still count as background. Edges and lines (fibres, vessel
    walls, scratches) are left out.
    """
    pitch = max(min(spacing_mm), FINEST_PITCH_MM)
    shape = (
        max(1, round(pixels.shape[0] * spacing_mm[0] / pitch)),
        max(1, round(pixels.shape[1] * spacing_mm[1] / pitch)),
    )
    image = pixels if shape == pixels.shape else resample(pixels, shape=shape)
    # Received pixels per working pixel, as (column, row).
    scale = np.array([pixels.shape[1] / shape[1], pixels.shape[0] / shape[0]])

    found = [
        candidates for candidates in _octaves(image, pitch, minimum_contrast) if len(candidates)
    ]
    if not found:
        return []
    spots = np.concatenate(found)
    if region is not None:
        columns, rows = (spots[:, :2] * scale).astype(np.intp).T
        inside = region[
            np.clip(rows, 0, region.shape[0] - 1), np.clip(columns, 0, region.shape[1] - 1)
        ]
        spots = spots[inside]
        if not len(spots):
            return []
    spots = _without_neighbours(spots)
    diameters, closed = _extents(image, spots)
    return [
        Calcification(
            center=(float(column * scale[0]), float(row * scale[1])),
            diameter_mm=float(diameter * pitch),
            contrast=float(contrast),
        )
        for (column, row, _, contrast), diameter in zip(
            spots[closed], diameters[closed], strict=True
        )
    ]


def _octaves(
    image: NDArray[np.float32], pitch: float, minimum_contrast: float
) -> Iterator[NDArray[np.float64]]:
    """Candidates of each band as rows (column, row, diameter, contrast), in image pixels."""
    factor = 1
    octave = image
    while min(octave.shape) >= 8 and SIGMAS[0] * BAND_DIAMETER * factor * pitch <= LARGEST_MM:
        smooth = [ndimage.gaussian_filter(octave, s, truncate=4.0) for s in SIGMAS]
        scale = np.array([image.shape[1] / octave.shape[1], image.shape[0] / octave.shape[0]])
        for sigma, fine, coarse in zip(SIGMAS, smooth, smooth[1:], strict=False):
            candidates = _peaks(fine, fine - coarse, sigma, minimum_contrast)
            candidates[:, :2] *= scale
            candidates[:, 2] *= factor
            yield candidates
        factor *= 2
        octave = resample(image, shape=(image.shape[0] // factor, image.shape[1] // factor))


def _peaks(
    smooth: NDArray[np.float32], band: NDArray[np.float32], sigma: float, minimum_contrast: float
) -> NDArray[np.float64]:
    """Round maxima of one band, in its own pixels."""
    contrast = band / _noise(band)
    strong = contrast >= minimum_contrast
    strong[:2], strong[-2:], strong[:, :2], strong[:, -2:] = False, False, False, False
    rows, columns = np.nonzero(strong)
    around = _neighbourhoods(band, rows, columns, 1)
    peak = around[:, 1, 1] >= around.max(axis=(1, 2))
    rows, columns, around = rows[peak], columns[peak], around[peak].astype(np.float64)

    down, across = _offsets(around[:, :, 1]), _offsets(around[:, 1, :])
    lines = (_roundness(_neighbourhoods(smooth, rows, columns, 2)) < LEAST_ROUNDNESS) | (
        _spread(_neighbourhoods(smooth, rows, columns, 5)) < LEAST_SPREAD
    )
    peaks = np.column_stack(
        [
            columns + 0.5 + across,
            rows + 0.5 + down,
            np.full(len(rows), sigma * BAND_DIAMETER),
            contrast[rows, columns],
        ]
    )
    return peaks[~lines]


def _noise(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """The local standard deviation of a band, untouched by the few spots in it."""
    padding = [(0, -size % NOISE_BLOCK) for size in band.shape]
    padded = np.pad(np.abs(band), padding, mode="symmetric")
    down, across = padded.shape[0] // NOISE_BLOCK, padded.shape[1] // NOISE_BLOCK
    blocks = padded.reshape(down, NOISE_BLOCK, across, NOISE_BLOCK).swapaxes(1, 2)
    medians = np.median(blocks.reshape(down, across, -1), axis=2).astype(np.float32)
    medians = ndimage.median_filter(medians, 3, mode="nearest")
    level = resample(medians, shape=(padded.shape[0], padded.shape[1]))
    deviation = NORMAL_DEVIATION * level[: band.shape[0], : band.shape[1]]
    return np.asarray(np.maximum(deviation, np.float32(NOISE_FLOOR)))


def _neighbourhoods(
    image: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], radius: int
) -> NDArray[np.float32]:
    """Squares around the given pixels, (n, 2 radius + 1, 2 radius + 1); the edge is repeated."""
    steps = np.arange(-radius, radius + 1)
    down = np.clip(rows[:, None, None] + steps[:, None], 0, image.shape[0] - 1)
    across = np.clip(columns[:, None, None] + steps[None, :], 0, image.shape[1] - 1)
    return np.asarray(image[down, across])


def _offsets(triples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the parabola through three samples (n, 3) has its top, from the middle one."""
    before, middle, after = triples.T
    bend = np.minimum(before - 2 * middle + after, -np.finfo(np.float64).tiny)
    return np.asarray(np.clip((before - after) / (2 * bend), -0.5, 0.5))


def _roundness(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weaker over stronger curvature of the paraboloid fitted to 5 x 5 squares."""
    step = np.arange(-2, 3, dtype=np.float64)
    square = step**2 - 2
    across = 2 * np.einsum("nij,j->n", squares, square) / 70
    down = 2 * np.einsum("nij,i->n", squares, square) / 70
    twist = np.einsum("nij,i,j->n", squares, step, step) / 100
    middle, half = (across + down) / 2, np.hypot((across - down) / 2, twist)
    return np.asarray((middle + half) / np.minimum(middle - half, -np.finfo(np.float64).tiny))


def _spread(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weaker over stronger eigenvalue of the structure tensor over the squares."""
    down, across = np.gradient(squares.astype(np.float64), axis=(1, 2))
    a, b = (across**2).sum(axis=(1, 2)), (down**2).sum(axis=(1, 2))
    middle, half = (a + b) / 2, np.hypot((a - b) / 2, (across * down).sum(axis=(1, 2)))
    return np.asarray((middle - half) / np.maximum(middle + half, np.finfo(np.float64).tiny))


def _without_neighbours(spots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strongest first, each one only once although several bands and pixels answer to it."""
    spots = spots[np.argsort(-spots[:, 3], kind="stable")]
    if len(spots) < 2:
        return spots
    reach = SUPPRESSION * spots[:, 2]
    pairs = cKDTree(spots[:, :2]).query_pairs(float(reach.max()), output_type="ndarray")
    apart = np.linalg.norm(spots[pairs[:, 0], :2] - spots[pairs[:, 1], :2], axis=1)
    pairs = pairs[apart < np.maximum(reach[pairs[:, 0]], reach[pairs[:, 1]])]
    kept = np.ones(len(spots), dtype=np.bool_)
    for stronger, weaker in pairs[np.lexsort(pairs.T[::-1])].tolist():
        if kept[stronger]:
            kept[weaker] = False
    return spots[kept]


def _extents(
    image: NDArray[np.float32], spots: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Equivalent diameters at half contrast in image pixels, from the mean radial profile, and
    whether the spot ends on nearly every side: a bump on the rim of something larger does not.
    """
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    share = np.linspace(0, 2, 41)
    radii = spots[:, 2, None] * share
    down = spots[:, 1, None, None] - 0.5 + radii[:, None, :] * np.sin(angles)[:, None]
    across = spots[:, 0, None, None] - 0.5 + radii[:, None, :] * np.cos(angles)[:, None]
    samples = ndimage.map_coordinates(image, [down, across], order=1, mode="nearest")
    # The lower quartile of the ring is background even where other spots are near.
    background = np.quantile(samples[:, :, share > 1], 0.25, axis=(1, 2))
    profile = samples.mean(axis=1)
    half = (profile[:, share < 0.2].max(axis=1) + background) / 2
    below = profile < half[:, None]
    below[:, -1] = True
    outer = np.maximum(np.argmax(below, axis=1), 1)
    each = np.arange(len(spots))
    inner_value, outer_value = profile[each, outer - 1], profile[each, outer]
    drop = np.maximum(inner_value - outer_value, np.finfo(np.float32).tiny)
    fraction = np.clip((inner_value - half) / drop, 0, 1)
    step = radii[:, 1]
    ends = (samples[:, :, share <= 1] < half[:, None, None]).any(axis=2).mean(axis=1)
    return 2 * step * (outer - 1 + fraction), ends >= LEAST_CLOSED
