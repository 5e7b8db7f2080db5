"""Intensity normalisation of a resampled image: what makes film, digital and vendor look alike.

A bundle names the normalisation that its weights were trained with; training and analysis both
take it from `NORMALISATIONS`, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.core.grid import resample

Normalisation = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
"""From pixels 0..1 and the breast mask, both on the model's grid, to grey levels 0..255."""

NEUTRAL = 100.0
"""Grey level of tissue at its local mean, and of everything outside the breast."""

_GAIN = 45.0
_KNEE = 2.0
_REDUCTION = 4
_BACKGROUND_SIGMA = 15.0
_BAND_SIGMA = 6.0
_SCALE_SIGMA = 40.0
_FLOOR = 0.35
_CLIP = 2.5
_TINY = 1e-6


def local_contrast(pixels: NDArray[np.float32], breast: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Local contrast in units of the local texture, compressed by asinh into 0..255.

    The wide background is subtracted, the rest divided by the mean absolute amplitude of the
    band between two pixels and `_BAND_SIGMA`, measured over several millimetres with outliers
    clipped (or a cluster would hide itself) and not below a share of its median in the breast
    (or flat fat would be blown up). Any offset and gain of the pixels cancels; a smooth tone
    curve nearly does. Pixels outside the breast are NEUTRAL and have no influence inside.
    """
    if not breast.any():
        return np.full(pixels.shape, NEUTRAL, np.float32)
    box = _bounding_box(breast)
    grey = np.full(pixels.shape, NEUTRAL, np.float32)
    grey[box] = _within_box(pixels[box], breast[box])
    return grey


NORMALISATIONS: Mapping[str, Normalisation] = {"local-contrast": local_contrast}
"""Every normalisation a bundle may name."""


def _bounding_box(breast: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows = np.flatnonzero(breast.any(axis=1))
    columns = np.flatnonzero(breast.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _within_box(pixels: NDArray[np.float32], breast: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = pixels.shape
    background, scale = _background_and_texture(pixels, breast)
    contrast = (pixels - _enlarge(background, rows, columns)) / _enlarge(scale, rows, columns)
    grey = NEUTRAL + _GAIN * np.arcsinh(contrast / np.float32(_KNEE))
    return np.where(breast, np.clip(grey, 0, 255), np.float32(NEUTRAL))


def local_texture(pixels: NDArray[np.float32], breast: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The unit of `local_contrast` at every pixel: the amplitude of the local texture.

    A calcification of contrast 4 stands four times this above its surroundings.
    """
    _, scale = _background_and_texture(pixels, breast)
    return _enlarge(scale, *pixels.shape)


def _background_and_texture(
    pixels: NDArray[np.float32], breast: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Local mean and local texture amplitude, both reduced by `_REDUCTION`."""
    weight = _block_sum(breast.astype(np.float32))
    summed = _block_sum(np.where(breast, pixels, np.float32(0)))
    background = _smooth(summed, _BACKGROUND_SIGMA) / (_smooth(weight, _BACKGROUND_SIGMA) + _TINY)
    near = _smooth(summed, _BAND_SIGMA) / (_smooth(weight, _BAND_SIGMA) + _TINY)
    whole = weight > 0.99 * weight.max()
    amplitude = np.where(whole, _block_amplitude(pixels, near), np.float32(0))
    scale = _robust_mean(amplitude, whole)
    inside = scale[whole] if whole.any() else scale
    floor = np.float32(_FLOOR * np.median(inside) + _TINY)
    return background, np.maximum(scale, floor)


def _block_sum(values: NDArray[np.float32], size: int = _REDUCTION) -> NDArray[np.float32]:
    rows, columns = values.shape
    padded = np.pad(values, ((0, -rows % size), (0, -columns % size)))
    # Whole rows and strided columns are added at full speed; a sum over short inner axes is not.
    bands = padded.reshape(-1, size, padded.shape[1])
    summed = bands[:, 0].copy()
    for row in range(1, size):
        summed += bands[:, row]
    blocks = summed[:, ::size].copy()
    for column in range(1, size):
        blocks += summed[:, column::size]
    return blocks


def _smooth(reduced: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    smoothed: NDArray[np.float32] = gaussian_filter(
        reduced, sigma / _REDUCTION, mode="constant", truncate=3.0
    )
    return smoothed


def _block_amplitude(pixels: NDArray[np.float32], near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute amplitude, in each block, of 2 x 2 means about the near background.

    Means of 2 x 2 leave out the finest detail, which a coarse source has not got.
    """
    half = _block_sum(pixels, 2) / 4
    half = np.pad(half, ((0, half.shape[0] % 2), (0, half.shape[1] % 2)), mode="edge")
    band = np.abs(half - np.repeat(np.repeat(near, 2, 0), 2, 1))
    return _block_sum(band.astype(np.float32), 2) / np.float32(4)


def _robust_mean(amplitude: NDArray[np.float32], whole: NDArray[np.bool_]) -> NDArray[np.float32]:
    weight = _smooth(whole.astype(np.float32), _SCALE_SIGMA) + _TINY
    scale = _smooth(amplitude, _SCALE_SIGMA) / weight
    for _ in range(2):
        scale = _smooth(np.minimum(amplitude, _CLIP * scale), _SCALE_SIGMA) / weight
    return scale


def _enlarge(reduced: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Linear interpolation back to full size."""
    whole = (reduced.shape[0] * _REDUCTION, reduced.shape[1] * _REDUCTION)
    return resample(reduced, shape=whole)[:rows, :columns]
