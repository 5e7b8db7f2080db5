"""From the received image to the model's pixels and back: breast area, resampling, patches.

Two pixel grids, both with DICOM's continuous coordinates (PS3.3 C.18.6): points are
(column, row), 0, 0 is the outer top-left corner of the first pixel, and the center of array
element [r, c] is (c + 0.5, r + 0.5). Their outer corners coincide, so that going from one to the
other is a plain scaling with no offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.reasons import Reason

COARSE_SIDE = 320
"""Pixels on the longer side of the copy in which the breast is looked for."""
STRIP_RADIUS = 5
"""In coarse pixels; bright strips (film borders, scanner edges) up to twice this are cut off."""
LEAST_AREA_SHARE = 0.02
"""A smaller bright region is a letter, a marker or noise, not a breast."""
LEAST_CONTRAST = 0.02
"""Breast over air, of the 0..1 of the displayed range."""
COHERENCE = 4.0
"""Breast over air in units of the difference between neighbours: noise stays far below."""
BLOCK = 64
"""Output samples per matrix product in `resample`; quickest around here."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelGrid:
    """One image at the model's pixel pitch, and the way back to the received pixels."""

    pixels: NDArray[np.float32]
    """Shape (rows, columns), values as in the mammogram; padding is 0."""
    breast: NDArray[np.bool_]
    """Same shape: True on the breast."""
    row_scale: float
    """Received rows per grid row."""
    column_scale: float
    """Received columns per grid column."""
    image_shape: tuple[int, int]
    """(rows, columns) of the received image."""

    def to_image(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (n, 2) as (column, row) on this grid, in received pixels."""
        return np.asarray(points, dtype=np.float64) * (self.column_scale, self.row_scale)

    def to_grid(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (n, 2) as (column, row) in received pixels, on this grid."""
        return np.asarray(points, dtype=np.float64) / (self.column_scale, self.row_scale)


def to_model_grid(
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    spacing: PixelSpacing,
    pitch_mm: float,
) -> ModelGrid:
    """The image at `pitch_mm`, to the nearest whole number of pixels on each side.

    Raises ImageFailed (NO_BREAST) where nothing looks like a breast.
    """
    breast = breast_area(pixels, valid)
    if not breast.any():
        raise ImageFailed(Reason.NO_BREAST)
    rows, columns = pixels.shape
    shape = (
        max(1, round(rows * spacing.row / pitch_mm)),
        max(1, round(columns * spacing.column / pitch_mm)),
    )
    shown = pixels if valid.all() else np.where(valid, pixels, np.float32(0.0))
    return ModelGrid(
        pixels=resample(shown, shape=shape),
        breast=_nearest(breast, shape),
        row_scale=rows / shape[0],
        column_scale=columns / shape[1],
        image_shape=(rows, columns),
    )


def breast_area(pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True on the breast: the largest connected bright region, filled, less the padding.

    Found on a coarse copy, so the skin line is good to about a hundredth of the image. All False
    where there is no such region (a blank image, noise only).
    """
    step = max(1, -(-max(pixels.shape) // COARSE_SIDE))
    all_valid = bool(valid.all())
    # Padding counts as air: many digital images have no other air to tell the breast from.
    shown = pixels if all_valid else np.where(valid, pixels, np.float32(0.0))
    coarse = _block_mean(shown, step)
    coarse = ndimage.median_filter(coarse, size=3, mode="nearest")
    known = coarse.ravel()
    found = np.zeros(coarse.shape, dtype=np.bool_)
    # A white film border would draw the threshold above a dim breast: look below it first.
    for ceiling in (np.quantile(known, 0.85), np.max(known)) if known.size else ():
        found = _bright_region(np.minimum(coarse, ceiling), np.minimum(known, ceiling))
        if found.any():
            break
    area = _nearest(found, pixels.shape, step)
    return area if all_valid else area & valid


def resample(pixels: NDArray[np.float32], *, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The image on `shape` pixels with the same outer corners.

    Along each axis: averaged over the area of the new pixel when shrinking, linear when enlarging.
    """
    rows, columns = pixels.shape
    source = np.asarray(pixels, dtype=np.float32)
    if shape[0] != rows:
        out = np.empty((shape[0], columns), dtype=np.float32)
        for new, old, weights in _weight_blocks(rows, shape[0]):
            np.matmul(weights, source[old], out=out[new])
        source = out
    if shape[1] != columns:
        out = np.empty((shape[0], shape[1]), dtype=np.float32)
        for new, old, weights in _weight_blocks(columns, shape[1]):
            out[:, new] = source[:, old] @ weights.T
        source = out
    return source.copy() if source is pixels else source


def tile(
    breast: NDArray[np.bool_],
    *,
    patch_size: int,
    stride: int,
    minimum_share: float = 0.05,
) -> NDArray[np.intp]:
    """Origins (n, 2) as (row, column) of patches that together cover every breast pixel.

    Patches are spread evenly over the breast's bounding box, at most `stride` apart, and stay
    inside the image where it is large enough. One with less than `minimum_share` of breast is left
    out if the others cover what it shows.
    """
    if not breast.any():
        return np.empty((0, 2), dtype=np.intp)
    tops = _starts(np.flatnonzero(breast.any(axis=1)), len(breast), patch_size, stride)
    lefts = _starts(np.flatnonzero(breast.any(axis=0)), breast.shape[1], patch_size, stride)
    covered = np.zeros(breast.shape, dtype=np.uint16)
    kept: dict[tuple[int, int], int] = {}
    for top in tops:
        for left in lefts:
            window = np.s_[top : top + patch_size, left : left + patch_size]
            if count := int(np.count_nonzero(breast[window])):
                kept[top, left] = count
                covered[window] += 1
    for (top, left), count in sorted(kept.items(), key=lambda item: item[1]):
        if count >= minimum_share * patch_size**2:
            break
        window = np.s_[top : top + patch_size, left : left + patch_size]
        if np.all(covered[window][breast[window]] > 1):
            covered[window] -= 1
            del kept[top, left]
    return np.array(list(kept), dtype=np.intp).reshape(-1, 2)


def cut(
    pixels: NDArray[np.float32], origins: NDArray[np.intp], patch_size: int
) -> NDArray[np.float32]:
    """Patches (n, patch_size, patch_size) at `origins` (row, column); zero outside the image."""
    rows, columns = pixels.shape
    patches = np.zeros((len(origins), patch_size, patch_size), dtype=np.float32)
    for patch, (top, left) in zip(patches, origins.tolist(), strict=True):
        inside = pixels[
            max(top, 0) : min(top + patch_size, rows),
            max(left, 0) : min(left + patch_size, columns),
        ]
        row, column = max(-top, 0), max(-left, 0)
        patch[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return patches


def _bright_region(coarse: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest compact region clearly brighter than the air, or nothing."""
    nothing = np.zeros(coarse.shape, dtype=np.bool_)
    middle = _otsu(known)
    dark, bright = known[known <= middle], known[known > middle]
    if not dark.size or not bright.size:
        return nothing
    air, gap = float(np.median(dark)), float(np.median(bright) - np.median(dark))
    roughness = float(np.median(np.abs(np.diff(coarse, axis=0))))
    if gap < LEAST_CONTRAST or gap < COHERENCE * roughness:
        return nothing
    # The skin line is far darker than the parenchyma, but still above the scatter of the air.
    scatter = 1.4826 * float(np.median(np.abs(dark - air)))
    mask = coarse > min(air + max(0.15 * gap, 4.0 * scatter), middle)
    disk = _disk(STRIP_RADIUS)
    core = _largest(ndimage.binary_erosion(mask, disk))
    # Grown back inside the mask a little further than it was eroded, for the corners.
    region = ndimage.binary_dilation(ndimage.binary_dilation(core, disk), iterations=3, mask=mask)
    region = ndimage.binary_fill_holes(region)
    return region if region.mean() >= LEAST_AREA_SHARE else nothing


def _otsu(values: NDArray[np.float32]) -> float:
    """The threshold with the largest variance between the two classes."""
    counts, edges = np.histogram(values, bins=256)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        variance = np.nan_to_num(below * above * difference**2)
    return float(edges[int(np.argmax(variance)) + 1])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == int(np.argmax(sizes))
    return largest


def _disk(radius: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk: NDArray[np.bool_] = rows**2 + columns**2 <= radius**2
    return disk


def _block_mean(image: NDArray[np.float32] | NDArray[np.bool_], step: int) -> NDArray[np.float32]:
    """Means of step x step blocks; the last row and column of blocks may be smaller."""
    rows, columns = image.shape
    whole = rows - rows % step
    sums = image[:whole].reshape(-1, step, columns).sum(axis=1, dtype=np.float32)
    if whole < rows:
        sums = np.vstack([sums, image[whole:].sum(axis=0, dtype=np.float32)])
    starts = np.arange(0, columns, step)
    sums = np.add.reduceat(sums, starts, axis=1)
    heights = np.minimum(step, rows - np.arange(0, rows, step))
    widths = np.minimum(step, columns - starts)
    return np.asarray(sums / np.outer(heights, widths), dtype=np.float32)


def _nearest(
    mask: NDArray[np.bool_], shape: tuple[int, ...], step: float | None = None
) -> NDArray[np.bool_]:
    """The mask on another grid; `step` is the pixels per mask pixel where the corners differ."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) / (step or new / old)).astype(np.intp), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return np.asarray(np.take(np.take(mask, columns, axis=1), rows, axis=0))


def _weight_blocks(old_size: int, new_size: int) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """(new samples, old samples, weights) in blocks; small dense products beat a sparse one."""
    scale = old_size / new_size
    # Shrinking, a new pixel is its footprint; enlarging, a tent of one old pixel to each side.
    reach = scale / 2 if scale > 1 else 1.0
    blocks = []
    for start in range(0, new_size, BLOCK):
        stop = min(start + BLOCK, new_size)
        centers = (np.arange(start, stop) + 0.5)[:, None] * scale
        first = max(int(np.floor(centers[0, 0] - reach)) - 1, 0)
        last = min(int(np.ceil(centers[-1, 0] + reach)) + 1, old_size)
        left = np.arange(first, last)[None, :]
        if scale > 1:
            upper = np.minimum(left + 1, centers + reach)
            weights = np.clip(upper - np.maximum(left, centers - reach), 0, None)
        else:
            # Beyond the outermost centers the edge value holds.
            held = np.clip(centers, 0.5, old_size - 0.5)
            weights = np.clip(1 - np.abs(left + 0.5 - held), 0, None)
        weights /= weights.sum(axis=1, keepdims=True)
        blocks.append((slice(start, stop), slice(first, last), weights.astype(np.float32)))
    return blocks


def _starts(occupied: NDArray[np.intp], size: int, patch_size: int, stride: int) -> list[int]:
    """First pixels of the patches along one axis of `size` pixels."""
    first, last = int(occupied[0]), int(occupied[-1]) + 1
    spare = (last - first) - patch_size
    if spare <= 0:
        return [max(0, min(first + spare // 2, size - patch_size))]
    count = -(-spare // stride) + 1
    return [first + int(step) for step in np.linspace(0, spare, count).round()]
