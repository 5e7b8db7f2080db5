"""Batches from the patch cache: balanced, turned, mirrored, cropped to the training size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError
from cadnode.core.intensity import NEUTRAL
from cadnode.training.labels import NO, UNKNOWN, YES
from cadnode.training.patch_cache import PatchCache

Targets = dict[str, NDArray[np.float32]]
GAIN_DEVIATION, OFFSET_DEVIATION = 0.1, 5.0
"""Of the random change of contrast (natural logarithm) and of grey level."""


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """The batches of every epoch, each drawn from (seed, epoch, step) alone.

    An epoch takes each calcification patch once and as many normal ones, drawn anew. With `side`
    below the cached size a part of the patch is taken on cell borders, and its truth with it.
    """

    cache: PatchCache
    indices: NDArray[np.intp]
    batch: int
    side: int
    augment: bool
    seed: int
    steps: int | None = None

    def per_epoch(self) -> int:
        """Batches in one epoch."""
        if self.steps is not None:
            return self.steps
        return max(1, -(-2 * len(self._pool(YES)) // self.batch))

    def epoch(self, number: int) -> list[NDArray[np.intp]]:
        """The patches of each batch of an epoch; half of them calcifications.

        Raises ConfigError when one kind is missing.
        """
        rng = np.random.default_rng((self.seed, number))
        half, total = self.batch // 2, self.per_epoch()
        drawn = []
        for pool, size in ((self._pool(YES), half), (self._pool(NO), self.batch - half)):
            if not len(pool):
                raise ConfigError("training needs calcification patches and normal patches")
            rounds = -(-total * size // len(pool))
            order = np.concatenate([rng.permutation(pool) for _ in range(rounds)])
            drawn.append(order[: total * size].reshape(total, size))
        return list(np.concatenate(drawn, axis=1))

    def load(
        self, chosen: NDArray[np.intp], number: int, step: int
    ) -> tuple[NDArray[np.float32], Targets]:
        """Images (n, side, side, 1) and their targets."""
        rng = np.random.default_rng((self.seed, number, step))
        map_size = self.side * self.cache.cells.shape[1] // self.cache.patches.shape[1]
        images = np.empty((len(chosen), self.side, self.side), np.float32)
        cells = np.empty((len(chosen), map_size, map_size), np.float32)
        patch = np.empty((len(chosen), 1), np.float32)
        for at, index in enumerate(chosen.tolist()):
            image, truth, patch[at] = self._part(index, map_size, rng)
            turns, mirror = (int(rng.integers(4)), int(rng.integers(2))) if self.augment else (0, 0)
            step_right = -1 if mirror else 1
            images[at] = np.rot90(image, turns)[:, ::step_right]
            cells[at] = np.rot90(truth, turns)[:, ::step_right]
        if self.augment:
            shape = (len(chosen), 1, 1)
            gain = np.exp(rng.normal(0, GAIN_DEVIATION, shape)).astype(np.float32)
            offset = rng.normal(0, OFFSET_DEVIATION, shape).astype(np.float32)
            images = (images - NEUTRAL) * gain + NEUTRAL + offset
        return images[..., None], {"patch": patch, "cells": cells[..., None]}

    def _pool(self, label: int) -> NDArray[np.intp]:
        pool: NDArray[np.intp] = self.indices[np.asarray(self.cache.labels)[self.indices] == label]
        return pool

    def _part(
        self, index: int, map_size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
        image, truth = self.cache.patches[index], self.cache.cells[index]
        label = int(self.cache.labels[index])
        spare = len(truth) - map_size
        if not spare:
            return image, truth, label
        low, high = np.zeros(2, np.intp), np.full(2, spare)
        lit = np.argwhere(truth == YES)
        if label == YES and len(lit):
            wanted = lit[int(rng.integers(len(lit)))]
            low, high = np.maximum(wanted - map_size + 1, 0), np.minimum(wanted, spare)
        top, left = rng.integers(low, high + 1)
        part = truth[top : top + map_size, left : left + map_size]
        if label == YES:
            shown = int((part == YES).sum())
            label = YES if shown >= 3 or 2 * shown >= len(lit) else UNKNOWN
        cell = len(image) // len(truth)
        window = np.s_[top * cell : top * cell + self.side, left * cell : left * cell + self.side]
        return image[window], part, label
