"""Groups of calcifications: morphology, distribution and contrast drawn together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cadnode.training.particles import Morphology, Particle, make

Place = tuple[float, float]


class Distribution(StrEnum):
    """BI-RADS 5th edition; SINGLE is for bodies that count alone (rim, vascular, dystrophic)."""

    GROUPED = "grouped"
    LINEAR = "linear"
    SEGMENTAL = "segmental"
    REGIONAL = "regional"
    DIFFUSE = "diffuse"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One simulated lesion; positions in mm from the image's top-left corner."""

    morphology: Morphology
    distribution: Distribution
    contrast: float
    """Of a thick particle of density 1 before blur, in units of the local texture."""
    centers: tuple[Place, ...]
    """(row, column) of every calcification."""
    particles: tuple[Particle, ...]

    @property
    def median_diameter(self) -> float:
        """Of its particles, in mm."""
        return float(np.median([2 * particle.radius for particle in self.particles]))


LEAST_CONTRAST = {
    Morphology.ROUND: 10.0,
    Morphology.COARSE_HETEROGENEOUS: 12.0,
    Morphology.RIM: 15.0,
    Morphology.SKIN: 12.0,
    Morphology.DYSTROPHIC: 18.0,
}
"""Calcium a millimetre thick cannot be faint; what is faint and as large is a vessel or a node."""
GROUPED_MM, TIGHT_MM = (1.0, 4.0), (0.4, 1.4)
"""Deviation of the calcifications of a group from its center."""
SINGLE = (Morphology.RIM, Morphology.VASCULAR, Morphology.DYSTROPHIC)
_WEIGHTS = {
    Morphology.PUNCTATE: 0.2,
    Morphology.ROUND: 0.07,
    Morphology.AMORPHOUS: 0.16,
    Morphology.COARSE_HETEROGENEOUS: 0.08,
    Morphology.FINE_PLEOMORPHIC: 0.22,
    Morphology.FINE_LINEAR: 0.1,
    Morphology.RIM: 0.03,
    Morphology.VASCULAR: 0.05,
    Morphology.SKIN: 0.03,
    Morphology.DYSTROPHIC: 0.06,
}


@dataclass(frozen=True, slots=True)
class ClusterRules:
    """What may be drawn."""

    contrast: tuple[float, float] = (5.0, 45.0)
    """Drawn evenly in its logarithm."""
    tight_share: float = 0.0
    """Of the grouped clusters: their calcifications lie within a few millimetres."""


def draw_cluster(
    rng: np.random.Generator,
    row: float,
    column: float,
    rules: ClusterRules,
    *,
    morphology: Morphology | None = None,
) -> Cluster:
    """A random lesion about (row, column) in mm."""
    if morphology is None:
        kinds = list(_WEIGHTS)
        weights = np.array(list(_WEIGHTS.values()))
        morphology = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    low, high = np.log(rules.contrast)
    contrast = float(np.exp(rng.uniform(low, high)))
    contrast = max(contrast, LEAST_CONTRAST.get(morphology, 0.0))
    if morphology in SINGLE:
        distribution = Distribution.SINGLE
        places: list[Place] = [(row, column)]
    else:
        distribution = _DISTRIBUTIONS[int(rng.choice(5, p=(0.66, 0.12, 0.1, 0.09, 0.03)))]
        places = _places(distribution, rng, row, column, rules)
    particles: list[Particle] = []
    centers: list[Place] = []
    for place in places:
        made = make(morphology, rng, *place)
        if not made:
            continue
        particles += made
        if morphology is Morphology.VASCULAR:
            centers += [(piece.row, piece.column) for piece in made[::3]]
        else:
            centers.append(
                (float(np.mean([p.row for p in made])), float(np.mean([p.column for p in made])))
            )
    return Cluster(morphology, distribution, contrast, tuple(centers), tuple(particles))


_DISTRIBUTIONS = (
    Distribution.GROUPED,
    Distribution.LINEAR,
    Distribution.SEGMENTAL,
    Distribution.REGIONAL,
    Distribution.DIFFUSE,
)


def _places(
    distribution: Distribution,
    rng: np.random.Generator,
    row: float,
    column: float,
    rules: ClusterRules,
) -> list[Place]:
    angle = rng.uniform(0, 2 * np.pi)
    match distribution:
        case Distribution.GROUPED:
            tight = rules.tight_share and rng.random() < rules.tight_share
            spread = rng.uniform(*(TIGHT_MM if tight else GROUPED_MM))
            count = int(rng.integers(4, 26))
            local = rng.normal(0, spread, (count, 2)) * (1, rng.uniform(0.5, 1))
        case Distribution.LINEAR:
            length, count = rng.uniform(8, 22), int(rng.integers(5, 22))
            local = np.stack(
                [rng.uniform(-0.5, 0.5, count) * length, rng.normal(0, 0.6, count)], axis=1
            )
        case Distribution.SEGMENTAL:
            length, count = rng.uniform(12, 30), int(rng.integers(10, 45))
            along = np.sqrt(rng.uniform(0.02, 1, count))
            local = np.stack(
                [along * length, along * length * rng.uniform(-0.25, 0.25, count)], axis=1
            )
            local -= (0.6 * length, 0)
        case Distribution.REGIONAL:
            side, count = rng.uniform(15, 30), int(rng.integers(15, 60))
            local = rng.uniform(-0.5, 0.5, (count, 2)) * side
        case _:
            side, count = rng.uniform(40, 80), int(rng.integers(30, 90))
            local = rng.uniform(-0.5, 0.5, (count, 2)) * side
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = local @ np.array([[cosine, sine], [-sine, cosine]])
    return [(row + float(down), column + float(right)) for down, right in turned]
