"""From patch scores to findings, with scores written by hand and spots at known places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadnode.core.findings import Finding
from cadnode.core.grid import ModelGrid, resample
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.marks import marks
from cadnode.core.model import ModelSpec, PatchScores

PITCH = 0.07
SPACING = PixelSpacing(PITCH, PITCH)
SHAPE = (1000, 900)
GRID_SHAPE = (700, 630)
SPEC = ModelSpec(
    name="by hand",
    version="1",
    patch_size=224,
    stride=224,
    pitch_mm=0.1,
    normalisation="local-contrast",
    thresholds=(0.9, 0.7, 0.5),
    recommended=1,
    map_size=7,
)
ORIGINS = np.array([(row, column) for row in (0, 224, 448) for column in (0, 203, 406)])
MIDDLE = 4
"""The patch in the middle of the image."""


def tissue(spots=(), *, contrast: float = 0.2) -> np.ndarray:
    """Noise with bright spots of 0.4 mm at (column, row) in received pixels."""
    pixels = 0.4 + np.random.default_rng(5).normal(0, 0.01, SHAPE)
    for column, row in spots:
        left, top = int(column) - 6, int(row) - 6
        window = np.s_[max(top, 0) : top + 14, max(left, 0) : left + 14]
        rows, columns = np.mgrid[window] + 0.5
        distance = np.hypot(columns - column, rows - row)
        pixels[window] += contrast * np.clip(3.3 - distance, 0, 1)
    return pixels.astype(np.float32)


def grid_of(pixels: np.ndarray) -> ModelGrid:
    return ModelGrid(
        pixels=resample(pixels, shape=GRID_SHAPE),
        breast=np.ones(GRID_SHAPE, dtype=np.bool_),
        row_scale=SHAPE[0] / GRID_SHAPE[0],
        column_scale=SHAPE[1] / GRID_SHAPE[1],
        image_shape=SHAPE,
    )


def scores_of(probability: dict[int, float], cells: dict[int, list[tuple[int, int]]]):
    """Scores for ORIGINS: patches by number, each with its hot map cells (row, column)."""
    scores = PatchScores(
        probability=np.zeros(len(ORIGINS), dtype=np.float32),
        maps=np.zeros((len(ORIGINS), 7, 7), dtype=np.float32),
    )
    for patch, value in probability.items():
        scores.probability[patch] = value
        for row, column in cells.get(patch, []):
            scores.maps[patch, row, column] = 1.0
    return scores


def cell_center(patch: int, row: float, column: float) -> tuple[float, float]:
    """The center of a map cell in received pixels, (column, row)."""
    top, left = ORIGINS[patch]
    return (
        (left + 32 * (column + 0.5)) * SHAPE[1] / GRID_SHAPE[1],
        (top + 32 * (row + 0.5)) * SHAPE[0] / GRID_SHAPE[0],
    )


def around(center, *offsets_mm):
    return [(center[0] + x / PITCH, center[1] + y / PITCH) for x, y in offsets_mm]


def marked(spots, scores, *, spec=SPEC, contrast=0.2) -> tuple[Finding, ...]:
    pixels = tissue(spots, contrast=contrast)
    return marks(grid_of(pixels), pixels, SPACING, ORIGINS, scores, spec)


def distance_mm(one, other) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1])) * PITCH


def contains(outline, point) -> bool:
    """Is the point inside the closed convex polygon (or on it)?"""
    corners = np.array(outline)
    edges, to_point = np.diff(corners, axis=0), np.array(point) - corners[:-1]
    turns = edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0]
    return bool((turns >= -1e-6).all() or (turns <= 1e-6).all())


def assert_well_formed(finding: Finding) -> None:
    assert finding.outline[0] == finding.outline[-1]
    assert len(set(finding.outline)) >= 4
    for column, row in finding.outline:
        assert 0 <= column <= SHAPE[1]
        assert 0 <= row <= SHAPE[0]
    assert finding.area_mm2 > 0
    assert contains(finding.outline, finding.center)
    for calcification in finding.calcifications:
        assert contains(finding.outline, calcification.center)


FLAT = np.full(SHAPE, 0.4, dtype=np.float32)
FOUR = [(-1.0, -0.8), (1.2, -0.5), (0.3, 1.1), (-0.6, 0.7)]


def test_the_spots_in_a_hot_cell_are_the_finding():
    center = cell_center(MIDDLE, 3, 3)
    spots = around(center, *FOUR)
    (finding,) = marked(spots, scores_of({MIDDLE: 0.8}, {MIDDLE: [(3, 3)]}))
    assert len(finding.calcifications) == 4
    assert distance_mm(finding.center, np.mean(spots, axis=0)) < 0.15
    assert finding.score == pytest.approx(0.8)
    assert finding.operating_point == 1
    assert 5 < finding.area_mm2 < 40
    assert_well_formed(finding)


def test_without_spots_the_hot_cells_are_the_finding():
    (finding,) = marked([], scores_of({MIDDLE: 0.95}, {MIDDLE: [(3, 3), (3, 4)]}))
    assert finding.calcifications == ()
    assert distance_mm(finding.center, cell_center(MIDDLE, 3, 3.5)) < 1e-6
    assert finding.area_mm2 == pytest.approx(2 * 3.2**2)
    assert finding.operating_point == 0
    assert_well_formed(finding)


def test_a_map_of_zeros_stands_for_the_whole_patch():
    (finding,) = marked([], scores_of({MIDDLE: 0.6}, {}))
    assert distance_mm(finding.center, cell_center(MIDDLE, 3, 3)) < 1e-6
    assert finding.area_mm2 == pytest.approx(22.4**2)


def test_patches_below_every_threshold_leave_no_mark():
    spots = around(cell_center(MIDDLE, 3, 3), *FOUR)
    assert marked(spots, scores_of({MIDDLE: 0.49}, {MIDDLE: [(3, 3)]})) == ()


def test_what_lies_outside_the_breast_leaves_no_mark():
    pixels = tissue()
    grid = grid_of(pixels)
    grid.breast[:, 300:] = False
    scores = scores_of({5: 0.9}, {5: [(3, 3)]})
    assert marks(grid, pixels, SPACING, ORIGINS, scores, SPEC) == ()


def test_one_cluster_seen_by_two_patches_is_one_finding_with_the_higher_score():
    center = cell_center(MIDDLE, 3, 0)
    scores = scores_of({3: 0.6, MIDDLE: 0.92}, {3: [(3, 6)], MIDDLE: [(3, 0)]})
    (finding,) = marked(around(center, *FOUR), scores)
    assert finding.score == pytest.approx(0.92)
    assert finding.operating_point == 0


def test_two_clusters_far_apart_in_one_patch_are_two_findings():
    first, second = cell_center(MIDDLE, 0, 0), cell_center(MIDDLE, 6, 6)
    spots = around(first, *FOUR) + around(second, *FOUR)
    findings = marked(spots, scores_of({MIDDLE: 0.8}, {MIDDLE: [(0, 0), (6, 6)]}))
    assert len(findings) == 2
    centers = sorted(finding.center for finding in findings)
    assert distance_mm(centers[0], np.mean(around(first, *FOUR), axis=0)) < 0.3
    assert distance_mm(centers[1], np.mean(around(second, *FOUR), axis=0)) < 0.3


def test_the_highest_score_comes_first():
    scores = scores_of({0: 0.55, 8: 0.95, 2: 0.75}, {n: [(3, 3)] for n in (0, 2, 8)})
    found = [finding.score for finding in marked([], scores)]
    assert found == pytest.approx([0.95, 0.75, 0.55])


def test_a_lone_spot_away_from_the_hottest_cell_is_no_finding_of_its_own():
    cluster, stray = cell_center(MIDDLE, 1, 1), cell_center(MIDDLE, 6, 6)
    scores = scores_of({MIDDLE: 0.8}, {MIDDLE: [(1, 1)]})
    scores.maps[MIDDLE, 6, 6] = 0.6
    (finding,) = marked([*around(cluster, *FOUR), stray], scores)
    assert distance_mm(finding.center, cluster) < 1.0


def test_one_very_bright_calcification_does_not_move_the_center_onto_itself():
    spots = around(cell_center(MIDDLE, 3, 3), *FOUR)
    pixels = np.maximum(tissue(spots), tissue(spots[:1], contrast=0.55))
    scores = scores_of({MIDDLE: 0.8}, {MIDDLE: [(3, 3)]})
    (finding,) = marks(grid_of(pixels), pixels, SPACING, ORIGINS, scores, SPEC)
    assert distance_mm(finding.center, np.mean(spots, axis=0)) < 0.5


@given(
    st.floats(0, SHAPE[1]),
    st.floats(0, SHAPE[0]),
    st.booleans(),
)
@settings(deadline=None, max_examples=15)
def test_a_finding_anywhere_is_closed_and_inside_the_image(column, row, dotted):
    point = np.array([column * GRID_SHAPE[1] / SHAPE[1], row * GRID_SHAPE[0] / SHAPE[0]])
    # The edge patches lie inside the image except for the bottom and right ones.
    cells = (point[None] - ORIGINS[:, ::-1]) // 32
    patches = np.flatnonzero(((cells >= 0) & (cells < 7)).all(axis=1))
    scores = scores_of(
        dict.fromkeys(patches.tolist(), 0.8),
        {patch: [(int(cells[patch, 1]), int(cells[patch, 0]))] for patch in patches.tolist()},
    )
    spots = around((column, row), *FOUR) if dotted else []
    spots = [spot for spot in spots if 8 < spot[0] < SHAPE[1] - 8 and 8 < spot[1] < SHAPE[0] - 8]
    for finding in marked(spots, scores):
        assert_well_formed(finding)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=9, max_size=9),
    st.floats(0.05, 0.9),
    st.floats(0, 0.5),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=8)
def test_raising_the_threshold_never_marks_a_new_place(probability, threshold, more, seed):
    random = np.random.default_rng(seed)
    scores = PatchScores(
        probability=np.array(probability, dtype=np.float32),
        maps=random.random((9, 7, 7)).astype(np.float32) ** 8,
    )
    many, few = (
        marks(grid_of(FLAT), FLAT, SPACING, ORIGINS, scores, replace(SPEC, thresholds=(lowest,)))
        for lowest in (threshold, threshold + more)
    )
    highest = max([finding.score for finding in many], default=None)
    assert max([finding.score for finding in few], default=None) in (None, highest)
    for finding in few:
        assert any(contains(wide.outline, finding.center) for wide in many)


@pytest.mark.parametrize("padded", [False, True])
def test_an_image_smaller_than_a_patch_is_marked_inside_itself(padded):
    pixels = tissue()[:150, :120]
    grid = ModelGrid(
        pixels=resample(pixels, shape=(105, 84)),
        breast=np.ones((105, 84), dtype=np.bool_),
        row_scale=150 / 105,
        column_scale=120 / 84,
        image_shape=(150, 120),
    )
    heat = np.zeros((1, 7, 7), dtype=np.float32)
    heat[0, 1, 1] = 0.0 if padded else 1.0
    scores = PatchScores(probability=np.array([0.8], dtype=np.float32), maps=heat)
    (finding,) = marks(grid, pixels, SPACING, np.array([(0, 0)]), scores, SPEC)
    assert np.array(finding.outline).min() >= 0
    assert (np.array(finding.outline).max(axis=0) <= (120, 150)).all()
    assert contains(finding.outline, finding.center)
