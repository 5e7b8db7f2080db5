"""Does the model still see what it saw when the site accepted it? Pure decisions on counts.

Two things are watched, week by week: the highest patch score of each image, and the marks of each
exam at the recommended operating point. Each is compared with a reference in two ways, and only
both together raise an alarm:

- the population stability index says how large a shift is, whatever the number of exams; from 0.1
  on it is worth a look, from 0.25 on it is large (Siddiqi, Credit Risk Scorecards, 2006, ch. 6).
  By itself it cries wolf in small samples: without any shift its mean is about (bins - 1) / exams
  (Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020);
- the chi-square test of two samples says whether chance alone makes such a shift. Not
  Kolmogorov-Smirnov: only counts in bins are kept, and marks per exam have few values; both make
  its p-value wrong. Neighbouring bins are joined until each expects five exams (Cochran,
  Biometrics 10, 1954).

The views of one exam are not independent. A sample is therefore as large as its number of exams,
however many images they have: the first-order correction of Rao and Scott (JASA 76, 1981) at its
strict end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from cadnode.core.two_samples import chance_of, joined_bins, stability_index

BINS = 20
"""Of the scores; each holds the same share of the reference."""
PLAIN_EDGES = tuple(step / BINS for step in range(1, BINS))
"""Bins of the scores while there is no reference: of equal width."""
MOST_MARKS = 5
"""Exams with this many marks or more are counted together."""
LEAST_EXAMS = 50
"""Fewer exams get no verdict."""
MOST_WEEKS = 8
"""A small site's weeks are joined until there are enough exams, but no more than these."""
LEAST_REFERENCE = 200
"""Fewer exams make no reference: its own chance would be larger than a shift."""
WATCH, LARGE = 0.1, 0.25
"""Population stability index of a shift worth a look, and of a large one."""
LEVEL = 0.005
"""p-value below which chance is ruled out: two measures, so one week in a hundred at most."""

Counts = tuple[int, ...]


class DriftState(StrEnum):
    """What may be said of some weeks."""

    NO_REFERENCE = "no reference"
    TOO_FEW = "too few exams"
    STEADY = "steady"
    SHIFTING = "shifting"
    """A shift worth a look; the same again in the weeks that follow is a move."""
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class ScoreReference:
    """What scores and marks looked like when all was well."""

    model: str
    """Name and version."""
    source: str
    """Where the exams came from, in words."""
    made: date
    exams: int
    images: int
    score_edges: tuple[float, ...]
    """Rising; bin i holds the scores from edge i - 1 on and below edge i."""
    score_counts: Counts
    """Images by bin: one more than edges."""
    marks_counts: Counts
    """Exams with 0, 1, 2, ... marks; the last one: that many or more."""
    operating_point: int
    """At which the marks are counted."""

    def as_table(self) -> dict[str, Any]:
        """Plain values for TOML or JSON."""
        return {
            "model": self.model,
            "source": self.source,
            "made": self.made.isoformat(),
            "exams": self.exams,
            "images": self.images,
            "operating_point": self.operating_point,
            "score_edges": list(self.score_edges),
            "score_counts": list(self.score_counts),
            "marks_counts": list(self.marks_counts),
        }


@dataclass(frozen=True, slots=True)
class WeekCounts:
    """What one ISO week (Monday to Sunday, UTC) came to."""

    monday: date
    exams: int
    images: int
    score_counts: Counts
    marks_counts: Counts


@dataclass(frozen=True, slots=True)
class Shift:
    """One measure against its reference."""

    psi: float
    p: float
    """Of the chi-square test; 1 is no sign of a shift at all."""
    higher: bool
    """Do the values lie higher than in the reference, on the whole?"""

    @property
    def state(self) -> DriftState:
        """Of this measure alone."""
        if self.p >= LEVEL or self.psi < WATCH:
            return DriftState.STEADY
        return DriftState.MOVED if self.psi >= LARGE else DriftState.SHIFTING


