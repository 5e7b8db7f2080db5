"""Findings as plain values, in the pixel grid of the image that was received.

Points are (column, row) in pixels with 0, 0 at the outer top-left corner of the first pixel and
(columns, rows) at the outer bottom-right one (PS3.3 C.18.6): the center of array element [r, c] is
(c + 0.5, r + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calcification:
    """One located calcification inside a cluster."""

    center: Point
    diameter_mm: float
    """Equivalent diameter at half contrast, on the detector plane."""
    contrast: float
    """Peak over the local background, in units of the local noise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One calcification cluster in one image."""

    score: float
    """The patch probability of the model, 0..1 (the highest of the patches it covers)."""
    center: Point
    outline: tuple[Point, ...]
    """A closed polygon: the first point is also the last, every point inside the image."""
    area_mm2: float
    """Area inside `outline` on the detector plane."""
    operating_point: int
    """The lowest CAD operating point at which the mark shows; 0 is the strictest."""
    calcifications: tuple[Calcification, ...] = ()
