"""Curves as numbers for an SVG template: axes with round ticks, lines, points, error bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from cadnode.core.curves import Point

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 46
"""Room around the drawing area, for ticks and labels."""
TICKS = 5
_NARROWEST = 1e-6
"""Values that lie nearer to each other are one value to the eye."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis and what it says."""

    label: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of its own, with its interval when it has one."""

    x: float
    y: float
    low: float | None
    high: float | None
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    path: str
    """The `d` of an SVG path."""
    kind: str
    """`first`, `second` (told apart by colour and dashes) or `guide`."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    title: str
    text: str
    """What it shows, for those who do not see it."""
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Curve:
    """What is to be drawn: a name and its points."""

    name: str
    points: Sequence[Point]
    kind: str = "first"
    steps: bool = False
    """Hold each value until the next point."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point to be drawn, with its interval when it has one."""

    at: Point
    title: str
    low: float | None = None
    high: float | None = None


def plot(
    title: str,
    text: str,
    *,
    x_label: str,
    y_label: str,
    curves: Sequence[Curve],
    marks: Sequence[Mark] = (),
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Plot:
    """The picture of some curves; ranges are those of the points unless they are given."""
    points = [point for curve in curves for point in curve.points]
    x_low, x_high = x_range or _around([point[0] for point in points])
    y_low, y_high = y_range or _around([point[1] for point in points])

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / (x_high - x_low), 1)

    def up(y: float) -> float:
        height = HEIGHT - TOP - BOTTOM
        return round(HEIGHT - BOTTOM - height * (y - y_low) / (y_high - y_low), 1)

    lines = []
    for curve in curves:
        inside = [point for point in curve.points if x_low <= point[0] <= x_high]
        placed = [(across(x), up(y)) for x, y in inside]
        lines.append(Line(curve.name, _path(placed, steps=curve.steps), curve.kind))
    dots = [
        Dot(
            across(mark.at[0]),
            up(mark.at[1]),
            None if mark.low is None else up(mark.low),
            None if mark.high is None else up(mark.high),
            mark.title,
        )
        for mark in marks
        if x_low <= mark.at[0] <= x_high
    ]
    return Plot(
        title,
        text,
        Axis(x_label, tuple(Tick(across(v), f"{v:g}") for v in _round_steps(x_low, x_high))),
        Axis(y_label, tuple(Tick(up(v), f"{v:g}") for v in _round_steps(y_low, y_high))),
        tuple(lines),
        tuple(dots),
    )


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low < _NARROWEST:
        return low - 0.5, high + 0.5
    step = _step(high - low)
    return floor(low / step) * step, ceil(high / step) * step


def _step(span: float) -> float:
    """A round distance that cuts `span` into about `TICKS` parts."""
    rough = span / TICKS
    size = 10.0 ** floor(log10(rough))
    return float(min((1, 2, 5, 10), key=lambda part: abs(part * size - rough)) * size)


def _round_steps(low: float, high: float) -> list[float]:
    step = _step(high - low)
    first = ceil(low / step - 1e-9)
    count = floor(high / step + 1e-9) - first + 1
    return [round((first + index) * step, 10) for index in range(count)]


def _path(points: Sequence[Point], *, steps: bool) -> str:
    parts: list[str] = []
    for x, y in points:
        if not parts:
            parts.append(f"M{x:g} {y:g}")
        else:
            parts.append(f"H{x:g}V{y:g}" if steps else f"L{x:g} {y:g}")
    return "".join(parts)