@dataclass(frozen=True, slots=True)
class SpanDrift:
    """One or more weeks together against the reference."""

    first: date
    """The Monday of its first week."""
    last: date
    """The Monday of its last week."""
    exams: int
    state: DriftState
    scores: Shift | None
    """None where there are too few exams, or no reference."""
    marks: Shift | None


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """The answer to "has the model moved?", with what it rests on."""

    model: str
    state: DriftState
    text: str
    """One plain sentence."""
    reference: ScoreReference | None
    judged: SpanDrift | None
    """The newest weeks with enough exams."""
    weeks: tuple[WeekCounts, ...]
    """Every week looked at, the oldest first; weeks without exams too."""
    by_week: tuple[SpanDrift, ...]
    """Each of `weeks` alone."""

    @property
    def score_edges(self) -> tuple[float, ...]:
        """Of the bins that the scores of `weeks` are counted in."""
        return PLAIN_EDGES if self.reference is None else self.reference.score_edges

    @property
    def moved(self) -> bool:
        """Shall somebody be told?"""
        return self.state is DriftState.MOVED


def monday_of(day: date) -> date:
    """The Monday of the ISO week that `day` is in."""
    return day - timedelta(days=day.weekday())


def score_edges(scores: Iterable[float], bins: int = BINS) -> tuple[float, ...]:
    """Edges that cut `scores` into parts of equal size; fewer where scores are equal."""
    values = np.fromiter(scores, np.float64)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="higher"))
    return tuple(float(edge) for edge in edges if edge > values.min())


def score_counts(scores: Iterable[float], edges: Sequence[float]) -> Counts:
    """How many scores lie in each bin."""
    at = np.searchsorted(np.asarray(edges), np.fromiter(scores, np.float64), side="right")
    return tuple(np.bincount(at, minlength=len(edges) + 1).tolist())


def marks_counts(marks: Iterable[int]) -> Counts:
    """How many exams have 0, 1, 2, ... marks."""
    capped = np.minimum(np.fromiter(marks, np.int64), MOST_MARKS)
    return tuple(np.bincount(capped, minlength=MOST_MARKS + 1).tolist())


def reference_from(table: Mapping[str, Any]) -> ScoreReference:
    """The reference of a TOML table. Raises ValueError for one that does not hold together."""
    try:
        found = ScoreReference(
            model=str(table["model"]),
            source=str(table["source"]),
            made=date.fromisoformat(str(table["made"])),
            exams=int(table["exams"]),
            images=int(table["images"]),
            operating_point=int(table["operating_point"]),
            score_edges=tuple(float(edge) for edge in table["score_edges"]),
            score_counts=tuple(int(count) for count in table["score_counts"]),
            marks_counts=tuple(int(count) for count in table["marks_counts"]),
        )
    except KeyError as error:
        raise ValueError(f"the reference does not say its {error}") from error
    except TypeError as error:
        raise ValueError(f"the reference cannot be read: {error}") from error
    edges, counts = found.score_edges, (*found.score_counts, *found.marks_counts)
    rising = all(low < high for low, high in itertools.pairwise(edges))
    if not (
        rising
        and np.isfinite(edges).all()
        and len(found.score_counts) == len(edges) + 1
        and len(found.marks_counts) == MOST_MARKS + 1
        and min(counts) >= 0
        and 0 < found.exams <= found.images == sum(found.score_counts)
        and sum(found.marks_counts) == found.exams
        and found.operating_point >= 0
    ):
        raise ValueError("the counts of the reference do not hold together")
    return found


def shift(observed: Counts, exams: int, reference: Counts, reference_exams: int) -> Shift:
    """How far `observed` lies from `reference`, both counted in the same bins.

    Each sample weighs as many as it has exams, whatever its counts add up to.
    """
    ours = np.asarray(observed, float) * (exams / max(1, sum(observed)))
    theirs = np.asarray(reference, float) * (reference_exams / max(1, sum(reference)))
    bins = np.arange(len(ours))
    higher = bool(bins @ ours * theirs.sum() > bins @ theirs * ours.sum())
    joined = joined_bins(ours, theirs)
    return Shift(stability_index(*joined), chance_of(*joined), higher)


