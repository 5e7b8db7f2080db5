"""Figures of merit with intervals: patches (ROC) and images (FROC). Plain numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        if np.isnan(self.low):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def roc(truth: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats, Floats]:
    """False positive rate, sensitivity and threshold, one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    hits = np.cumsum(truth)[last]
    false = np.cumsum(~truth)[last]
    rate = np.append(0.0, false / max(1, int((~truth).sum())))
    sensitivity = np.append(0.0, hits / max(1, int(truth.sum())))
    return rate, sensitivity, np.append(np.inf, score[last])


def auc(truth: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC; nan with one class only."""
    if truth.all() or not truth.any():
        return float("nan")
    rate, sensitivity, _ = roc(truth, score)
    return float(np.trapezoid(sensitivity, rate))


def average_precision(truth: NDArray[np.bool_], score: Floats) -> float:
    """Mean precision over the recalls; nan without positives."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = truth[order]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def operating_threshold(truth: NDArray[np.bool_], score: Floats) -> float:
    """Where a line of slope 1 touches the ROC: the largest sensitivity minus false rate.

    Of several such points the strictest.
    """
    rate, sensitivity, threshold = roc(truth, score)
    return float(threshold[int(np.argmax(np.round(sensitivity - rate, 9)))])


def bootstrap(
    figure: Callable[[NDArray[np.intp]], float],
    groups: Sequence[str],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> Figure:
    """The figure on everything, with the percentile interval when whole groups (patients) are
    drawn with replacement. `figure` gets the indices of the drawn items, and says nan where a
    draw tells nothing. One group has no interval (nan)."""
    names, member = np.unique(np.array(groups), return_inverse=True)
    items = [np.flatnonzero(member == index) for index in range(len(names))]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(rounds if len(items) > 1 else 0):
        drawn = rng.integers(0, len(items), len(items))
        values.append(figure(np.concatenate([items[index] for index in drawn])))
    known = np.array(values)[np.isfinite(values)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return Figure(figure(np.arange(len(member))), float(low), float(high))


@dataclass(frozen=True, slots=True)
class ImageMarks:
    """What the model marked on one image, against its truth."""

    name: str
    patient: str
    lesions: tuple[float, ...]
    """For each true cluster, the highest score of a mark on it; -inf when there is none."""
    false_marks: tuple[float, ...]
    """Scores of the marks that hit nothing."""
    normal: bool
    """True when it is known to hold no calcifications."""


def froc(
    images: Sequence[ImageMarks], *, normals_only: bool = False
) -> tuple[Floats, Floats, Floats]:
    """False marks per image, sensitivity by cluster, and threshold; from strict to lax.

    With `normals_only`, false marks are counted on normal images alone.
    """
    hits = np.array([score for image in images for score in image.lesions])
    counted = [image for image in images if image.normal or not normals_only]
    false = np.array([score for image in counted for score in image.false_marks])
    thresholds = np.unique(np.concatenate([hits[np.isfinite(hits)], false]))[::-1]
    if not len(thresholds):
        thresholds = np.array([1.0])
    per_image = np.array([(false >= t).sum() for t in thresholds]) / max(1, len(counted))
    found = np.array([(hits >= t).sum() for t in thresholds]) / max(1, len(hits))
    return per_image, found, thresholds


def sensitivity_at(
    images: Sequence[ImageMarks], false_per_image: float, *, normals_only: bool = False
) -> float:
    """Share of clusters marked at the laxest threshold with no more false marks than that; nan
    without clusters, or without images to count false marks on."""
    if not any(image.lesions for image in images):
        return float("nan")
    if normals_only and not any(image.normal for image in images):
        return float("nan")
    per_image, found, _ = froc(images, normals_only=normals_only)
    allowed = per_image <= false_per_image
    return float(found[allowed].max()) if allowed.any() else 0.0


def threshold_at(
    images: Sequence[ImageMarks], false_per_image: float, *, normals_only: bool = False
) -> float:
    """The laxest threshold with no more than so many false marks per image."""
    per_image, _, thresholds = froc(images, normals_only=normals_only)
    allowed = np.flatnonzero(per_image <= false_per_image)
    return float(thresholds[allowed[-1]]) if len(allowed) else 1.0


def calibration(
    truth: NDArray[np.bool_], score: Floats, bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean score, share of positives, count) of each non-empty bin of equal width."""
    at = np.minimum((score * bins).astype(int), bins - 1)
    return [
        (
            float(score[at == index].mean()),
            float(truth[at == index].mean()),
            int((at == index).sum()),
        )
        for index in range(bins)
        if (at == index).any()
    ]
