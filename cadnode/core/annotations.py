"""Where a person (or another CAD) says calcifications are: plain values for training and measuring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.core.findings import Point
from cadnode.core.mammogram import Mammogram


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotated cluster, in received pixels (see `core.findings` for the coordinates).

    A circle when `radius` is set (then `points` is its center), else the corners of a polygon.
    """

    points: tuple[Point, ...]
    radius: float | None = None

    @property
    def center(self) -> Point:
        """The circle's center, or the middle of the polygon's corners."""
        column, row = np.mean(np.array(self.points), axis=0).tolist()
        return column, row

    def scaled(self, columns: float, rows: float) -> Annotation:
        """The same place on a grid with so many pixels per received pixel."""
        points = tuple((x * columns, y * rows) for x, y in self.points)
        radius = None if self.radius is None else self.radius * (columns + rows) / 2
        return Annotation(points, radius)

    def contains(self, point: Point, margin: float = 0.0) -> bool:
        """True when the point lies inside, or outside by no more than `margin` pixels."""
        if self.radius is not None:
            return float(np.hypot(*(np.subtract(point, self.points[0])))) <= self.radius + margin
        corners = np.array(self.points, dtype=np.float64)
        return _inside(corners, point) or _distance(corners, point) <= margin

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """True on the pixels whose center lies inside; a polygon by its corners."""
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        if self.radius is not None:
            x, y = self.points[0]
            return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= self.radius**2)
        inside = np.zeros(shape, np.bool_)
        corners = np.array(self.points, dtype=np.float64)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crosses = (y0 > rows) != (y1 > rows)
            with np.errstate(divide="ignore", invalid="ignore"):
                at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            inside ^= crosses & (columns < at)
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One image with everything known about it."""

    mammogram: Mammogram
    patient: str
    """Whatever tells patients apart; never shown."""
    annotations: tuple[Annotation, ...] = ()
    complete: bool = True
    """False when calcifications may be there that nobody marked: no normal patch is cut."""
    groups: tuple[tuple[str, str], ...] = ()
    """What tables are split by: (`vendor`, ...), (`age`, `40-49`), (`density`, ...), ..."""


def _inside(corners: NDArray[np.float64], point: Point) -> bool:
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def _distance(corners: NDArray[np.float64], point: Point) -> float:
    """To the nearest edge."""
    start, stop = corners, np.roll(corners, -1, axis=0)
    along = stop - start
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((np.array(point) - start) * along).sum(axis=1) / length, 0, 1)
    nearest = start + share[:, None] * along
    return float(np.hypot(*(nearest - np.array(point)).T).min())
