"""Synthetic breast tissue: backgrounds of which every structure is known to be no calcification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.training.artefacts import before_blur


def power_law(
    shape: tuple[int, int], rng: np.random.Generator, exponent: float
) -> NDArray[np.float32]:
    """Noise whose power falls with spatial frequency to the `exponent`; mean 0, deviation 1."""
    rows = np.fft.fftfreq(shape[0])[:, None]
    columns = np.fft.rfftfreq(shape[1])[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(shape).astype(np.float32))
    texture = np.fft.irfft2(spectrum * frequency ** (-exponent / 2), s=shape)
    normal: NDArray[np.float32] = ((texture - texture.mean()) / texture.std()).astype(np.float32)
    return normal


def synthetic_breast(
    rng: np.random.Generator, pitch_mm: float, *, height_mm: float = 150.0, width_mm: float = 80.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels 0..1 and breast mask of a made-up view: an ellipse against the chest wall, filled
    with power-law texture, with ducts, Cooper's ligaments and vessels drawn over it."""
    shape = (round(height_mm / pitch_mm), round(width_mm / pitch_mm))
    down = np.linspace(-1, 1, shape[0])[:, None]
    across = np.linspace(0, 1, shape[1])[None, :]
    radius = np.sqrt((down / 0.92) ** 2 + (across / 0.93) ** 2)
    breast = radius < 1
    thickness = np.sqrt(np.clip(1 - radius**6, 0, 1))
    glandular = gaussian_filter(power_law(shape, rng, rng.uniform(2.6, 3.6)), 1.0)
    density = 1 / (1 + np.exp(-2 * (glandular + rng.uniform(-0.8, 0.8))))
    fine = power_law(shape, rng, rng.uniform(1.5, 2.5))
    lines = np.maximum(before_blur(shape, rng, pitch_mm), 0) + before_blur(shape, rng, pitch_mm)
    signal = 0.35 + 0.35 * density + 0.012 * fine + 0.008 * gaussian_filter(lines, 0.8)
    grain = rng.standard_normal(shape).astype(np.float32) * rng.uniform(0.002, 0.012)
    pixels = np.where(breast, thickness * signal + grain, 0.02)
    return np.clip(pixels, 0, 1).astype(np.float32), breast
