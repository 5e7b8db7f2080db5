"""Annotated images to patches: cut once, at the model's pitch, into the cache."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cadnode.core.annotations import Annotation, Case
from cadnode.core.errors import ConfigError, ImageFailed
from cadnode.core.grid import cut, tile, to_model_grid
from cadnode.core.intensity import NORMALISATIONS
from cadnode.training.labels import NO, UNKNOWN, YES
from cadnode.training.options import CutOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.simulated_patches import PER_VIEW, append_from
from cadnode.training.simulator import SimulatorSettings, background_from, simulate

EMPTY_VIEWS = 3
"""So many simulated views without a patch, and the image is too small to give any."""
LEAST_SHARE = 0.25
"""Of an annotated area that a patch must show to count as calcification; less is unknown."""


def fill_from_cases(
    cache: PatchCache,
    cases: Callable[[Container[str]], Iterable[Case]],
    options: CutOptions,
    *,
    closed: bool = False,
    progress: Callable[[int], None] = lambda images: None,
) -> int:
    """Append the patches of every case not yet in the cache; returns how many images failed, with
    those of earlier calls.

    `cases` gives those whose SOP Instance UID is not in what it is called with; `progress` gets the
    number of images done, with those that were in the cache before. Raises ConfigError when the
    cache is `closed`, since it was trained on, and there is a new image.

    Calcification patches lie about each annotation at random offsets, normal ones on the same
    grid that the analysis uses. Images that cannot be cut (no breast found) are counted, not
    raised.
    """
    seen = {str(row["image"]) for row in cache.rows} | set(cache.without_patches)
    progress(len(seen))
    for case in cases(seen):
        name = case.mammogram.sop_instance_uid
        if name in seen:
            continue
        if closed:
            raise ConfigError(
                f"{name} is not among the images that the training in {cache.folder.parent} began"
                " with; a new split would hold out patients that were trained on: take it away, or"
                " take another folder"
            )
        before, failed = len(cache), False
        try:
            _add(cache, case, options)
            if options.simulated and case.complete:
                _simulate(cache, case, options)
        except ImageFailed:
            failed = True
        if len(cache) == before:
            cache.without_patches[name] = failed
        cache.save()
        seen.add(name)
        progress(len(seen))
    return sum(cache.without_patches.values())


def _add(cache: PatchCache, case: Case, options: CutOptions) -> None:
    image = case.mammogram
    grid = to_model_grid(image.pixels, image.valid, image.spacing, options.pitch_mm)
    grey = NORMALISATIONS[options.normalisation](grid.pixels, grid.breast)
    scale = (1 / grid.column_scale, 1 / grid.row_scale)
    truths = [annotation.scaled(*scale) for annotation in case.annotations]
    shape = (grey.shape[0], grey.shape[1])
    masks = [truth.mask(shape) for truth in truths]
    rng = _drawn(image.sop_instance_uid, options.seed)
    origins = [
        _about(truth, rng, shape, options) for truth in truths for _ in range(options.shifts)
    ]
    if case.complete:
        grid_origins = tile(grid.breast, patch_size=options.patch_size, stride=options.stride)
        origins += [(int(row), int(column)) for row, column in rng.permutation(grid_origins)]
    normals = 0
    for origin in origins:
        label, cells = _label(masks, origin, options)
        if label == UNKNOWN or (label == NO and normals >= options.normals_per_image):
            continue
        if label == NO and not case.complete:
            continue
        normals += label == NO
        patch = cut(grey, np.array([origin], np.intp), options.patch_size)[0]
        row: dict[str, object] = {"image": image.sop_instance_uid, "patient": case.patient}
        row["groups"] = [list(group) for group in case.groups]
        cache.append(patch, label, cells, row)


def _simulate(cache: PatchCache, case: Case, options: CutOptions) -> None:
    """Views of the image with simulated clusters, until there are patches enough."""
    image = case.mammogram
    background = background_from(
        image, case.patient, pitch_mm=options.pitch_mm, unsure=case.annotations
    )
    settings = SimulatorSettings(options.pitch_mm, options.normalisation, synthetic_share=0.0)
    row = {
        "image": image.sop_instance_uid,
        "groups": [list(group) for group in case.groups],
        "simulated": True,
    }
    rng = _drawn(image.sop_instance_uid, options.seed, 1)
    wanted = options.simulated
    empty = 0
    while wanted > 0 and empty < EMPTY_VIEWS:
        view = simulate(background, rng, settings)
        found = append_from(view, cache, rng, most=min(wanted, PER_VIEW), row=row)
        wanted -= found
        empty = 0 if found else empty + 1


def _drawn(sop_instance_uid: str, *seed: int) -> np.random.Generator:
    """The image's own random numbers, whatever the order in which images come."""
    return np.random.default_rng((*seed, crc32(sop_instance_uid.encode())))


def _about(
    truth: Annotation, rng: np.random.Generator, shape: tuple[int, int], options: CutOptions
) -> tuple[int, int]:
    """An origin that puts a random part of the annotation somewhere well inside the patch."""
    column, row = truth.center
    reach = 0.3 * options.patch_size
    down, right = rng.uniform(-reach, reach, 2)
    top = row + down - options.patch_size / 2
    left = column + right - options.patch_size / 2
    return (
        int(np.clip(top, 0, max(0, shape[0] - options.patch_size))),
        int(np.clip(left, 0, max(0, shape[1] - options.patch_size))),
    )


def _label(
    masks: list[NDArray[np.bool_]], origin: tuple[int, int], options: CutOptions
) -> tuple[int, NDArray[np.uint8]]:
    top, left = origin
    size, cells = options.patch_size, options.map_size
    cell = size // cells
    truth = np.zeros((cells, cells), np.uint8)
    label = NO
    for mask in masks:
        part = np.zeros((size, size), np.bool_)
        shown = mask[top : top + size, left : left + size]
        part[: shown.shape[0], : shown.shape[1]] = shown
        if not part.any():
            continue
        enough = part.sum() >= LEAST_SHARE * min(int(mask.sum()), size * size)
        label = YES if enough or label == YES else UNKNOWN
        shares = part[: cells * cell, : cells * cell].reshape(cells, cell, cells, cell).mean((1, 3))
        # An outline is coarse: inside it a cell may or may not hold calcium.
        truth[(shares > 0) & (truth == NO)] = UNKNOWN
        truth[shares > 0.5] = YES
    return label, truth
