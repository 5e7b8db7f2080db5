"""Single calcifications: what the BI-RADS morphologies look like, and how one is drawn.

Every calcification is one or several particles; a particle is a projected body (a solid or a
shell) whose outline wanders. Lengths are in mm on the detector plane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

SUBSAMPLES = 4
"""Samples per pixel and axis when a particle is drawn."""


class Morphology(StrEnum):
    """BI-RADS 5th edition; the last four are typically benign."""

    PUNCTATE = "punctate"
    ROUND = "round"
    AMORPHOUS = "amorphous"
    COARSE_HETEROGENEOUS = "coarse heterogeneous"
    FINE_PLEOMORPHIC = "fine pleomorphic"
    FINE_LINEAR = "fine linear branching"
    RIM = "rim"
    VASCULAR = "vascular"
    SKIN = "skin"
    DYSTROPHIC = "dystrophic"


@dataclass(frozen=True, slots=True)
class Particle:
    """One piece of calcium."""

    row: float
    column: float
    """Center in mm."""
    radius: float
    density: float = 1.0
    """Contrast at its thickest point, relative to its cluster's contrast."""
    elongation: float = 1.0
    """Long over short axis; the area stays that of the radius."""
    angle: float = 0.0
    waves: tuple[float, ...] = ()
    """Amplitudes and phases, alternating, of the outline's 2nd, 3rd, ... harmonic."""
    hollow: float = 0.0
    """Inner over outer radius of a shell; 0 is solid."""

    @property
    def reach(self) -> float:
        """Radius of a circle that surely holds it."""
        return float(self.radius * np.sqrt(self.elongation) * (1 + sum(map(abs, self.waves[::2]))))


def thickness(
    particle: Particle, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Projected thickness at points in mm, 1 at the center of a solid one."""
    down, right = rows - particle.row, columns - particle.column
    cosine, sine = np.cos(particle.angle), np.sin(particle.angle)
    stretch = np.sqrt(particle.elongation)
    along = (right * cosine + down * sine) / stretch
    across = (down * cosine - right * sine) * stretch
    outline: NDArray[np.float64] | float = 1.0
    if particle.waves:
        theta = np.arctan2(across, along)
        for index in range(0, len(particle.waves), 2):
            order = index // 2 + 2
            outline = outline + particle.waves[index] * np.cos(
                order * theta + particle.waves[index + 1]
            )
    squared = (along**2 + across**2) / (particle.radius * np.maximum(outline, 0.2)) ** 2
    solid: NDArray[np.float64] = np.sqrt(np.maximum(0.0, 1.0 - squared))
    if particle.hollow:
        solid = solid - np.sqrt(np.maximum(0.0, particle.hollow**2 - squared))
        solid = solid / np.sqrt(1.0 - particle.hollow**2)
    return solid


def draw(
    canvas: NDArray[np.float32], particle: Particle, *, pitch_mm: float, amount: float
) -> None:
    """Add the particle's thickness times `amount` to `canvas`, averaged over each pixel."""
    reach = particle.reach + pitch_mm
    top = max(0, int((particle.row - reach) / pitch_mm))
    left = max(0, int((particle.column - reach) / pitch_mm))
    bottom = min(canvas.shape[0], int((particle.row + reach) / pitch_mm) + 2)
    right = min(canvas.shape[1], int((particle.column + reach) / pitch_mm) + 2)
    if bottom <= top or right <= left:
        return
    step = pitch_mm / SUBSAMPLES
    rows = (np.arange(top * SUBSAMPLES, bottom * SUBSAMPLES) + 0.5) * step
    columns = (np.arange(left * SUBSAMPLES, right * SUBSAMPLES) + 0.5) * step
    fine = thickness(particle, rows[:, None], columns[None, :])
    blocks = fine.reshape(bottom - top, SUBSAMPLES, right - left, SUBSAMPLES).mean(axis=(1, 3))
    canvas[top:bottom, left:right] += (amount * particle.density * blocks).astype(np.float32)


def make(
    morphology: Morphology, rng: np.random.Generator, row: float, column: float
) -> list[Particle]:
    """The particles of one calcification of this morphology, at (row, column) in mm."""
    return _MAKERS[morphology](rng, row, column)


def _waves(rng: np.random.Generator, strength: float, count: int = 3) -> tuple[float, ...]:
    waves: list[float] = []
    for order in range(count):
        waves += [float(rng.normal(0, strength / (order + 1))), float(rng.uniform(0, 2 * np.pi))]
    return tuple(waves)


def _solid(
    rng: np.random.Generator,
    row: float,
    column: float,
    *,
    diameter: float,
    rough: float,
    elongation: float = 1.0,
    density: float = 1.0,
) -> Particle:
    return Particle(
        row,
        column,
        diameter / 2,
        density,
        elongation,
        float(rng.uniform(0, np.pi)),
        _waves(rng, rough) if rough else (),
    )


def _punctate(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(0.12, 0.45),
            rough=0.05,
            elongation=rng.uniform(1, 1.3),
        )
    ]


