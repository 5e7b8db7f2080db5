"""Marks on simulated views against their exact truth."""

from __future__ import annotations

import numpy as np

from cadnode.core.findings import Finding
from cadnode.training.clusters import Cluster, Distribution
from cadnode.training.particles import Morphology, Particle
from cadnode.training.simulated_exams import read
from cadnode.training.simulator import SimulatedView
from cadnode.training.visibility import SEEN

PITCH = 0.1


def cluster(morphology: Morphology = Morphology.PUNCTATE) -> Cluster:
    return Cluster(morphology, Distribution.GROUPED, 20.0, (), (Particle(0, 0, 0.15),))


def mark(column: float, row: float, score: float, reach: float = 15) -> Finding:
    corners = [(-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)]
    outline = tuple((column + right, row + down) for right, down in (*corners, corners[0]))
    return Finding(score, (column, row), outline, 9.0, 0)


def view(ratios: list[list[float]], unsure: np.ndarray | None = None) -> SimulatedView:
    """Clusters in a column, 30 mm apart; each calcification with its ratio, side by side."""
    places = [
        (100 + 300 * index, 200 + 10 * number)
        for index, each in enumerate(ratios)
        for number, _ in enumerate(each)
    ]
    shape = (1000, 500)
    return SimulatedView(
        "film",
        "patient",
        np.full(shape, 100, np.float32),
        np.ones(shape, np.bool_),
        tuple(cluster() for _ in ratios),
        np.array(places, float).reshape(-1, 2),
        np.repeat(np.arange(len(ratios)), [len(each) for each in ratios]).astype(np.intp),
        (found := np.array([value for each in ratios for value in each], float)),
        np.empty((0, 2)),
        np.zeros(shape, np.bool_) if unsure is None else unsure,
        np.asarray(found >= SEEN),
    )


def test_a_cluster_counts_with_its_third_best_calcification() -> None:
    assert view([[9.0, 4.0, 8.0, 7.0], [9.0, 9.0]]).visibility == (7.0, 0.0)


def test_a_mark_on_a_visible_cluster_is_a_hit_with_the_best_score() -> None:
    found = read(view([[9.0, 8.0, 7.0]]), [mark(212, 102, 0.7), mark(205, 100, 0.9)], PITCH)
    assert found.marks.lesions == (0.9,)
    assert found.marks.false_marks == ()


def test_a_visible_cluster_without_a_mark_is_missed_and_the_mark_elsewhere_false() -> None:
    found = read(view([[9.0, 8.0, 7.0]]), [mark(400, 800, 0.6)], PITCH)
    assert found.marks.lesions == (-np.inf,)
    assert found.marks.false_marks == (0.6,)


def test_a_mark_on_a_faint_cluster_is_neither_hit_nor_false_but_kept() -> None:
    found = read(view([[3.0, 3.0, 2.0]]), [mark(210, 100, 0.8)], PITCH)
    assert found.marks.lesions == ()
    assert found.marks.false_marks == ()
    assert [(each.visibility, each.score) for each in found.clusters] == [(2.0, 0.8)]


def test_a_mark_where_the_tissue_itself_is_unsure_is_not_false() -> None:
    unsure = np.zeros((1000, 500), np.bool_)
    unsure[790:810, 390:410] = True
    found = read(view([[9.0, 8.0, 7.0]], unsure), [mark(400, 800, 0.6)], PITCH)
    assert found.marks.false_marks == ()


def test_a_view_without_clusters_is_normal_and_every_mark_on_it_false() -> None:
    found = read(view([]), [mark(210, 100, 0.8)], PITCH)
    assert found.marks.normal
    assert found.marks.false_marks == (0.8,)


def test_a_mark_is_on_a_cluster_that_its_outline_holds_wherever_its_center_is() -> None:
    large = read(view([[9.0, 8.0, 7.0]]), [mark(290, 100, 0.9, reach=80)], PITCH)
    small = read(view([[9.0, 8.0, 7.0]]), [mark(290, 100, 0.9, reach=20)], PITCH)
    assert (large.marks.lesions, large.marks.false_marks) == ((0.9,), ())
    assert (small.marks.lesions, small.marks.false_marks) == ((-np.inf,), (0.9,))


def test_clusters_that_no_mark_tells_apart_are_one_lesion() -> None:
    both = view([[9.0, 8.0, 7.0], [9.0, 8.0, 7.0]])
    both.calcifications[3:, 0] = 180
    found = read(both, [mark(210, 100, 0.9)], PITCH)
    assert found.marks.lesions == (0.9,)
    assert [(each.score, each.apart) for each in found.clusters] == [(0.9, False)] * 2
    apart = read(view([[9.0, 8.0, 7.0], [9.0, 8.0, 7.0]]), [mark(210, 100, 0.9)], PITCH)
    assert apart.marks.lesions == (0.9, -np.inf)
    assert all(each.apart for each in apart.clusters)
