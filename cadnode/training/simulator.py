"""Simulated calcifications in real or synthetic tissue, with exact truth.

The unit is a whole view on the model's pixel grid, so that what training sees has gone through
the same normalisation, breast mask and cutting as what the node analyses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadnode.core.annotations import Annotation
from cadnode.core.grid import to_model_grid
from cadnode.core.intensity import NORMALISATIONS, local_texture
from cadnode.core.mammogram import Mammogram
from cadnode.training.artefacts import after_blur, before_blur, isolated_specks
from cadnode.training.clusters import SINGLE, Cluster, ClusterRules, draw_cluster
from cadnode.training.detector import Detector, blur, draw_detector, expose
from cadnode.training.distortion import distorted
from cadnode.training.particles import draw
from cadnode.training.tissue import fibres, power_law, synthetic_breast
from cadnode.training.visibility import SEEN, seen_together, signal_to_noise

PLACES_APART = 8
"""Pixels between the places a cluster's center is drawn from."""
GROUP = 3
"""So many visible calcifications make a cluster, where one body does not count alone."""


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
    grain: bool = False
    """Noise of the received pixels besides, in half of the views."""
    vary_tissue: bool = True
    """Stretch real tissue, change its sharpness and lay fibres over it. Off for measuring."""
    together: bool = False
    """Ask for fainter calcifications too, where enough of them lie together. Off for measuring."""
    synthetic_share: float = 0.5
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
    calcifications: NDArray[np.float64]
    """Shape (n, 2): everything simulated that lies in the breast."""
    owners: NDArray[np.intp]
    """Shape (n,): index into `clusters`."""
    ratios: NDArray[np.float64]
    """Shape (n,): signal-to-noise ratio of each in the finished picture."""
    specks: NDArray[np.float64]
    """Shape (k, 2): single dots of no group, neither a cluster nor clean."""
    unsure: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    """Shape (n,): which calcifications are asked for."""

    @property
    def visibility(self) -> tuple[float, ...]:
        """Of each cluster: the ratio of its third-best calcification (of its best, where one body
        counts alone); 0 where it has fewer in the breast."""
        found = []
        for index, cluster in enumerate(self.clusters):
            rank = 1 if cluster.morphology in SINGLE else GROUP
            ranked = np.sort(self.ratios[self.owners == index])[::-1]
            found.append(float(ranked[rank - 1]) if len(ranked) >= rank else 0.0)
        return tuple(found)


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
        pixels, breast, unsure = distorted(
            pixels, breast, unsure, rng, strongly=settings.vary_tissue
        )
    shape = (pixels.shape[0], pixels.shape[1])
    texture = local_texture(pixels, breast)
    detector = draw_detector(rng, pitch, grain=settings.grain)
    if clusters is None:
        step = PLACES_APART if breast[::PLACES_APART, ::PLACES_APART].any() else 1
        inside = np.argwhere(breast[::step, ::step]) * step
        count = rng.poisson(settings.clusters_per_view)
        spots = inside[rng.integers(0, len(inside), count)] * pitch
        clusters = [draw_cluster(rng, float(r), float(c), settings.rules) for r, c in spots]
    layers = [_layer(cluster, shape, pitch) for cluster in clusters]
    calcium = (
        blur(np.sum(layers, axis=0, dtype=np.float32), detector, pitch)
        if layers
        else np.zeros(shape, np.float32)
    )
    without, specks = pixels, np.empty((0, 2))
    if settings.hard_negatives:
        extra, specks = _artefacts(shape, rng, settings, detector)
        without = pixels + texture * extra
    seen = without + texture * calcium
    if settings.vary_detector:
        grain = int(rng.integers(2**63))
        without, seen = (
            expose(image, texture, detector, np.random.default_rng(grain), pitch)
            for image in (without, seen)
        )
    grey = NORMALISATIONS[settings.normalisation](seen.astype(np.float32), breast)
    ratio = signal_to_noise(seen.astype(np.float32), without.astype(np.float32), breast)
    places, owners, ratios = (np.array(a) for a in _truth(clusters, ratio, breast, pitch))
    places, owners = places.reshape(-1, 2).astype(float), owners.astype(np.intp)
    visible = ratios >= SEEN
    if settings.together:
        visible |= seen_together(places * pitch, owners, ratios)
    return SimulatedView(
        background.name,
        background.patient,
        grey,
        breast,
        tuple(clusters),
        places,
        owners,
        ratios.astype(float),
        specks / pitch,
        unsure,
        visible.astype(np.bool_),
    )


