"""Fills a patch cache from the simulator: half calcifications, half normal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cadnode.core.grid import cut
from cadnode.training.labels import NO, YES, PatchLabel, label_patch
from cadnode.training.patch_cache import PatchCache
from cadnode.training.simulator import (
    Background,
    SimulatedView,
    SimulatorSettings,
    simulate,
    synthetic_background,
)

Progress = Callable[[int, int], None]
"""Called with (done, total)."""
Choose = Callable[[NDArray[np.float32], NDArray[np.uint8], np.random.Generator], NDArray[np.bool_]]
"""From patches (n, side, side) of grey levels and their labels to which are kept."""
PER_VIEW = 48
"""Patches taken from one simulated view at most."""


def fill(
    cache: PatchCache,
    backgrounds: Sequence[Background],
    settings: SimulatorSettings,
    *,
    count: int,
    seed: int,
    choose: Choose | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Append simulated patches until the cache holds `count`; picks up where it was left.

    View number n is drawn from (seed, n), so that a resumed cache equals an uninterrupted one
    from its last saved view on. Of each view's patches those are kept that `choose` wants.
    """
    number = int(str(cache.rows[-1]["view"])) + 1 if cache.rows else 0
    while len(cache) < count:
        rng = np.random.default_rng((seed, number))
        if rng.random() < settings.synthetic_share:
            background = synthetic_background(rng, settings.pitch_mm)
        else:
            background = backgrounds[int(rng.integers(len(backgrounds)))]
        view = simulate(background, rng, settings)
        append_from(
            view,
            cache,
            rng,
            most=min(PER_VIEW, count - len(cache)),
            row={"view": number},
            choose=choose,
        )
        number += 1
        if number % 10 == 0 or len(cache) >= count:
            cache.save()
        progress(len(cache), count)


def append_from(
    view: SimulatedView,
    cache: PatchCache,
    rng: np.random.Generator,
    *,
    most: int,
    row: Mapping[str, object],
    choose: Choose | None = None,
) -> int:
    """Append patches of one view, about half with calcifications, `most` in all, or what `choose`
    wants of them; how many.

    What is known of a patch's cluster is added to its `row`.
    """
    chosen = _chosen(view, rng, cache, most)
    if not chosen:
        return 0
    origins = np.array([origin for origin, _ in chosen], np.intp)
    patches = cut(view.grey, origins, cache.patches.shape[1])
    kept = np.ones(len(chosen), np.bool_)
    if choose is not None:
        kept = choose(patches, np.array([label.patch for _, label in chosen], np.uint8), rng)
    for index in np.flatnonzero(kept):
        label = chosen[index][1]
        lesion = view.clusters[label.lesion] if label.lesion >= 0 else None
        cache.append(
            patches[index],
            label.patch,
            label.cells,
            {
                **row,
                "patient": view.patient,
                "morphology": lesion.morphology if lesion else "",
                "contrast": round(lesion.contrast, 2) if lesion else 0.0,
                "diameter_mm": round(lesion.median_diameter, 3) if lesion else 0.0,
                "visibility": round(view.visibility[label.lesion], 2) if lesion else 0.0,
            },
        )
    return int(kept.sum())


def _chosen(
    view: SimulatedView, rng: np.random.Generator, cache: PatchCache, most: int
) -> list[tuple[tuple[int, int], PatchLabel]]:
    size, cells = cache.patches.shape[1], cache.cells.shape[1]
    rows, columns = view.grey.shape
    if rows < size or columns < size:
        return []
    found: dict[int, list[tuple[tuple[int, int], PatchLabel]]] = {YES: [], NO: []}
    half = max(1, most // 2)

    def offer(center: NDArray[np.float64], wanted: int) -> None:
        top = int(np.clip(center[0] - size / 2, 0, rows - size))
        left = int(np.clip(center[1] - size / 2, 0, columns - size))
        if view.breast[top : top + size, left : left + size].mean() < 0.15:
            return
        label = label_patch(view, top, left, size, cells)
        if label.patch == wanted and len(found[wanted]) < half:
            found[wanted].append(((top, left), label))

    if view.visible.any():
        owners = np.unique(view.owners[view.visible])
        per_cluster = [np.flatnonzero(view.visible & (view.owners == owner)) for owner in owners]
        for _ in range(2 * half):
            members = per_cluster[int(rng.integers(len(per_cluster)))]
            center = view.calcifications[int(rng.choice(members))]
            offer(center + rng.uniform(-0.45, 0.45, 2) * size, YES)
    inside = np.argwhere(view.breast[::4, ::4]) * 4.0
    wanted_no = max(half // 3, len(found[YES]))
    for _ in range(3 * half):
        if len(found[NO]) >= wanted_no:
            break
        offer(inside[int(rng.integers(len(inside)))] + rng.uniform(-0.3, 0.3, 2) * size, NO)
    return (found[YES] + found[NO])[:most]
