"""A bar chart of the exams of a day, as numbers for an SVG template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cadnode.core.node_status import Hour

WIDTH, HEIGHT = 600, 220
"""Units of the picture."""
BASE, TOP = 194.0, 22.0
"""The line that the bars stand on, and the highest bar's top."""
HOURS = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour."""

    label: str
    """`07:00`, local time."""
    exams: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The whole picture."""

    width: int
    height: int
    base: float
    bars: tuple[Bar, ...]
    most: int


def chart(hours: Sequence[Hour]) -> Chart:
    """One bar for each hour of the day so far; the rest of the day stays empty."""
    most = max((hour.exams for hour in hours), default=0)
    slot = WIDTH / max(HOURS, len(hours))
    bars = []
    for place, hour in enumerate(hours):
        height = (BASE - TOP) * hour.exams / most if most else 0.0
        bars.append(
            Bar(
                label=f"{hour.begins_at.astimezone():%H:%M}",
                exams=hour.exams,
                x=round(place * slot + slot * 0.12, 2),
                y=round(BASE - height, 2),
                width=round(slot * 0.76, 2),
                height=round(height, 2),
            )
        )
    return Chart(WIDTH, HEIGHT, BASE, tuple(bars), most)