def judge_span(weeks: Sequence[WeekCounts], reference: ScoreReference | None) -> SpanDrift:
    """`weeks`, one or more and in order, taken together."""
    exams = sum(week.exams for week in weeks)
    first, last = weeks[0].monday, weeks[-1].monday
    if reference is None:
        return SpanDrift(first, last, exams, DriftState.NO_REFERENCE, None, None)
    if exams < LEAST_EXAMS:
        return SpanDrift(first, last, exams, DriftState.TOO_FEW, None, None)
    scores = shift(
        _sum(week.score_counts for week in weeks), exams, reference.score_counts, reference.exams
    )
    marks = shift(
        _sum(week.marks_counts for week in weeks), exams, reference.marks_counts, reference.exams
    )
    states = (scores.state, marks.state)
    state = next(
        (worst for worst in (DriftState.MOVED, DriftState.SHIFTING) if worst in states),
        DriftState.STEADY,
    )
    return SpanDrift(first, last, exams, state, scores, marks)


def judge(
    model: str, reference: ScoreReference | None, weeks: Sequence[WeekCounts]
) -> DriftVerdict:
    """The verdict on complete weeks, given oldest first and without a gap.

    The newest weeks that have `LEAST_EXAMS` exams between them decide. A large shift is a move at
    once, a small one when the weeks before them say the same.
    """
    by_week = tuple(judge_span([week], reference) for week in weeks)
    newest = _last_enough(weeks)
    judged = judge_span(newest, reference) if newest else None
    state = _state(reference, judged)
    if judged is not None and reference is not None and state is DriftState.SHIFTING:
        before = _last_enough(weeks[: len(weeks) - len(newest)])
        if before and _goes_on(judge_span(before, reference), judged):
            state = DriftState.MOVED
    return DriftVerdict(
        model,
        state,
        _sentence(state, reference, judged),
        reference,
        judged,
        tuple(weeks),
        by_week,
    )


def _state(reference: ScoreReference | None, judged: SpanDrift | None) -> DriftState:
    if reference is None:
        return DriftState.NO_REFERENCE
    return DriftState.TOO_FEW if judged is None else judged.state


def _last_enough(weeks: Sequence[WeekCounts]) -> Sequence[WeekCounts]:
    """The fewest newest weeks with enough exams; empty where `MOST_WEEKS` have not."""
    exams = 0
    for count, week in enumerate(reversed(weeks[-MOST_WEEKS:]), 1):
        exams += week.exams
        if exams >= LEAST_EXAMS:
            return weeks[len(weeks) - count :]
    return ()


def _goes_on(before: SpanDrift, now: SpanDrift) -> bool:
    """Did the same measure lie on the same side before?"""
    quiet = (None, DriftState.STEADY)
    return any(
        earlier is not None
        and later is not None
        and earlier.state not in quiet
        and later.state not in quiet
        and earlier.higher == later.higher
        for earlier, later in ((before.scores, now.scores), (before.marks, now.marks))
    )


def _sum(counts: Iterable[Counts]) -> Counts:
    return tuple(int(total) for total in np.sum(list(counts), axis=0))


def _sentence(state: DriftState, reference: ScoreReference | None, judged: SpanDrift | None) -> str:
    if state is DriftState.NO_REFERENCE:
        return "There is no reference to compare with: make one with cadnode model reference."
    if judged is None or judged.scores is None or judged.marks is None:
        return (
            f"The last {MOST_WEEKS} weeks have fewer than {LEAST_EXAMS} exams between them: "
            "too few to judge."
        )
    span = (
        f"In the week of {judged.first}"
        if judged.first == judged.last
        else f"From the week of {judged.first} to that of {judged.last}"
    )
    measures = (("scores", judged.scores), ("marks per exam", judged.marks))
    shifted = [
        f"{name} ({'higher' if found.higher else 'lower'}, PSI {found.psi:.2f})"
        for name, found in measures
        if found.state is not DriftState.STEADY
    ]
    what = (
        f"{' and '.join(shifted)} differ from the reference"
        if shifted
        else "scores and marks per exam are as in the reference"
    )
    ends = {DriftState.MOVED: ": the model's answers have moved", DriftState.STEADY: ""}
    end = ends.get(state, ": worth a look")
    return f"{span} ({judged.exams} exams) {what}{end}."
