"""What counts as visible is measured in the finished picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cadnode.training.visibility import SEEN, seen_together, signal_to_noise

SHAPE = (160, 240)
BREAST = np.ones(SHAPE, np.bool_)


def tissue(noise: float) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (0.5 + noise * rng.standard_normal(SHAPE)).astype(np.float32)


def with_dot(picture: np.ndarray, height: float, sigma: float) -> np.ndarray:
    dot = np.zeros(SHAPE, np.float32)
    dot[80, 120] = 1
    dot = gaussian_filter(dot, sigma)
    return np.asarray(picture + np.float32(height) * dot / dot.max())


def ratio(noise: float, height: float, sigma: float = 1.2) -> float:
    clean = tissue(noise)
    return float(signal_to_noise(with_dot(clean, height, sigma), clean, BREAST).max())


def test_a_dot_ten_times_the_noise_is_seen_and_one_below_the_noise_is_not() -> None:
    assert ratio(0.01, 0.1) > SEEN
    assert ratio(0.01, 0.008) < SEEN


@pytest.mark.parametrize("times", [2.0, 4.0])
def test_the_ratio_grows_with_the_signal_and_falls_with_the_noise(times: float) -> None:
    assert ratio(0.01, 0.1 * times) == pytest.approx(times * ratio(0.01, 0.1), rel=0.01)
    assert ratio(0.01 * times, 0.1) == pytest.approx(ratio(0.01, 0.1) / times, rel=0.01)


def test_a_wider_dot_of_the_same_height_is_seen_more_easily_in_white_noise() -> None:
    assert ratio(0.02, 0.05, sigma=2.5) > 1.3 * ratio(0.02, 0.05, sigma=0.8)


def test_coarse_tissue_does_not_hide_a_fine_dot() -> None:
    fine = tissue(0.002)
    waves = 0.1 * np.sin(np.arange(SHAPE[1]) / 30).astype(np.float32)
    among = fine + waves
    seen = signal_to_noise(with_dot(among, 0.02, 1.0), among, BREAST).max()
    alone = signal_to_noise(with_dot(fine, 0.02, 1.0), fine, BREAST).max()
    assert seen == pytest.approx(alone, rel=0.3)


def test_the_best_ratio_lies_on_the_dot_and_is_zero_outside_the_breast() -> None:
    clean = tissue(0.01)
    shown = with_dot(clean, 0.1, 1.2)
    found = signal_to_noise(shown, clean, BREAST)
    assert divmod(int(found.argmax()), SHAPE[1]) == (80, 120)
    outside = BREAST.copy()
    outside[:, 100:] = False
    assert not signal_to_noise(shown, clean, outside)[:, 100:].any()


def test_a_picture_without_calcium_has_no_signal() -> None:
    clean = tissue(0.01)
    assert not signal_to_noise(clean, clean, BREAST).any()


def together(ratios: list[float], apart_mm: float, owners: list[int] | None = None) -> list[bool]:
    places = np.array([(10.0, 10 + apart_mm * index) for index in range(len(ratios))])
    of = np.array(owners or [0] * len(ratios), np.intp)
    return [bool(seen) for seen in seen_together(places, of, np.array(ratios))]


def test_five_faint_calcifications_close_together_are_seen_and_four_are_not() -> None:
    assert together([4.2] * 5, 0.7) == [True] * 5
    assert together([4.2] * 4, 0.7) == [False] * 4


def test_faint_calcifications_far_apart_or_of_other_clusters_or_too_faint_are_not_seen() -> None:
    assert not any(together([4.2] * 5, 4.0))
    assert not any(together([4.2] * 6, 0.3, owners=[0, 0, 0, 1, 1, 1]))
    assert together([4.2, 4.2, 3.9, 4.2, 4.2, 4.2], 0.5) == [True, True, False, True, True, True]


def test_no_calcifications_are_not_seen() -> None:
    assert seen_together(np.empty((0, 2)), np.empty(0, np.intp), np.empty(0)).shape == (0,)