def _round(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(0.4, 1.0),
            rough=0.03,
            density=rng.uniform(1, 1.6),
        )
    ]


def _amorphous(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(0.15, 0.4),
            rough=0.25,
            elongation=rng.uniform(1, 1.8),
            density=rng.uniform(0.5, 0.9),
        )
    ]


def _coarse(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(0.5, 1.3),
            rough=0.25,
            elongation=rng.uniform(1, 2),
            density=rng.uniform(0.9, 1.7),
        )
    ]


def _pleomorphic(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(0.15, 0.55),
            rough=0.3,
            elongation=rng.uniform(1, 2.5),
            density=rng.uniform(0.6, 1.5),
        )
    ]


def _along(
    rng: np.random.Generator,
    row: float,
    column: float,
    *,
    length: float,
    width: float,
    angle: float,
    bend: float,
) -> list[Particle]:
    count = max(2, int(length / (0.7 * width)))
    pieces = []
    for _ in range(count):
        angle += rng.normal(0, bend)
        row += 0.7 * width * np.sin(angle)
        column += 0.7 * width * np.cos(angle)
        size = width * rng.uniform(0.7, 1.2)
        pieces.append(Particle(row, column, size / 2, rng.uniform(0.5, 0.9), 1.5, angle))
    return pieces


def _linear(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    width = rng.uniform(0.12, 0.25)
    angle = rng.uniform(0, 2 * np.pi)
    stem = _along(
        rng, row, column, length=rng.uniform(0.5, 2.5), width=width, angle=angle, bend=0.15
    )
    if rng.random() < 0.4:
        fork = stem[len(stem) // 2]
        stem += _along(
            rng,
            fork.row,
            fork.column,
            length=rng.uniform(0.4, 1.5),
            width=width,
            angle=angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0),
            bend=0.15,
        )
    return stem


def _rim(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    shell = _solid(
        rng,
        row,
        column,
        diameter=rng.uniform(1.2, 4.5),
        rough=0.06,
        elongation=rng.uniform(1, 1.3),
        density=rng.uniform(0.8, 1.6),
    )
    return [replace(shell, hollow=rng.uniform(0.75, 0.93))]


def _skin(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    shell = _solid(
        rng, row, column, diameter=rng.uniform(0.6, 1.2), rough=0.12, density=rng.uniform(0.9, 1.5)
    )
    return [replace(shell, hollow=rng.uniform(0.5, 0.75))]


def _dystrophic(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    return [
        _solid(
            rng,
            row,
            column,
            diameter=rng.uniform(1.0, 3.5),
            rough=0.3,
            elongation=rng.uniform(1, 1.8),
            density=rng.uniform(1.2, 2.2),
        )
    ]


def _vascular(rng: np.random.Generator, row: float, column: float) -> list[Particle]:
    """Two broken tracks along a winding vessel."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(6, 25)
    half, step = rng.uniform(0.3, 0.9), 0.18
    turn, pieces = 0.0, []
    shown = rng.random(2) < 0.8
    for _ in range(int(length / step)):
        turn = 0.95 * turn + rng.normal(0, 0.012)
        angle += turn
        row, column = row + step * np.sin(angle), column + step * np.cos(angle)
        shown = np.where(rng.random(2) < 0.06, ~shown, shown)
        for side, there in zip((-1, 1), shown, strict=True):
            if there:
                pieces.append(
                    Particle(
                        row + side * half * np.cos(angle),
                        column - side * half * np.sin(angle),
                        rng.uniform(0.08, 0.16),
                        rng.uniform(0.4, 0.9),
                        1.6,
                        angle,
                    )
                )
    return pieces


_MAKERS: Mapping[Morphology, Callable[[np.random.Generator, float, float], list[Particle]]] = {
    Morphology.PUNCTATE: _punctate,
    Morphology.ROUND: _round,
    Morphology.AMORPHOUS: _amorphous,
    Morphology.COARSE_HETEROGENEOUS: _coarse,
    Morphology.FINE_PLEOMORPHIC: _pleomorphic,
    Morphology.FINE_LINEAR: _linear,
    Morphology.RIM: _rim,
    Morphology.VASCULAR: _vascular,
    Morphology.SKIN: _skin,
    Morphology.DYSTROPHIC: _dystrophic,
}
