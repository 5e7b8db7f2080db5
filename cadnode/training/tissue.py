"""Synthetic breast tissue: backgrounds of which every structure is known to be no calcification."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from cadnode.training.artefacts import before_blur

Weight = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""From spatial frequencies along rows and columns, per pixel, to what the spectrum is taken by."""


def power_law(
    shape: tuple[int, int], rng: np.random.Generator, exponent: float
) -> NDArray[np.float32]:
    """Noise whose power falls with spatial frequency to the `exponent`; mean 0, deviation 1."""

    def weight(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
        squared = rows**2 + columns**2
        squared[0, 0] = np.inf
        return np.asarray(squared ** np.float32(-exponent / 4), np.float32)

    return _coloured(shape, rng, weight)


def fibres(
    shape: tuple[int, int], rng: np.random.Generator, pitch_mm: float
) -> NDArray[np.float32]:
    """A net of bright fibres like connective tissue; mean 0, deviation 1.

    A fibre is where a random field crosses zero, so that fibres bend, fork and meet. Fields of
    other coarseness and width lie over each other, each drawn out along a direction of its own
    and stronger in some regions than in others.
    """
    net = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(2, 5))):
        coarseness = float(np.exp(rng.uniform(np.log(2.0), np.log(15.0)))) / pitch_mm
        field = _drawn_out(shape, rng, coarseness, float(rng.uniform(1.5, 5.0)))
        width = float(rng.uniform(0.05, 0.25))
        where = _drawn_out(shape, rng, 15 / pitch_mm, 1.0)
        strength = np.clip(0.3 + 0.6 * where, 0, 1.5) * np.float32(rng.uniform(0.3, 1.0))
        net += strength * np.exp(-((field / np.float32(width)) ** 2))
    normal: NDArray[np.float32] = (net - net.mean()) / (net.std() + np.float32(1e-6))
    return normal


def _drawn_out(
    shape: tuple[int, int], rng: np.random.Generator, coarseness: float, stretch: float
) -> NDArray[np.float32]:
    """Noise flat above `coarseness` pixels, falling as a power law below, and `stretch` times as
    long in a direction drawn at random; mean 0, deviation 1."""
    angle, fall = rng.uniform(0, np.pi), rng.uniform(1.6, 2.2)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))

    def weight(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
        along = (columns * cosine + rows * sine) * np.float32(stretch)
        across = rows * cosine - columns * sine
        squared = np.float32(coarseness**2) * (along**2 + across**2)
        return np.asarray((1 + squared) ** np.float32(-fall), np.float32)

    return _coloured(shape, rng, weight)


def _coloured(
    shape: tuple[int, int], rng: np.random.Generator, weight: Weight
) -> NDArray[np.float32]:
    """White noise with its spectrum multiplied; mean 0, deviation 1."""
    whole = [fft.next_fast_len(side, real=True) for side in shape]
    rows = fft.fftfreq(whole[0]).astype(np.float32)[:, None]
    columns = fft.rfftfreq(whole[1]).astype(np.float32)[None, :]
    spectrum = fft.rfft2(rng.standard_normal(whole, dtype=np.float32))
    made = fft.irfft2(spectrum * weight(rows, columns), s=whole)[: shape[0], : shape[1]]
    normal: NDArray[np.float32] = (made - made.mean()) / made.std()
    return normal.astype(np.float32)


def synthetic_breast(
    rng: np.random.Generator, pitch_mm: float, *, height_mm: float = 150.0, width_mm: float = 80.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels 0..1 and breast mask of a made-up view: an ellipse against the chest wall, filled
    with power-law texture and a net of fibres, with ducts, Cooper's ligaments and vessels drawn
    over it."""
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
    if rng.random() < 0.8:
        signal += rng.uniform(0.005, 0.04) * fibres(shape, rng, pitch_mm)
    grain = rng.standard_normal(shape).astype(np.float32) * rng.uniform(0.002, 0.012)
    pixels = np.where(breast, thickness * signal + grain, 0.02)
    return np.clip(pixels, 0, 1).astype(np.float32), breast
