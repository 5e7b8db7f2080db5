"""From patch scores to findings: one mark for each cluster, in the pixels that were received.

The patches say that there is something, their maps say about where, and the spots on the received
pixels say exactly where. What lies within `SPLIT_MM` of each other is one cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, cKDTree

from cadnode.core.findings import Calcification, Finding, Point
from cadnode.core.grid import ModelGrid
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.model import ModelSpec, PatchScores
from cadnode.core.spots import find_spots

SPLIT_MM = 10.0
"""Farther apart than this, calcifications belong to two clusters."""
ACTIVE_SHARE = 0.5
"""A cell of the map is active from this share of its patch's highest cell."""
LEAST_SPOT_CONTRAST = 6.0
"""In units of the local noise; noise alone reaches 5 in a whole breast."""
LEAST_SPOT_SHARE = 0.2
"""Of the contrast of the strongest spots of the cluster: what is fainter is more likely tissue."""
STRONGEST = 5
"""How many spots stand for "the strongest" of a cluster."""
CLUSTER_SPOTS = 3
"""So many spots are a cluster even where no patch answers most strongly."""
CONTRAST_LIMIT = 2.0
"""One bright calcification pulls the center no more than this many median ones."""
MARGIN_MM = 1.5
"""Between the calcifications and the outline around them."""
BACKGROUND_MM = 3.0
"""Around the active cells, so that a spot at their edge still has its background."""
MOST_CALCIFICATIONS = 100
"""Located in one cluster; the rest says nothing more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The active cells of all positive patches, in received pixels."""

    corners: NDArray[np.float64]
    """(n, 4): first column, first row, last column, last row, inside the image."""
    weight: NDArray[np.float64]
    """Patch probability times map value, shared among the patches that overlap there."""
    patch: NDArray[np.intp]
    peak: NDArray[np.bool_]
    """True for the highest cells of a patch."""

    @property
    def centers(self) -> NDArray[np.float64]:
        return np.asarray((self.corners[:, :2] + self.corners[:, 2:]) / 2)

    def __len__(self) -> int:
        return len(self.corners)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """What becomes one finding."""

    spots: list[Calcification]
    cells: NDArray[np.intp]


def marks(
    grid: ModelGrid,
    mammogram_pixels: NDArray[np.float32],
    spacing: PixelSpacing,
    origins: NDArray[np.intp],
    scores: PatchScores,
    spec: ModelSpec,
) -> tuple[Finding, ...]:
    """The findings of one image, highest score first.

    `origins` are the (row, column) of the scored patches on `grid`; everything that comes back is
    in pixels of `mammogram_pixels`. Patches below the lowest operating point, and what their maps
    show outside the breast, leave no mark.
    """
    cells = _active_cells(grid, origins, scores, spec)
    if not len(cells):
        return ()
    to_mm = np.array([spacing.column, spacing.row])
    spots = _spots_in(cells, mammogram_pixels, spacing)
    findings = [
        _finding(group, cells, scores, spec, to_mm, grid.image_shape)
        for group in _groups(cells, spots, to_mm)
    ]
    return tuple(sorted(findings, key=lambda finding: (-finding.score, finding.center)))


def _active_cells(
    grid: ModelGrid, origins: NDArray[np.intp], scores: PatchScores, spec: ModelSpec
) -> _Cells:
    side = spec.patch_size / spec.map_size
    steps = np.arange(spec.map_size) * side
    corners, weight, patch, peak = [], [], [], []
    for index, probability in enumerate(scores.probability.tolist()):
        if spec.operating_point(probability) is None:
            continue
        heat = scores.maps[index].astype(np.float64)
        rows, columns = np.nonzero(heat >= ACTIVE_SHARE * heat.max())
        top, left = origins[index]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first = np.array([left + steps[column], top + steps[row]])
            if not _touches(grid.breast, first, side):
                continue
            corners.append(np.concatenate([first, first + side]))
            weight.append(probability * heat[row, column])
            patch.append(index)
            peak.append(heat[row, column] >= heat.max())
    on_grid = np.array(corners).reshape(-1, 4)
    limits = np.array(grid.image_shape[::-1], dtype=np.float64)
    on_image = np.hstack([grid.to_image(on_grid[:, :2]), grid.to_image(on_grid[:, 2:])])
    share = _shared(on_grid, origins[patch] if patch else origins[:0], spec.patch_size)
    return _Cells(
        corners=np.clip(on_image, 0, np.tile(limits, 2)),
        # A map of nothing but zeros still says "somewhere in this patch".
        weight=np.maximum(np.array(weight), np.finfo(np.float32).tiny) / share,
        patch=np.array(patch, dtype=np.intp),
        peak=np.array(peak, dtype=np.bool_),
    )


def _touches(breast: NDArray[np.bool_], first: NDArray[np.float64], side: float) -> bool:
    column, row = np.maximum(np.floor(first), 0).astype(np.intp)
    last_column, last_row = np.maximum(np.ceil(first + side), 0).astype(np.intp)
    return bool(breast[row:last_row, column:last_column].any())


def _shared(
    on_grid: NDArray[np.float64], origins: NDArray[np.intp], patch_size: int
) -> NDArray[np.float64]:
    """How many of the positive patches cover the center of each cell."""
    first = np.unique(origins, axis=0)[:, ::-1]
    centers = (on_grid[:, :2] + on_grid[:, 2:]) / 2
    inside = (centers[:, None] >= first) & (centers[:, None] <= first + patch_size)
    return np.asarray(inside.all(axis=2).sum(axis=1), dtype=np.float64)


