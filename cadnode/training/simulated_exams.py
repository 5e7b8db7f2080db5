"""FROC on simulated views of backgrounds that training never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cadnode.core.grid import ModelGrid, cut, tile
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.marks import marks
from cadnode.core.ports import Classifier
from cadnode.training.clusters import SINGLE
from cadnode.training.detection import lax
from cadnode.training.metrics import ImageMarks
from cadnode.training.simulator import Background, SimulatedView, SimulatorSettings, simulate

HIT_MM = 5.0
"""A mark is on a cluster when its center is no farther from one of its calcifications."""


def simulated_exams(
    backgrounds: Sequence[Background],
    classifier: Classifier,
    settings: SimulatorSettings,
    *,
    views: int,
    seed: int,
) -> Iterator[ImageMarks]:
    """For each background one view without lesions and `views - 1` with, read and scored.

    A cluster counts with three visible calcifications (one, where one body counts alone).
    """
    lowest = lax(classifier)
    spec = lowest.spec
    spacing = PixelSpacing(spec.pitch_mm, spec.pitch_mm)
    for number, background in enumerate(backgrounds):
        for turn in range(views):
            rng = np.random.default_rng((seed, number, turn))
            view = simulate(background, rng, settings, clusters=None if turn else [])
            origins = tile(view.breast, patch_size=spec.patch_size, stride=spec.stride)
            scores = lowest.classify(cut(view.grey, origins, spec.patch_size))
            shown = view.grey / np.float32(255)
            grid = ModelGrid(shown, view.breast, 1.0, 1.0, (shown.shape[0], shown.shape[1]))
            found = marks(grid, shown, spacing, origins, scores, spec)
            yield _scored(view, [(mark.center, mark.score) for mark in found], spec.pitch_mm)


def _scored(
    view: SimulatedView, found: Sequence[tuple[tuple[float, float], float]], pitch_mm: float
) -> ImageMarks:
    clusters = []
    for index, cluster in enumerate(view.clusters):
        places = view.centers[view.owners == index]
        if len(places) >= (1 if cluster.morphology in SINGLE else 3):
            clusters.append(places)
    best = [-np.inf] * len(clusters)
    false = []
    for (column, row), score in found:
        here = np.array([row, column])
        for number, places in enumerate(clusters):
            if np.hypot(*(places - here).T).min() * pitch_mm < HIT_MM:
                best[number] = max(best[number], score)
        near = len(view.centers) and np.hypot(*(view.centers - here).T).min() * pitch_mm < HIT_MM
        inside = view.unsure[
            min(int(row), view.unsure.shape[0] - 1), min(int(column), view.unsure.shape[1] - 1)
        ]
        if not near and not inside:
            false.append(score)
    return ImageMarks(
        view.background, view.patient, tuple(best), tuple(false), normal=not view.clusters
    )
