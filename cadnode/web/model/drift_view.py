"""The watch over drift as pictures: how the weeks are spread over the bins of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from cadnode.core.drift import (
    LARGE,
    WATCH,
    Counts,
    DriftState,
    DriftVerdict,
    ScoreReference,
    WeekCounts,
)

TONES = {
    DriftState.STEADY: "good",
    DriftState.SHIFTING: "warn",
    DriftState.MOVED: "bad",
    DriftState.TOO_FEW: "quiet",
    DriftState.NO_REFERENCE: "quiet",
}
CELL, ROW, LEFT, TOP, GAP = 17.0, 9.0, 96.0, 6.0, 8.0
"""Sizes in the units of the picture; the reference stands apart by the gap."""
BELOW = 30.0
LABEL_EVERY = 4
FULL = 3.0
"""A bin with so many times its even share is drawn in full colour."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One bin in one week."""

    x: float
    y: float
    width: float
    height: float
    depth: str
    """Opacity, 0 to 1."""
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A word at a place."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Spread:
    """Weeks side by side, the reference first; what is higher stands higher."""

    title: str
    text: str
    cells: tuple[Cell, ...]
    across: tuple[Label, ...]
    up: tuple[Label, ...]
    width: float
    height: float


def score_spread(verdict: DriftVerdict) -> Spread:
    """Of the highest patch score of each image."""
    reference = verdict.reference
    names = _ranges(verdict.score_edges)
    even = 1 / len(names)
    return _spread(
        "Highest patch score of each image",
        names,
        [f"{names[place]}" for place in (0, len(names) // 2, len(names) - 1)],
        None if reference is None else reference.score_counts,
        [(week, week.score_counts) for week in verdict.weeks],
        even,
    )


def marks_spread(verdict: DriftVerdict) -> Spread:
    """Of the marks of each exam."""
    reference = verdict.reference
    count = len(reference.marks_counts if reference else verdict.weeks[0].marks_counts)
    names = [f"{marks} mark{'' if marks == 1 else 's'}" for marks in range(count - 1)]
    names.append(f"{count - 1} or more")
    return _spread(
        "Marks per exam",
        names,
        names,
        None if reference is None else reference.marks_counts,
        [(week, week.marks_counts) for week in verdict.weeks],
        1 / FULL,
    )


def measures(verdict: DriftVerdict) -> list[tuple[str, str, str, str]]:
    """(measure, index in words, p-value, where it lies) of the weeks that were judged."""
    judged = verdict.judged
    if judged is None or judged.scores is None or judged.marks is None:
        return []
    return [
        (
            name,
            f"{found.psi:.3f}, {_size(found.psi)}",
            f"{found.p:.2g}",
            "higher" if found.higher else "lower",
        )
        for name, found in (
            ("Highest patch score", judged.scores),
            ("Marks per exam", judged.marks),
        )
    ]


def means(counts: Counts) -> float:
    """Marks per exam, those of the last bin counted as few as they may be."""
    return sum(marks * exams for marks, exams in enumerate(counts)) / max(1, sum(counts))


def _size(psi: float) -> str:
    if psi < WATCH:
        return "small"
    return "worth a look" if psi < LARGE else "large"


def _ranges(edges: Sequence[float]) -> list[str]:
    words = [_score(edge) for edge in edges]
    if not words:
        return ["any score"]
    between = [f"{low} to {high}" for low, high in pairwise(words)]
    return [f"below {words[0]}", *between, f"from {words[-1]}"]


def _score(value: float) -> str:
    return f"{value:.4f}" if value > 0.99 else f"{value:.3f}".rstrip("0").rstrip(".") or "0"


def _spread(
    title: str,
    names: Sequence[str],
    shown: Sequence[str],
    reference: Counts | None,
    weeks: Sequence[tuple[WeekCounts, Counts]],
    even: float,
) -> Spread:
    height = max(ROW, 150 / len(names))
    bottom = TOP + height * len(names)
    columns: list[tuple[str, float, Counts]] = []
    x = LEFT
    if reference is not None:
        columns.append(("the reference", x, reference))
        x += CELL + GAP
    across = [Label(LEFT + CELL / 2, bottom + 12, "ref.")] if reference is not None else []
    for place, (week, counts) in enumerate(weeks):
        columns.append((f"week of {week.monday}, {week.exams} exams", x, counts))
        if place % LABEL_EVERY == 0:
            across.append(Label(round(x + CELL / 2, 1), bottom + 24, _day(week.monday)))
        x += CELL
    cells = tuple(
        Cell(
            round(left, 1),
            round(bottom - height * (bin_ + 1), 1),
            CELL - 1,
            height - 0.5,
            f"{min(1.0, share / (FULL * even)):.2f}",
            f"{what}: {names[bin_]}, {100 * share:.1f} %",
        )
        for what, left, counts in columns
        for bin_, share in enumerate(_shares(counts))
        if share
    )
    up = tuple(
        Label(LEFT - 6, round(bottom - height * (bin_ + 0.5) + 3.5, 1), name)
        for bin_, name in enumerate(names)
        if name in shown
    )
    return Spread(
        title,
        f"{title}, week by week: the stronger the colour, the larger the share. The table has the numbers.",
        cells,
        tuple(across),
        up,
        round(x + 4, 1),
        round(bottom + BELOW, 1),
    )


def _shares(counts: Counts) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _day(monday: date) -> str:
    return f"{monday:%m-%d}"


def reference_words(reference: ScoreReference) -> str:
    """One sentence on what the weeks are compared with."""
    return (
        f"{reference.exams} exams with {reference.images} images: {reference.source}."
        f" Made {reference.made}."
    )
