"""Patch and image figures of a model on an annotated set, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadnode.training.metrics import (
    Figure,
    Floats,
    ImageMarks,
    auc,
    average_precision,
    bootstrap,
    froc,
    operating_threshold,
    sensitivity_at,
    threshold_at,
)

FALSE_MARKS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""False marks per image at which the sensitivity is given."""
LEAST_GROUP = 5
"""Smaller groups get no line of their own in a table."""


class ReadImage(Protocol):
    """An image whose marks were scored against the truth."""

    @property
    def marks(self) -> ImageMarks: ...

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """What tables are split by."""


@dataclass(frozen=True, slots=True)
class PatchFigures:
    """One line of the patch table."""

    group: str
    patches: int
    patients: int
    accuracy: Figure
    sensitivity: Figure
    specificity: Figure
    auc: Figure
    average_precision: Figure


@dataclass(frozen=True, slots=True, eq=False)
class PatchResults:
    """Patches with their truth, scores and groups."""

    truth: NDArray[np.bool_]
    score: Floats
    patients: tuple[str, ...]
    threshold: float
    overall: PatchFigures
    by_group: tuple[PatchFigures, ...]


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """One line of the image table."""

    group: str
    images: int
    patients: int
    clusters: int
    sensitivity: tuple[tuple[float, Figure], ...]
    """(false marks per image, share of the clusters marked)."""
    marks_per_normal_image: Figure
    """At the threshold of the model's recommended operating point."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResults:
    """The FROC curve and its tables."""

    false_per_image: Floats
    sensitivity: Floats
    thresholds: Floats
    overall: DetectionFigures
    by_group: tuple[DetectionFigures, ...]
    suggested: tuple[tuple[float, float], ...]
    """(false marks per image, score threshold that gives it)."""


def evaluate_patches(
    truth: NDArray[np.bool_],
    score: Floats,
    patients: Sequence[str],
    *,
    threshold: float | None = None,
    groups: Sequence[Sequence[tuple[str, str]]] | None = None,
    rounds: int = 1000,
) -> PatchResults:
    """The patch table; without a threshold, at the point where slope 1 touches this ROC."""
    if threshold is None:
        threshold = operating_threshold(truth, score)
    everything = np.arange(len(truth))

    def line(name: str, items: NDArray[np.intp]) -> PatchFigures:
        return _patch_line(
            name, truth[items], score[items], [patients[i] for i in items], threshold, rounds
        )

    lines = [line(name, items) for name, items in _members(groups)] if groups else []
    return PatchResults(
        truth, score, tuple(patients), threshold, line("all", everything), tuple(lines)
    )


def evaluate_detection(
    cases: Sequence[ReadImage], *, threshold: float, rounds: int = 1000
) -> DetectionResults:
    """FROC over all images of a set, and marks per normal image at `threshold`.

    False marks are counted on the images known to be normal where there are any, else on all.
    """
    images = [case.marks for case in cases]
    normals_only = any(image.normal for image in images)
    per_image, found, thresholds = froc(images, normals_only=normals_only)

    def line(name: str, items: NDArray[np.intp]) -> DetectionFigures:
        return _detection_line(name, [images[i] for i in items], threshold, rounds)

    lines = [line(name, items) for name, items in _members([case.groups for case in cases])]
    return DetectionResults(
        per_image,
        found,
        thresholds,
        line("all", np.arange(len(images))),
        tuple(lines),
        tuple(
            (rate, threshold_at(images, rate, normals_only=normals_only)) for rate in FALSE_MARKS
        ),
    )


def _members(groups: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, NDArray[np.intp]]]:
    found: dict[tuple[str, str], list[int]] = {}
    for index, names in enumerate(groups):
        for name in names:
            found.setdefault(name, []).append(index)
    return [
        (f"{kind}: {value}", np.array(items))
        for (kind, value), items in sorted(found.items())
        if len(items) >= LEAST_GROUP
    ]


def _patch_line(
    name: str,
    truth: NDArray[np.bool_],
    score: Floats,
    patients: Sequence[str],
    threshold: float,
    rounds: int,
) -> PatchFigures:
    called = score >= threshold

    def share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> Figure:
        def of(items: NDArray[np.intp]) -> float:
            chosen = among[items]
            return float(right[items][chosen].mean()) if chosen.any() else float("nan")

        return bootstrap(of, patients, rounds=rounds)

    return PatchFigures(
        name,
        len(truth),
        len(set(patients)),
        accuracy=share(called == truth, np.ones(len(truth), np.bool_)),
        sensitivity=share(called, truth),
        specificity=share(~called, ~truth),
        auc=bootstrap(lambda items: auc(truth[items], score[items]), patients, rounds=rounds),
        average_precision=bootstrap(
            lambda items: average_precision(truth[items], score[items]), patients, rounds=rounds
        ),
    )


def _detection_line(
    name: str, images: Sequence[ImageMarks], threshold: float, rounds: int
) -> DetectionFigures:
    patients = [image.patient for image in images]
    normals_only = any(image.normal for image in images)

    def sensitivity(rate: float) -> Figure:
        return bootstrap(
            lambda items: sensitivity_at(
                [images[i] for i in items], rate, normals_only=normals_only
            ),
            patients,
            rounds=rounds,
        )

    def marks_on_normals(items: NDArray[np.intp]) -> float:
        normal = [images[i] for i in items if images[i].normal]
        if not normal:
            return float("nan")
        return float(np.mean([sum(s >= threshold for s in image.false_marks) for image in normal]))

    return DetectionFigures(
        name,
        len(images),
        len(set(patients)),
        sum(len(image.lesions) for image in images),
        tuple((rate, sensitivity(rate)) for rate in FALSE_MARKS),
        bootstrap(marks_on_normals, patients, rounds=rounds),
    )
