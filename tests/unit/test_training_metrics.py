"""Figures of merit, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cadnode.training.metrics import (
    Figure,
    ImageMarks,
    auc,
    average_precision,
    bootstrap,
    calibration,
    froc,
    operating_threshold,
    sensitivity_at,
    threshold_at,
)

TRUTH = np.array([True, True, False, True, False, False])
SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.1])


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auc(TRUTH, SCORE) == pytest.approx(8 / 9)


def test_auc_counts_a_tie_as_half() -> None:
    assert auc(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(0.5)


def test_auc_of_one_class_is_no_number() -> None:
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_average_precision_is_the_mean_precision_at_the_hits() -> None:
    assert average_precision(TRUTH, SCORE) == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_the_operating_point_is_where_slope_one_touches() -> None:
    # At 0.8: 2/3 - 0; at 0.6: 3/3 - 1/3; the first of two equals is the stricter one.
    assert operating_threshold(TRUTH, SCORE) == 0.8


def test_the_interval_covers_the_value_and_a_seed_repeats_it() -> None:
    patients = ["a", "a", "b", "b", "c", "c"]
    first = bootstrap(lambda items: float(SCORE[items].mean()), patients, rounds=200)
    assert first.low <= first.value <= first.high
    assert first == bootstrap(lambda items: float(SCORE[items].mean()), patients, rounds=200)


def test_one_patient_gives_a_value_without_an_interval() -> None:
    figure = bootstrap(lambda items: float(SCORE[items].mean()), ["a"] * 6, rounds=50)
    assert figure.value == pytest.approx(SCORE.mean())
    assert np.isnan([figure.low, figure.high]).all()
    assert str(figure) == f"{figure.value:.3f} (no interval)"


IMAGES = [
    ImageMarks("1", "a", (0.9, 0.4), (0.7,), normal=False),
    ImageMarks("2", "b", (-np.inf,), (), normal=False),
    ImageMarks("3", "c", (), (0.8, 0.2), normal=True),
    ImageMarks("4", "d", (), (), normal=True),
]


def test_froc_counts_clusters_and_false_marks_per_image() -> None:
    per_image, found, thresholds = froc(IMAGES)
    assert thresholds.tolist() == [0.9, 0.8, 0.7, 0.4, 0.2]
    assert per_image.tolist() == [0, 0.25, 0.5, 0.5, 0.75]
    assert found.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_a_cluster_without_a_mark_is_never_found() -> None:
    assert sensitivity_at(IMAGES, 100) == pytest.approx(2 / 3)


def test_a_draw_without_clusters_or_without_normal_images_says_nothing() -> None:
    assert np.isnan(sensitivity_at(IMAGES[2:], 1))
    assert np.isnan(sensitivity_at(IMAGES[:2], 1, normals_only=True))
    assert str(Figure(np.nan, np.nan, np.nan)) == "-"


def test_patients_without_clusters_do_not_pull_the_interval_down() -> None:
    found = [ImageMarks(f"{n}", f"{n}", (0.9,), (), normal=False) for n in range(2)]
    empty = [ImageMarks(f"{n}", f"{n}", (), (), normal=False) for n in range(2, 10)]
    images = [*found, *empty]
    figure = bootstrap(
        lambda items: sensitivity_at([images[i] for i in items], 1),
        [image.patient for image in images],
        rounds=200,
    )
    assert (figure.value, figure.low, figure.high) == (1, 1, 1)


def test_false_marks_can_be_counted_on_normal_images_alone() -> None:
    assert sensitivity_at(IMAGES, 0.5, normals_only=True) == pytest.approx(2 / 3)
    assert sensitivity_at(IMAGES, 0.4, normals_only=True) == pytest.approx(1 / 3)
    assert threshold_at(IMAGES, 0.5, normals_only=True) == 0.4


def test_calibration_leaves_out_empty_bins() -> None:
    bins = calibration(TRUTH, SCORE, bins=2)
    assert [count for _, _, count in bins] == [2, 4]
    assert bins[1][1] == pytest.approx(3 / 4)