def _spots_in(
    cells: _Cells, pixels: NDArray[np.float32], spacing: PixelSpacing
) -> list[Calcification]:
    """The spots in and right beside the active cells, looked for in one window per region."""
    spots: list[Calcification] = []
    to_mm = np.array([spacing.column, spacing.row])
    # A cluster that the map has cut off reaches half a cell beyond.
    half = (cells.corners[:, 2:] - cells.corners[:, :2]).max(axis=0) / 2
    limits = np.array(pixels.shape[::-1], dtype=np.float64)
    first = np.clip(cells.corners[:, :2] - half, 0, limits)
    last = np.clip(cells.corners[:, 2:] + half, 0, limits)
    margin = BACKGROUND_MM / to_mm
    apart_mm = float(np.hypot(*((2 * (half + margin)) * to_mm))) * 2
    for members in _linked(cells.centers * to_mm, apart_mm):
        start = np.clip(np.floor(first[members].min(axis=0) - margin), 0, limits).astype(np.intp)
        stop = np.clip(np.ceil(last[members].max(axis=0) + margin), 0, limits).astype(np.intp)
        window = pixels[start[1] : stop[1], start[0] : stop[0]]
        region = np.zeros(window.shape, dtype=np.bool_)
        for cell in members.tolist():
            left, top = np.floor(first[cell] - start).astype(np.intp)
            right, bottom = np.ceil(last[cell] - start).astype(np.intp)
            region[top:bottom, left:right] = True
        found = find_spots(
            window,
            (spacing.row, spacing.column),
            minimum_contrast=LEAST_SPOT_CONTRAST,
            region=region,
        )
        spots += [
            Calcification(
                center=(spot.center[0] + float(start[0]), spot.center[1] + float(start[1])),
                diameter_mm=spot.diameter_mm,
                contrast=spot.contrast,
            )
            for spot in found
        ]
    return spots


def _groups(cells: _Cells, spots: list[Calcification], to_mm: NDArray[np.float64]) -> list[_Group]:
    """The clusters: groups of spots with the cells near them, then cells without any spot.

    A group stands when some patch answers most strongly in it, or when it has spots enough.
    """
    groups: list[_Group] = []
    free = np.ones(len(cells), dtype=np.bool_)
    centers = cells.centers * to_mm
    if spots:
        places = np.array([spot.center for spot in spots]) * to_mm
        labels = np.zeros(len(spots), dtype=np.intp)
        for label, members in enumerate(_linked(places, SPLIT_MM)):
            labels[members] = label
        distance, nearest = cKDTree(places).query(centers)
        free = distance > SPLIT_MM
        for label in range(int(labels.max()) + 1):
            mine = np.flatnonzero(~free & (labels[nearest] == label))
            cluster = [spots[index] for index in np.flatnonzero(labels == label)]
            if cells.peak[mine].any() or (len(cluster) >= CLUSTER_SPOTS and len(mine)):
                groups.append(_Group(_clear(cluster), mine))
    loose = np.flatnonzero(free)
    for members in _linked(centers[loose], SPLIT_MM):
        mine = loose[members]
        if cells.peak[mine].any():
            groups.append(_Group([], mine))
    return groups


def _clear(spots: list[Calcification]) -> list[Calcification]:
    """The spots that stand beside the strongest ones, strongest first."""
    ranked = sorted(spots, key=lambda spot: -spot.contrast)[:MOST_CALCIFICATIONS]
    strongest = float(np.median([spot.contrast for spot in ranked[:STRONGEST]]))
    return [spot for spot in ranked if spot.contrast >= LEAST_SPOT_SHARE * strongest]


def _finding(
    group: _Group,
    cells: _Cells,
    scores: PatchScores,
    spec: ModelSpec,
    to_mm: NDArray[np.float64],
    image_shape: tuple[int, int],
) -> Finding:
    score = float(scores.probability[cells.patch[group.cells]].max())
    operating_point = spec.operating_point(score)
    if operating_point is None:
        raise ValueError(f"a finding of score {score} is below every threshold")
    if group.spots:
        places = np.array([spot.center for spot in group.spots])
        contrast = np.array([spot.contrast for spot in group.spots])
        weight = np.minimum(contrast, CONTRAST_LIMIT * np.median(contrast))
        radii = MARGIN_MM + np.array([spot.diameter_mm for spot in group.spots]) / 2
        around = _circles(places, radii[:, None] / to_mm)
    else:
        places, weight = cells.centers[group.cells], cells.weight[group.cells]
        corners = cells.corners[group.cells]
        around = np.concatenate([corners[:, [i, j]] for i in (0, 2) for j in (1, 3)])
    outline = _hull(np.clip(around, 0, np.array(image_shape[::-1], dtype=np.float64)))
    column, row = np.average(places, axis=0, weights=weight).tolist()
    return Finding(
        score=score,
        center=(column, row),
        outline=outline,
        area_mm2=_area(outline) * float(to_mm.prod()),
        operating_point=operating_point,
        calcifications=tuple(group.spots),
    )


def _circles(centers: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    angles = np.arange(16) * (np.pi / 8)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray((centers[:, None] + radii[:, None] * steps).reshape(-1, 2))


def _hull(points: NDArray[np.float64]) -> tuple[Point, ...]:
    """The convex hull as a closed polygon."""
    vertices = points[ConvexHull(points).vertices]
    closed = np.vstack([vertices, vertices[:1]]).tolist()
    return tuple((column, row) for column, row in closed)


def _area(outline: tuple[Point, ...]) -> float:
    x, y = np.array(outline).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def _linked(points: NDArray[np.float64], distance: float) -> list[NDArray[np.intp]]:
    """Indices of the points, in groups of which each is within `distance` of another one."""
    count = len(points)
    if not count:
        return []
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups, labels = connected_components(links, directed=False)
    return [np.flatnonzero(labels == group) for group in range(groups)]