def _artefacts(
    shape: tuple[int, int],
    rng: np.random.Generator,
    settings: SimulatorSettings,
    detector: Detector,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The hard negatives, in units of the local texture, and the places of the specks in mm."""
    pitch = settings.pitch_mm
    extra = before_blur(shape, rng, pitch)
    specks = isolated_specks(shape, rng, pitch, extra)
    extra = blur(extra, detector, pitch) + after_blur(shape, rng, pitch)
    if rng.random() < 0.4:
        extra += rng.uniform(0.2, 1.0) * power_law(shape, rng, rng.uniform(1.5, 3.0))
    if settings.vary_tissue and rng.random() < 0.4:
        extra += rng.uniform(0.2, 1.2) * fibres(shape, rng, pitch)
    return extra, np.array(specks, float).reshape(-1, 2)


def background_from(
    mammogram: Mammogram, patient: str, *, pitch_mm: float, unsure: Sequence[Annotation] = ()
) -> Background:
    """Real tissue to insert into; `unsure` are places that may hold real calcifications.

    Raises ImageFailed where there is no breast.
    """
    grid = to_model_grid(mammogram.pixels, mammogram.valid, mammogram.spacing, pitch_mm)
    shape = (grid.pixels.shape[0], grid.pixels.shape[1])
    doubtful = np.zeros(shape, np.bool_)
    for annotation in unsure:
        doubtful |= annotation.scaled(1 / grid.column_scale, 1 / grid.row_scale).mask(shape)
    return Background(mammogram.sop_instance_uid, patient, grid.pixels, grid.breast, doubtful)


def synthetic_background(rng: np.random.Generator, pitch_mm: float) -> Background:
    """A made-up view of its own made-up patient."""
    pixels, breast = synthetic_breast(
        rng, pitch_mm, height_mm=rng.uniform(110, 170), width_mm=rng.uniform(55, 95)
    )
    return Background("synthetic", "synthetic", pixels, breast, np.zeros(breast.shape, np.bool_))


def _layer(cluster: Cluster, shape: tuple[int, int], pitch: float) -> NDArray[np.float32]:
    layer = np.zeros(shape, np.float32)
    for particle in cluster.particles:
        size = float(np.clip((particle.radius / 0.2) ** 0.5, 0.6, 1.6))
        draw(layer, particle, pitch_mm=pitch, amount=cluster.contrast * size)
    return layer


def _truth(
    clusters: Sequence[Cluster],
    ratio: NDArray[np.float32],
    breast: NDArray[np.bool_],
    pitch: float,
) -> tuple[list[tuple[float, float]], list[int], list[float]]:
    """Place in pixels, cluster and best ratio of every calcification in the breast."""
    places: list[tuple[float, float]] = []
    owners: list[int] = []
    ratios: list[float] = []
    for index, cluster in enumerate(clusters):
        reach = (
            2 if cluster.morphology not in SINGLE else int(cluster.particles[0].reach / pitch) + 1
        )
        for row, column in cluster.centers:
            r, c = int(row / pitch), int(column / pitch)
            if not (0 <= r < breast.shape[0] and 0 <= c < breast.shape[1]) or not breast[r, c]:
                continue
            around = ratio[max(r - reach, 0) : r + reach + 1, max(c - reach, 0) : c + reach + 1]
            places.append((row / pitch, column / pitch))
            owners.append(index)
            ratios.append(float(around.max()))
    return places, owners, ratios
