"""FROC on simulated views of backgrounds that training never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from cadnode.core.grid import ModelGrid, cut, tile
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.marks import marks
from cadnode.core.ports import Classifier
from cadnode.training.detection import MARGIN_MM, lax
from cadnode.training.metrics import ImageMarks
from cadnode.training.simulator import Background, SimulatedView, SimulatorSettings, simulate
from cadnode.training.visibility import SEEN

HIT_MM = 5.0
"""A mark is on a cluster when its center is no farther from one of its calcifications."""


@dataclass(frozen=True, slots=True)
class ReadCluster:
    """One simulated cluster, visible or not, and the best mark on it."""

    morphology: str
    contrast: float
    diameter_mm: float
    visibility: float
    """As of SimulatedView."""
    score: float
    """Minus infinity without a mark."""


@dataclass(frozen=True, slots=True)
class ReadView:
    """One simulated view after reading."""

    marks: ImageMarks
    """Only visible clusters are asked for; a mark on a faint one is neither hit nor false."""
    clusters: tuple[ReadCluster, ...]
    """All of them: their scores by visibility are the limit of detection."""
    groups: tuple[tuple[str, str], ...] = ()
    """What tables are split by, as of the image that lent its tissue."""


def simulated_exams(
    background: Background,
    classifier: Classifier,
    settings: SimulatorSettings,
    *,
    views: int,
    seed: Sequence[int],
    turn: bool = True,
) -> Iterator[ReadView]:
    """One view of the background without lesions and `views - 1` with, read and scored.

    View number n is drawn from (*seed, n), and turned at random unless `turn` is off.
    """
    lowest = lax(classifier)
    spec = lowest.spec
    spacing = PixelSpacing(spec.pitch_mm, spec.pitch_mm)
    for number in range(views):
        rng = np.random.default_rng((*seed, number))
        view = simulate(background, rng, settings, clusters=None if number else [], turn=turn)
        origins = tile(view.breast, patch_size=spec.patch_size, stride=spec.stride)
        scores = lowest.classify(cut(view.grey, origins, spec.patch_size))
        shown = view.grey / np.float32(255)
        grid = ModelGrid(shown, view.breast, 1.0, 1.0, (shown.shape[0], shown.shape[1]))
        found = marks(grid, shown, spacing, origins, scores, spec)
        yield read(view, [(mark.center, mark.score) for mark in found], spec.pitch_mm)


def read(
    view: SimulatedView, found: Sequence[tuple[tuple[float, float], float]], pitch_mm: float
) -> ReadView:
    """Marks (center as (column, row) in grid pixels, score) against the truth of a view.

    What touches a place where the tissue itself may hold calcium is neither asked for nor false.
    A mark on a single speck is false.
    """
    unsure = view.unsure
    if unsure.any():
        reach = MARGIN_MM / pitch_mm
        unsure = np.asarray(distance_transform_edt(~unsure) <= reach)
    centers = [(np.array([row, column]), score) for (column, row), score in found]
    read_clusters = []
    for index, cluster in enumerate(view.clusters):
        places = view.calcifications[view.owners == index]
        hits = [score for here, score in centers if _distance(places, here) * pitch_mm < HIT_MM]
        read_clusters.append(
            ReadCluster(
                str(cluster.morphology),
                cluster.contrast,
                cluster.median_diameter,
                view.visibility[index],
                max(hits, default=-np.inf),
            )
        )
    false = [
        score
        for here, score in centers
        if _distance(view.calcifications, here) * pitch_mm >= HIT_MM and not _on(unsure, here)
    ]
    image = ImageMarks(
        view.background,
        view.patient,
        tuple(
            each.score
            for index, each in enumerate(read_clusters)
            if each.visibility >= SEEN
            and not any(_on(unsure, place) for place in view.calcifications[view.owners == index])
        ),
        tuple(false),
        normal=not view.clusters,
    )
    return ReadView(image, tuple(read_clusters))


def _distance(places: NDArray[np.float64], here: NDArray[np.float64]) -> float:
    return float(np.hypot(*(places - here).T).min()) if len(places) else np.inf


def _on(mask: NDArray[np.bool_], here: NDArray[np.float64]) -> bool:
    row, column = np.minimum(here.astype(np.intp), np.array(mask.shape) - 1)
    return bool(mask[row, column])
