"""Simulated calcifications in real or synthetic tissue, with exact truth.

The unit is a whole view on the model's pixel grid, so that what training sees has gone through
the same normalisation, breast mask and cutting as what the node analyses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadnode.core.grid import resample
from cadnode.core.intensity import NORMALISATIONS, local_texture
from cadnode.training.artefacts import after_blur, before_blur, isolated_specks
from cadnode.training.clusters import SINGLE, Cluster, ClusterRules, draw_cluster
from cadnode.training.detector import blur, draw_detector, expose
from cadnode.training.particles import draw
from cadnode.training.tissue import power_law, synthetic_breast

VISIBLE = 2.5
"""Contrast after blur, in units of the local texture, below which nobody could see a particle."""


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Tissue to insert into, on the model's grid."""

    name: str
    patient: str
    pixels: NDArray[np.float32]
    breast: NDArray[np.bool_]
    unsure: NDArray[np.bool_]
    """Where the tissue itself may hold calcifications: no truth is claimed there."""


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What is drawn; every part can be turned off for an ablation."""

    pitch_mm: float = 0.1
    normalisation: str = "local-contrast"
    clusters_per_view: float = 5.0
    rules: ClusterRules = field(default_factory=ClusterRules)
    hard_negatives: bool = True
    vary_detector: bool = True
    synthetic_share: float = 0.2
    """Share of views on synthetic tissue."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedView:
    """One view, normalised, and where what is. Positions are (row, column) in grid pixels."""

    background: str
    patient: str
    grey: NDArray[np.float32]
    """0..255, as the model takes it."""
    breast: NDArray[np.bool_]
    clusters: tuple[Cluster, ...]
    centers: NDArray[np.float64]
    """Shape (n, 2): the visible calcifications."""
    owners: NDArray[np.intp]
    """Shape (n,): index into `clusters`."""
    doubtful: NDArray[np.float64]
    """Shape (m, 2): calcifications too faint to ask for, and isolated specks."""
    unsure: NDArray[np.bool_]


def simulate(
    background: Background,
    rng: np.random.Generator,
    settings: SimulatorSettings,
    *,
    clusters: Sequence[Cluster] | None = None,
    turn: bool = True,
) -> SimulatedView:
    """Draw lesions and artefacts into one background and take the picture.

    With `clusters` given, exactly those are inserted (positions in mm on the turned background).
    """
    pitch = settings.pitch_mm
    pixels, breast, unsure = background.pixels, background.breast, background.unsure
    if turn:
        pixels, breast, unsure = _turned(pixels, breast, unsure, rng)
    shape = (pixels.shape[0], pixels.shape[1])
    texture = local_texture(pixels, breast)
    detector = draw_detector(rng, pitch)
    inside = np.argwhere(breast[::8, ::8]) * 8
    if clusters is None:
        count = rng.poisson(settings.clusters_per_view)
        spots = inside[rng.integers(0, len(inside), count)] * pitch
        clusters = [draw_cluster(rng, float(r), float(c), settings.rules) for r, c in spots]
    layers = [_layer(cluster, shape, pitch) for cluster in clusters]
    calcium = (
        blur(np.sum(layers, axis=0, dtype=np.float32), detector, pitch)
        if layers
        else np.zeros(shape, np.float32)
    )
    specks: list[tuple[float, float]] = []
    extra = np.zeros(shape, np.float32)
    sharp: NDArray[np.float32] | float = 0.0
    if settings.hard_negatives:
        extra = before_blur(shape, rng, pitch)
        specks = isolated_specks(shape, rng, pitch, extra)
        extra = blur(extra, detector, pitch)
        sharp = after_blur(shape, rng, pitch)
        if rng.random() < 0.4:
            extra += rng.uniform(0.2, 1.0) * power_law(shape, rng, rng.uniform(1.5, 3.0))
    seen = pixels + texture * (calcium + extra + sharp)
    if settings.vary_detector:
        seen = expose(seen, texture, detector, rng, pitch)
    grey = NORMALISATIONS[settings.normalisation](seen.astype(np.float32), breast)
    centers, owners, doubtful = _truth(clusters, calcium, breast, pitch)
    doubtful += [(row / pitch, column / pitch) for row, column in specks]
    return SimulatedView(
        background.name,
        background.patient,
        grey,
        breast,
        tuple(clusters),
        np.array(centers, float).reshape(-1, 2),
        np.array(owners, np.intp),
        np.array(doubtful, float).reshape(-1, 2),
        unsure,
    )


def synthetic_background(rng: np.random.Generator, pitch_mm: float) -> Background:
    """A made-up view of its own made-up patient."""
    pixels, breast = synthetic_breast(
        rng, pitch_mm, height_mm=rng.uniform(110, 170), width_mm=rng.uniform(55, 95)
    )
    return Background("synthetic", "synthetic", pixels, breast, np.zeros(breast.shape, np.bool_))


def _turned(
    pixels: NDArray[np.float32],
    breast: NDArray[np.bool_],
    unsure: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Cropped to the breast, mirrored, turned by quarters and zoomed by up to a quarter."""
    rows = np.flatnonzero(breast.any(axis=1))
    columns = np.flatnonzero(breast.any(axis=0))
    box = np.s_[max(rows[0] - 20, 0) : rows[-1] + 20, max(columns[0] - 20, 0) : columns[-1] + 20]
    zoom = float(np.exp(rng.uniform(-0.25, 0.25)))
    shape = tuple(max(64, round(side * zoom)) for side in pixels[box].shape)
    quarters, mirror = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    bigger = resample(pixels[box], shape=(shape[0], shape[1]))
    masks = [
        resample(mask[box].astype(np.float32), shape=(shape[0], shape[1])) > 0.5
        for mask in (breast, unsure)
    ]
    turned = [np.rot90(array, quarters) for array in (bigger, *masks)]
    if mirror:
        turned = [array[:, ::-1] for array in turned]
    first, second, third = (np.ascontiguousarray(array) for array in turned)
    return first.astype(np.float32), second.astype(np.bool_), third.astype(np.bool_)


def _layer(cluster: Cluster, shape: tuple[int, int], pitch: float) -> NDArray[np.float32]:
    layer = np.zeros(shape, np.float32)
    for particle in cluster.particles:
        size = float(np.clip((particle.radius / 0.2) ** 0.5, 0.6, 1.6))
        draw(layer, particle, pitch_mm=pitch, amount=cluster.contrast * size)
    return layer


def _truth(
    clusters: Sequence[Cluster],
    calcium: NDArray[np.float32],
    breast: NDArray[np.bool_],
    pitch: float,
) -> tuple[list[tuple[float, float]], list[int], list[tuple[float, float]]]:
    centers: list[tuple[float, float]] = []
    owners: list[int] = []
    doubtful: list[tuple[float, float]] = []
    for index, cluster in enumerate(clusters):
        reach = (
            2 if cluster.morphology not in SINGLE else int(cluster.particles[0].reach / pitch) + 1
        )
        for row, column in cluster.centers:
            r, c = int(row / pitch), int(column / pitch)
            if not (0 <= r < breast.shape[0] and 0 <= c < breast.shape[1]) or not breast[r, c]:
                continue
            around = calcium[max(r - reach, 0) : r + reach + 1, max(c - reach, 0) : c + reach + 1]
            if around.max() >= VISIBLE:
                centers.append((row / pitch, column / pitch))
                owners.append(index)
            else:
                doubtful.append((row / pitch, column / pitch))
    return centers, owners, doubtful
