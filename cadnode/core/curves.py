"""What was measured of a model, as points of curves: kept in its bundle, drawn by the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from math import isfinite
from typing import Any

Point = tuple[float, float]
FILES = "curves-"
"""The names of such files in a bundle begin so; they are JSON."""


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """One epoch of a training."""

    epoch: int
    training_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    validation_auc: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Of single patches."""

    patches: int
    patients: int
    auc: Measured
    threshold: float
    """The score at which sensitivity and specificity of a table were read off."""
    at: Point
    """The point of the curve at that score."""
    points: tuple[Point, ...]
    """(1 - specificity, sensitivity), from strict to lax."""


@dataclass(frozen=True, slots=True)
class FrocCurve:
    """Of whole images."""

    images: int
    normal_images: int
    """False marks are counted on these where there are any."""
    patients: int
    clusters: int
    points: tuple[Point, ...]
    """(false marks per image, share of the clusters marked), from strict to lax."""
    figures: tuple[tuple[float, Measured], ...]
    """(false marks per image, share of the clusters marked with its interval)."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one training or one evaluation."""

    title: str
    made: date
    history: tuple[EpochPoint, ...] = ()
    roc: RocCurve | None = None
    froc: FrocCurve | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; numbers that are none become null."""
        plain = _plain(asdict(self))
        return {**plain, "made": self.made.isoformat()}


def curves_from(table: Mapping[str, Any]) -> Curves:
    """The curves of a JSON object. Raises ValueError for one that is no such thing."""
    try:
        return Curves(
            title=str(table["title"]),
            made=date.fromisoformat(table["made"]),
            history=tuple(_epoch(epoch) for epoch in table["history"]),
            roc=None if table["roc"] is None else _roc(table["roc"]),
            froc=None if table["froc"] is None else _froc(table["froc"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not the curves of a model: {error!r}") from error


def thinned(points: Sequence[Point], step: float) -> tuple[Point, ...]:
    """Some of the points, the first and the last among them, none nearer than `step` to the next.

    Nearness is the sum of both distances; the points are in order along the curve.
    """
    kept: list[Point] = list(points[:1])
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= step:
            kept.append(point)
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return tuple(kept)


def _epoch(table: Mapping[str, Any]) -> EpochPoint:
    measured = {name: _number(value) for name, value in table.items() if name != "epoch"}
    return EpochPoint(epoch=int(_known(table["epoch"])), **measured)


def _measured(table: Mapping[str, Any]) -> Measured:
    return Measured(**{name: _number(value) for name, value in table.items()})


def _roc(table: Mapping[str, Any]) -> RocCurve:
    points = _points(table["points"])
    if not points:
        raise ValueError("a ROC curve without points")
    nested = {"auc": _measured(table["auc"]), "at": _point(table["at"]), "points": points}
    return RocCurve(**_all_known(table, nested))


def _froc(table: Mapping[str, Any]) -> FrocCurve:
    figures = tuple((float(rate), _measured(figure)) for rate, figure in table["figures"])
    nested = {"points": _points(table["points"]), "figures": figures}
    return FrocCurve(**_all_known(table, nested))


def _all_known(table: Mapping[str, Any], nested: Mapping[str, Any]) -> dict[str, Any]:
    """The table with its numbers as they stand, and what is nested in it as it was read."""
    return {name: _known(value) for name, value in table.items() if name not in nested} | {**nested}


def _known(value: Any) -> float:
    number = _number(value)
    if number is None:
        raise TypeError("a number is missing")
    return number


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value if isfinite(value) else None


def _points(items: Sequence[Sequence[float]]) -> tuple[Point, ...]:
    return tuple(_point(item) for item in items)


def _point(item: Sequence[float]) -> Point:
    x, y = item
    return float(x), float(y)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
