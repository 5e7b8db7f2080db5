"""Things that look like calcifications and are not: the hard negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.training.particles import Particle, draw

Layer = NDArray[np.float32]
"""Contrast to add, in units of the local texture, before (or after) the detector's blur."""


def before_blur(shape: tuple[int, int], rng: np.random.Generator, pitch_mm: float) -> Layer:
    """What the X-rays see: crossing fibres, clips, smooth and winding vessels, small round
    densities."""
    layer = np.zeros(shape, np.float32)
    for _ in range(rng.poisson(6)):
        _curve(
            layer,
            rng,
            pitch_mm,
            width=rng.uniform(0.2, 0.7),
            length=rng.uniform(8, 50),
            amount=rng.uniform(1.5, 6),
        )
    for _ in range(rng.poisson(2)):
        _crossing(layer, rng, pitch_mm)
    for _ in range(rng.poisson(2)):
        _curve(
            layer,
            rng,
            pitch_mm,
            width=rng.uniform(1, 3),
            length=rng.uniform(30, 80),
            amount=rng.uniform(1.5, 5),
        )
    for _ in range(rng.poisson(3)):
        _winding_vessel(layer, rng, pitch_mm)
    for _ in range(rng.poisson(5)):
        row, column = _somewhere(rng, shape, pitch_mm)
        nodule = Particle(
            row, column, rng.uniform(0.8, 4), 1.0, rng.uniform(1, 1.6), rng.uniform(0, 3)
        )
        draw(layer, nodule, pitch_mm=pitch_mm, amount=rng.uniform(1, 5))
    if rng.random() < 0.15:
        _clip(layer, rng, pitch_mm)
    return layer


def after_blur(shape: tuple[int, int], rng: np.random.Generator, pitch_mm: float) -> Layer:
    """What the film or the detector adds, as sharp as a pixel: scratches, dust, hairs, hot pixels,
    letters, patches of coarse grain."""
    layer = np.zeros(shape, np.float32)
    for _ in range(rng.poisson(1.5)):
        _scratch(layer, rng)
    for _ in range(rng.poisson(1.0)):
        _curve(
            layer,
            rng,
            pitch_mm,
            width=rng.uniform(0.1, 0.2),
            length=rng.uniform(2, 8),
            amount=rng.uniform(5, 25),
            bend=0.12,
        )
    for _ in range(rng.poisson(4)):
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        layer[row, column] += rng.choice([-1, 1, 1]) * rng.uniform(5, 40)
    if rng.random() < 0.2:
        _dust(layer, rng)
    if rng.random() < 0.25:
        _letters(layer, rng)
    for _ in range(rng.poisson(2.5)):
        _grain(layer, rng)
    return layer


def isolated_specks(
    shape: tuple[int, int], rng: np.random.Generator, pitch_mm: float, layer: Layer
) -> list[tuple[float, float]]:
    """Single dots, no group: neither a cluster nor clean. Returns their places in mm."""
    places = []
    for _ in range(rng.poisson(5)):
        row, column = _somewhere(rng, shape, pitch_mm)
        draw(
            layer,
            Particle(row, column, rng.uniform(0.08, 0.3)),
            pitch_mm=pitch_mm,
            amount=rng.uniform(5, 40),
        )
        places.append((row, column))
    return places


def _somewhere(
    rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float
) -> tuple[float, float]:
    return float(rng.uniform(0, shape[0] * pitch_mm)), float(rng.uniform(0, shape[1] * pitch_mm))


def _curve(
    layer: Layer,
    rng: np.random.Generator,
    pitch_mm: float,
    *,
    width: float,
    length: float,
    amount: float,
    bend: float = 0.01,
    start: tuple[float, float] | None = None,
) -> None:
    """A line as a smooth ridge: points along it, spread by its width."""
    row, column = start or _somewhere(rng, layer.shape, pitch_mm)
    count = max(4, int(length / (0.5 * pitch_mm)))
    turns = np.cumsum(rng.normal(0, bend * np.sqrt(0.05), count)) + rng.uniform(0, 2 * np.pi)
    step = 0.5 * pitch_mm
    rows = ((row + np.cumsum(step * np.sin(turns))) / pitch_mm).astype(int)
    columns = ((column + np.cumsum(step * np.cos(turns))) / pitch_mm).astype(int)
    sigma = width / 2.35 / pitch_mm
    edge = int(4 * sigma) + 2
    keep = (rows >= 0) & (rows < layer.shape[0]) & (columns >= 0) & (columns < layer.shape[1])
    rows, columns = rows[keep], columns[keep]
    if not len(rows):
        return
    top, left = max(rows.min() - edge, 0), max(columns.min() - edge, 0)
    box = layer[top : rows.max() + edge + 1, left : columns.max() + edge + 1]
    ridge = np.zeros(box.shape, np.float32)
    ridge[rows - top, columns - left] = 1
    if sigma > 0.5:
        ridge = gaussian_filter(ridge, sigma, truncate=3)
    peak = float(np.quantile(ridge[rows - top, columns - left], 0.7))
    box += amount / max(peak, 1e-6) * np.minimum(ridge, peak)


