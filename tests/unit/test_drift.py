"""Drift: an alarm when scores or marks have moved, and hardly ever one when they have not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.drift import (
    BINS,
    LARGE,
    LEAST_EXAMS,
    LEVEL,
    MOST_MARKS,
    MOST_WEEKS,
    WATCH,
    DriftState,
    DriftVerdict,
    ScoreReference,
    Shift,
    WeekCounts,
    judge,
    judge_span,
    marks_counts,
    monday_of,
    reference_from,
    score_counts,
    score_edges,
    shift,
)
from cadnode.core.two_samples import LEAST_EXPECTED, joined_bins

MONDAY = date(2026, 3, 2)
WEEK = timedelta(weeks=1)
EVEN = (10,) * 10
REFERENCE = ScoreReference(
    model="calc 1",
    source="made up",
    made=MONDAY,
    exams=1000,
    images=4000,
    score_edges=tuple(round(0.1 * i, 1) for i in range(1, 10)),
    score_counts=(400,) * 10,
    marks_counts=(600, 200, 100, 50, 30, 20),
    operating_point=2,
)


def week(number: int, exams: int, *, tilt: float = 0.0, marked: float = 0.0) -> WeekCounts:
    """A week like the reference, but for a tilt of its scores and a share of marks moved up."""
    shares = np.linspace(1 - tilt, 1 + tilt, 10) / 10
    scores = np.round(shares * 4 * exams).astype(int)
    scores[0] += 4 * exams - scores.sum()
    marks = np.array(REFERENCE.marks_counts) / 1000 * exams
    moved = marks[0] * marked
    marks = np.floor(marks - np.array([moved, 0, 0, 0, 0, -moved])).astype(int)
    marks[0] += exams - marks.sum()
    return WeekCounts(
        MONDAY + number * WEEK, exams, 4 * exams, tuple(scores.tolist()), tuple(marks.tolist())
    )


def test_weeks_like_the_reference_are_steady() -> None:
    verdict = judge("calc 1", REFERENCE, [week(n, 200) for n in range(4)])
    assert verdict.state is DriftState.STEADY
    assert not verdict.moved
    assert verdict.judged is not None
    assert verdict.judged.first == verdict.judged.last == MONDAY + 3 * WEEK
    assert "as in the reference" in verdict.text


def test_a_large_shift_is_a_move_at_once() -> None:
    verdict = judge("calc 1", REFERENCE, [week(0, 200), week(1, 200, tilt=0.9)])
    assert verdict.state is DriftState.MOVED
    assert verdict.moved
    assert "scores (higher, PSI" in verdict.text
    assert "moved" in verdict.text


def test_a_small_shift_is_worth_a_look_and_a_move_when_the_weeks_before_say_the_same() -> None:
    first = judge("calc 1", REFERENCE, [week(0, 400), week(1, 400, tilt=0.62)])
    assert first.state is DriftState.SHIFTING
    assert "worth a look" in first.text
    again = judge("calc 1", REFERENCE, [week(1, 400, tilt=0.62), week(2, 400, tilt=0.62)])
    assert again.state is DriftState.MOVED


def test_small_shifts_to_opposite_sides_are_no_move() -> None:
    verdict = judge("calc 1", REFERENCE, [week(0, 400, tilt=-0.62), week(1, 400, tilt=0.62)])
    assert verdict.state is DriftState.SHIFTING


def test_more_marks_alone_are_a_move() -> None:
    verdict = judge("calc 1", REFERENCE, [week(0, 200, marked=0.5)])
    assert verdict.state is DriftState.MOVED
    assert "marks per exam (higher, PSI" in verdict.text
    assert "scores" not in verdict.text


@pytest.mark.parametrize(
    ("exams", "state"),
    [(LEAST_EXAMS - 1, DriftState.TOO_FEW), (LEAST_EXAMS, DriftState.MOVED)],
)
def test_too_few_exams_get_no_verdict(exams: int, state: DriftState) -> None:
    assert judge("calc 1", REFERENCE, [week(0, exams, marked=0.9)]).state is state


def test_the_weeks_of_a_small_site_are_joined_until_there_are_enough() -> None:
    weeks = [week(n, 13, marked=0.9) for n in range(6)]
    verdict = judge("calc 1", REFERENCE, weeks)
    assert verdict.judged is not None
    assert (verdict.judged.first, verdict.judged.last) == (MONDAY + 2 * WEEK, MONDAY + 5 * WEEK)
    assert verdict.judged.exams == 52
    assert verdict.state is DriftState.MOVED
    assert all(span.state is DriftState.TOO_FEW for span in verdict.by_week)


def test_old_weeks_are_not_joined_to_make_up_for_none() -> None:
    empty = [week(n, 0) for n in range(1, MOST_WEEKS + 1)]
    assert judge("calc 1", REFERENCE, [week(0, 500), *empty]).state is DriftState.TOO_FEW
    assert judge("calc 1", REFERENCE, [week(0, 500), *empty[1:]]).state is DriftState.STEADY


def test_without_a_reference_there_is_no_verdict_but_how_to_make_one() -> None:
    verdict = judge("calc 1", None, [week(0, 200)])
    assert verdict.state is DriftState.NO_REFERENCE
    assert "cadnode model reference" in verdict.text
    assert verdict.by_week[0].scores is None


def test_no_week_at_all_is_too_few() -> None:
    assert judge("calc 1", REFERENCE, []).state is DriftState.TOO_FEW


@pytest.mark.parametrize(
    ("psi", "p", "state"),
    [
        (LARGE, LEVEL, DriftState.STEADY),
        (LARGE, LEVEL / 2, DriftState.MOVED),
        (LARGE - 1e-9, LEVEL / 2, DriftState.SHIFTING),
        (WATCH, LEVEL / 2, DriftState.SHIFTING),
        (WATCH - 1e-9, 0.0, DriftState.STEADY),
    ],
)
def test_only_a_shift_that_is_large_and_no_chance_counts(
    psi: float, p: float, state: DriftState
) -> None:
    assert Shift(psi, p, higher=True).state is state


def test_the_index_and_the_test_are_those_of_the_textbook() -> None:
    found = shift((100, 60, 40), 200, (100, 100, 100), 300)
    ours = [(100.5, 201.5), (60.5, 201.5), (40.5, 201.5)]
    psi = sum((a / n - 100.5 / 301.5) * math.log((a / n) / (100.5 / 301.5)) for a, n in ours)
    assert found.psi == pytest.approx(psi)
    # Homogeneity of the 2 x 3 table, with the expected counts written out.
    statistic = sum(
        (o - e) ** 2 / e
        for o, e in [(100, 80), (60, 64), (40, 56), (100, 120), (100, 96), (100, 84)]
    )
    assert found.p == pytest.approx(math.exp(-statistic / 2)), "two degrees of freedom"
    assert not found.higher


def test_four_times_the_images_are_no_more_evidence() -> None:
    once = shift((30, 20), 50, (500, 500), 1000)
    assert shift((120, 80), 50, (2000, 2000), 1000) == once


def test_two_samples_in_one_bin_cannot_differ() -> None:
    found = shift((60, 0), 60, (1000, 0), 1000)
    assert (found.psi, found.p) == (0.0, 1.0)


COUNTS = st.lists(st.integers(0, 200), min_size=1, max_size=20)


@given(counts=COUNTS.filter(any), other=COUNTS.filter(any))
def test_joined_bins_lose_nothing_and_expect_enough(counts: list[int], other: list[int]) -> None:
    size = min(len(counts), len(other))
    ours, theirs = (np.array(values[:size], float) for values in (counts, other))
    if not ours.sum() or not theirs.sum():
        return
    first, second = joined_bins(ours, theirs)
    assert first.sum() == ours.sum()
    assert second.sum() == theirs.sum()
    if len(first) > 1:
        smaller = min(ours.sum(), theirs.sum())
        expected = smaller * (first + second) / (first.sum() + second.sum())
        assert expected.min() >= LEAST_EXPECTED - 1e-9


@given(counts=st.lists(st.integers(0, 100), min_size=2, max_size=20).filter(any))
def test_a_sample_is_like_itself(counts: list[int]) -> None:
    found = shift(tuple(counts), sum(counts), tuple(counts), sum(counts))
    assert found.psi == pytest.approx(0, abs=1e-12)
    assert found.p == pytest.approx(1)


# ---- how often it is wrong ---------------------------------------------------------------------


def exam_scores(rng: np.random.Generator, exams: int, *, moved: float, alike: float) -> np.ndarray:
    """Top scores of four images an exam; `alike` is how much of their spread they share."""
    shared = rng.normal(0, math.sqrt(alike), (exams, 1))
    own = rng.normal(0, math.sqrt(1 - alike), (exams, 4))
    return (1 / (1 + np.exp(-1.5 * (shared + own + moved)))).ravel()


def simulated(
    rng: np.random.Generator, exams: int, weeks: int, *, moved: float, marks: float, alike: float
) -> list[DriftState]:
    """What is said of weeks against a reference of 400 exams made like them but for the move."""
    accepted = exam_scores(rng, 400, moved=0, alike=alike)
    edges = score_edges(accepted)
    reference = ScoreReference(
        "calc 1",
        "simulated",
        MONDAY,
        400,
        1600,
        edges,
        score_counts(accepted, edges),
        marks_counts(rng.negative_binomial(0.8, 0.57, 400)),
        2,
    )
    states = []
    for number in range(weeks):
        scores = exam_scores(rng, exams, moved=moved, alike=alike)
        counts = marks_counts(rng.negative_binomial(0.8, 0.8 / (0.8 + marks), exams))
        week = WeekCounts(
            MONDAY + number * WEEK, exams, len(scores), score_counts(scores, edges), counts
        )
        states.append(judge_span([week], reference).state)
    return states


def share(states: Sequence[DriftState], *wanted: DriftState) -> float:
    return sum(state in wanted for state in states) / len(states)


ALARMS = (DriftState.SHIFTING, DriftState.MOVED)


def trials(exams: int, **how: float) -> list[DriftState]:
    rng = np.random.default_rng(7)
    return [state for _ in range(15) for state in simulated(rng, exams, 20, **how)]


@pytest.mark.parametrize("exams", [50, 200])
@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_steady_weeks_raise_hardly_any_alarm(exams: int, alike: float) -> None:
    states = trials(exams, moved=0, marks=0.6, alike=alike)
    assert share(states, *ALARMS) < 0.05


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_scores_that_move_by_their_own_spread_are_found_in_fifty_exams(alike: float) -> None:
    assert share(trials(50, moved=1, marks=0.6, alike=alike), DriftState.MOVED) > 0.9


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_half_of_that_is_worth_a_look_in_a_thousand_exams(alike: float) -> None:
    assert share(trials(1000, moved=0.5, marks=0.6, alike=alike), *ALARMS) > 0.9


def test_marks_that_become_twice_as_many_and_a_half_are_found() -> None:
    assert share(trials(200, moved=0, marks=1.5, alike=0.5), *ALARMS) > 0.9


# ---- values ------------------------------------------------------------------------------------


def test_a_reference_reads_back_as_it_was_written() -> None:
    assert reference_from(REFERENCE.as_table()) == REFERENCE


@pytest.mark.parametrize(
    "change",
    [
        {"score_counts": [400] * 9},
        {"score_edges": [0.1] * 9},
        {"score_edges": [float("nan"), *[0.2 + 0.1 * i for i in range(8)]]},
        {"marks_counts": [600, 200]},
        {"marks_counts": [600, 200, 100, 50, 30, 21]},
        {"exams": 0},
        {"images": 3999},
        {"made": "yesterday"},
        {"score_counts": None},
        {"score_counts": [-400, *[400] * 8, 1200]},
    ],
)
def test_a_reference_that_does_not_hold_together_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        reference_from({**REFERENCE.as_table(), **change})


def test_a_reference_without_its_source_is_refused() -> None:
    table = REFERENCE.as_table()
    del table["source"]
    with pytest.raises(ValueError, match="source"):
        reference_from(table)


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_edges_cut_scores_into_bins_that_hold_them_all(scores: list[float]) -> None:
    edges = score_edges(scores)
    counts = score_counts(scores, edges)
    assert len(edges) < BINS
    assert sum(counts) == len(scores)
    assert counts[0] > 0
    assert all(low < high for low, high in itertools.pairwise(edges))


def test_edges_of_many_scores_hold_equal_shares() -> None:
    scores = np.random.default_rng(1).random(4000)
    counts = score_counts(scores, score_edges(scores))
    assert len(counts) == BINS
    assert max(counts) - min(counts) <= 2


def test_marks_are_counted_up_to_the_last_bin() -> None:
    assert marks_counts([0, 0, 1, MOST_MARKS, 40]) == (2, 1, 0, 0, 0, 2)


@pytest.mark.parametrize(
    ("day", "monday"),
    [
        (date(2026, 3, 2), date(2026, 3, 2)),
        (date(2026, 3, 8), date(2026, 3, 2)),
        (date(2027, 1, 1), date(2026, 12, 28)),
    ],
)
def test_a_week_begins_on_monday(day: date, monday: date) -> None:
    assert monday_of(day) == monday


def test_a_verdict_names_the_weeks_it_joined() -> None:
    verdict: DriftVerdict = judge("calc 1", REFERENCE, [week(0, 30), week(1, 30)])
    assert "From the week of 2026-03-02 to that of 2026-03-09 (60 exams)" in verdict.text


def test_fewer_bins_than_twenty_serve_too() -> None:
    few = replace(REFERENCE, score_edges=(), score_counts=(4000,))
    counts = replace(week(0, 100), score_counts=(400,))
    assert judge("calc 1", few, [counts]).state is DriftState.STEADY
