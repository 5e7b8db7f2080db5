"""From simulated X-ray contrast to pixels: blur, pitch, noise, tone curve, grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.core.grid import resample

FINEST_MM, COARSEST_MM = 0.05, 0.2
"""Received pitches."""
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detector:
    """One way an image may have been taken; lengths in mm."""

    blur_mm: float
    """Focal spot and MTF together, sigma of a Gaussian."""
    pitch_mm: float
    """Of the received pixels; coarser than the model's pitch loses detail for good."""
    noise: float
    """Deviation of the added noise, in units of the local texture."""
    noise_sigma: float
    """Its correlation, in pixels."""
    gamma: float
    grey_levels: int
    grain: float = 0.0
    """Deviation of noise of the received pixels themselves, in units of the local texture: a
    coarse pitch does not average it away."""


def draw_detector(rng: np.random.Generator, pitch_mm: float, *, grain: bool = False) -> Detector:
    """A random film or digital look; pitches from 50 to 200 um, and always some about `pitch_mm`,
    the model's. With `grain` half of them have noise of the received pixels."""
    coarse = rng.random() < 0.5
    coarsest, finest = max(COARSEST_MM, pitch_mm), min(FINEST_MM, pitch_mm)
    return Detector(
        blur_mm=float(rng.uniform(0.04, 0.11)),
        pitch_mm=float(
            rng.uniform(pitch_mm, coarsest) if coarse else rng.uniform(finest, pitch_mm)
        ),
        noise=float(rng.uniform(0, 1.2) if rng.random() < 0.7 else 0.0),
        noise_sigma=float(rng.choice([0.0, rng.uniform(0.4, 0.9)])),
        gamma=float(np.exp(rng.uniform(-0.6, 0.6))),
        grey_levels=int(2 ** rng.choice([8, 10, 12, 14])),
        grain=float(rng.uniform(0.1, 0.8)) if grain and rng.random() < 0.5 else 0.0,
    )


def blur(layer: Image, detector: Detector, pitch_mm: float) -> Image:
    """The layer as the focal spot and the detector smear it."""
    blurred: Image = gaussian_filter(layer, detector.blur_mm / pitch_mm, truncate=3)
    return blurred


def expose(
    pixels: Image, texture: Image, detector: Detector, rng: np.random.Generator, pitch_mm: float
) -> Image:
    """Noise, the received pitch, tone curve and grey levels; back on the model's grid, 0..1."""
    shape = (pixels.shape[0], pixels.shape[1])
    out = pixels
    if detector.noise:
        grain = rng.standard_normal(shape, dtype=np.float32)
        if detector.noise_sigma:
            grain = gaussian_filter(grain, detector.noise_sigma)
            grain /= grain.std()
        out = out + np.float32(detector.noise) * texture * grain
    if detector.pitch_mm > pitch_mm:
        factor = pitch_mm / detector.pitch_mm
        small = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
        out = resample(out.astype(np.float32), shape=small)
        texture = resample(texture, shape=small)
    if detector.grain:
        out = out + np.float32(detector.grain) * texture * rng.standard_normal(
            (out.shape[0], out.shape[1]), dtype=np.float32
        )
    toned = np.clip(out, 0, 1) ** np.float32(detector.gamma)
    steps = np.float32(detector.grey_levels - 1)
    digital = np.asarray(np.round(toned * steps) / steps, np.float32)
    return digital if digital.shape == shape else resample(digital, shape=shape)
