"""FROC on simulated views of backgrounds that training never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cadnode.core.annotations import Annotation
from cadnode.core.findings import Finding
from cadnode.core.grid import ModelGrid, cut, tile
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.marks import SPLIT_MM, marks
from cadnode.core.ports import Classifier
from cadnode.training.detection import MARGIN_MM, lax
from cadnode.training.metrics import ImageMarks
from cadnode.training.simulator import Background, SimulatedView, SimulatorSettings, simulate
from cadnode.training.visibility import SEEN

HIT_MM = 5.0
"""From the center of a mark to a calcification it is on."""


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
    apart: bool = True
    """False when another one is so near that one mark stands for both, or real calcium may be."""


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
        yield read(view, found, spec.pitch_mm)


def read(view: SimulatedView, found: Sequence[Finding], pitch_mm: float) -> ReadView:
    """The findings (in grid pixels) against the truth of a view.

    Clusters nearer to each other than what a mark tells apart (`SPLIT_MM`) are one lesion. A mark
    is on it when its center is within `HIT_MM` of a calcification, or a calcification in its
    outline. What touches a place where the tissue itself may hold calcium is neither asked for
    nor false. A mark on a single speck is false.
    """
    unsure = view.unsure
    if unsure.any():
        unsure = np.asarray(distance_transform_edt(~unsure) <= MARGIN_MM / pitch_mm)
    visibility = view.visibility
    read_clusters: dict[int, ReadCluster] = {}
    asked: list[float] = []
    touched: set[int] = set()
    for members in _lesions(view, pitch_mm):
        places = view.calcifications[np.isin(view.owners, members)]
        on_it = [n for n, mark in enumerate(found) if _hits(mark, places, pitch_mm)]
        touched.update(on_it)
        score = max((found[n].score for n in on_it), default=-np.inf)
        clean = not any(_on(unsure, place) for place in places)
        for index in members:
            cluster = view.clusters[index]
            read_clusters[index] = ReadCluster(
                str(cluster.morphology),
                cluster.contrast,
                cluster.median_diameter,
                visibility[index],
                score,
                apart=clean and len(members) == 1,
            )
        if clean and any(visibility[index] >= SEEN for index in members):
            asked.append(score)
    false = [
        mark.score
        for n, mark in enumerate(found)
        if n not in touched and not _on(unsure, np.array(mark.center[::-1]))
    ]
    image = ImageMarks(
        view.background, view.patient, tuple(asked), tuple(false), normal=not view.clusters
    )
    return ReadView(image, tuple(read_clusters[index] for index in sorted(read_clusters)))


def _lesions(view: SimulatedView, pitch_mm: float) -> list[list[int]]:
    """Indices of the clusters, in groups that no mark tells apart."""
    trees = [
        cKDTree(places) if len(places := view.calcifications[view.owners == index]) else None
        for index in range(len(view.clusters))
    ]
    near = np.eye(len(trees), dtype=np.bool_)
    for (one, first), (two, second) in combinations(enumerate(trees), 2):
        if first is not None and second is not None:
            near[one, two] = first.count_neighbors(second, SPLIT_MM / pitch_mm) > 0
    count, labels = connected_components(near, directed=False)
    return [np.flatnonzero(labels == group).tolist() for group in range(count)]


def _hits(mark: Finding, places: NDArray[np.float64], pitch_mm: float) -> bool:
    if not len(places):
        return False
    distance = np.hypot(*(places - np.array(mark.center[::-1])).T)
    if distance.min() * pitch_mm < HIT_MM:
        return True
    outline = Annotation(mark.outline[:-1])
    return any(outline.contains((column, row)) for row, column in places.tolist())


def _on(mask: NDArray[np.bool_], here: NDArray[np.float64]) -> bool:
    row, column = np.minimum(here.astype(np.intp), np.array(mask.shape) - 1)
    return bool(mask[row, column])