def _winding_vessel(layer: Layer, rng: np.random.Generator, pitch_mm: float) -> None:
    """A tube that turns towards the beam: a smooth round density where it is seen end on."""
    row, column = _somewhere(rng, layer.shape, pitch_mm)
    width, amount = rng.uniform(0.8, 2.2), rng.uniform(2, 6)
    for _ in range(int(rng.integers(1, 4))):
        for _ in range(int(rng.integers(1, 3))):
            _curve(
                layer,
                rng,
                pitch_mm,
                width=width,
                length=rng.uniform(8, 35),
                amount=amount,
                start=(row, column),
            )
        knob = Particle(row, column, rng.uniform(0.4, 0.75) * width, 1.0, rng.uniform(1, 1.5))
        draw(layer, knob, pitch_mm=pitch_mm, amount=amount * rng.uniform(0.8, 2.5))
        row, column = row + rng.normal(0, 6), column + rng.normal(0, 6)


def _crossing(layer: Layer, rng: np.random.Generator, pitch_mm: float) -> None:
    start = _somewhere(rng, layer.shape, pitch_mm)
    for _ in range(int(rng.integers(2, 5))):
        near = (start[0] + rng.normal(0, 2), start[1] + rng.normal(0, 2))
        _curve(
            layer,
            rng,
            pitch_mm,
            width=rng.uniform(0.15, 0.5),
            length=rng.uniform(4, 20),
            amount=rng.uniform(2, 7),
            start=near,
        )


def _clip(layer: Layer, rng: np.random.Generator, pitch_mm: float) -> None:
    row, column = (int(v / pitch_mm) for v in _somewhere(rng, layer.shape, pitch_mm))
    long, short = int(rng.uniform(1.5, 4) / pitch_mm), int(rng.uniform(0.5, 1.5) / pitch_mm)
    piece = layer[row : row + long, column : column + short]
    piece += rng.uniform(40, 120)
    if rng.random() < 0.5 and min(piece.shape) > 6:
        piece[2:-2, 2:-2] = 0


def _scratch(layer: Layer, rng: np.random.Generator) -> None:
    length, angle = rng.uniform(50, 900), rng.uniform(0, np.pi)
    if rng.random() < 0.5:
        angle = np.pi / 2 * rng.integers(0, 2) + rng.normal(0, 0.03)
    steps = np.arange(0, length, 0.5)
    rows = (rng.uniform(0, layer.shape[0]) + steps * np.sin(angle)).astype(int)
    columns = (rng.uniform(0, layer.shape[1]) + steps * np.cos(angle)).astype(int)
    keep = (rows >= 0) & (rows < layer.shape[0]) & (columns >= 0) & (columns < layer.shape[1])
    if rng.random() < 0.4:
        keep &= rng.random(len(steps)) < rng.uniform(0.3, 0.8)
    layer[rows[keep], columns[keep]] += rng.choice([-1, 1, 1]) * rng.uniform(3, 15)


def _dust(layer: Layer, rng: np.random.Generator) -> None:
    """Specks all over a region: sharper than any focal spot lets calcium be."""
    side = int(rng.integers(150, 1500))
    top, left = (int(rng.integers(-side // 2, length)) for length in layer.shape)
    count = rng.poisson(rng.uniform(2, 15) * (side / 224) ** 2)
    rows, columns = top + rng.integers(0, side, count), left + rng.integers(0, side, count)
    keep = (rows >= 0) & (rows < layer.shape[0]) & (columns >= 0) & (columns < layer.shape[1])
    sign = -1 if rng.random() < 0.25 else 1
    layer[rows[keep], columns[keep]] += sign * rng.uniform(3, 12) * rng.exponential(1, keep.sum())


def _letters(layer: Layer, rng: np.random.Generator) -> None:
    """Strokes like those of a lead marker."""
    row, column = rng.integers(0, layer.shape[0]), rng.integers(0, layer.shape[1])
    size, stroke, level = int(rng.integers(20, 70)), int(rng.integers(4, 10)), rng.uniform(20, 80)
    for letter in range(int(rng.integers(1, 4))):
        left = column + letter * int(0.8 * size)
        for _ in range(int(rng.integers(2, 4))):
            offset = int(rng.integers(0, max(1, size - stroke)))
            if rng.random() < 0.5:
                layer[row : row + size, left + offset // 2 : left + offset // 2 + stroke] = level
            else:
                layer[row + offset : row + offset + stroke, left : left + size // 2] = level


def _grain(layer: Layer, rng: np.random.Generator) -> None:
    """A region of coarser, stronger grain: random specks that form no group of calcium."""
    side = int(rng.integers(80, 350))
    row, column = int(rng.integers(-40, layer.shape[0])), int(rng.integers(-40, layer.shape[1]))
    box = layer[max(row, 0) : row + side, max(column, 0) : column + side]
    if min(box.shape, default=0) < 8:
        return
    grain = gaussian_filter(rng.normal(0, 1, box.shape).astype(np.float32), rng.uniform(0.5, 2.2))
    window = np.outer(np.hanning(box.shape[0]), np.hanning(box.shape[1])).astype(np.float32)
    box += rng.uniform(0.4, 2.0) * grain / grain.std() * window
