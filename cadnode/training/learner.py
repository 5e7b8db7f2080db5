"""One network being trained: steps, scores, and the frozen part's outputs kept aside."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cadnode.training.batches import Batches, Targets
from cadnode.training.fast_layers import Adam
from cadnode.training.frozen_outputs import FrozenOutputs, Tensors, name_of, row_bytes
from cadnode.training.losses import cell_loss, patch_loss
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.speed import SpeedOptions, precision_here
from cadnode.training.two_parts import in_two_parts

FREE_SHARE = 0.5
"""Of the free disk that `auto` takes at most."""
Loaded = tuple[NDArray[np.float32], Targets, tuple[Tensors, NDArray[np.intp]] | None]


class Learner:
    """Trains `network` in place on patches of a cache."""

    def __init__(
        self,
        network: keras.Model,
        cache: PatchCache,
        options: FitOptions,
        speed: SpeedOptions,
        aside: Path,
    ) -> None:
        """`aside` is the folder for the frozen part's outputs. Raises ConfigError when they are
        wanted and the disk has no room."""
        self._cache = cache
        self.precision = precision_here(speed.precision)
        self._parts = in_two_parts(network, self.precision)
        self.optimizer = Adam(
            options.learning_rate, use_ema=options.average > 0, ema_momentum=options.average or 0.99
        )
        self._parts.frozen.compile(jit_compile=False)
        self._kept = self._open(options, speed, aside)
        self._model = self._parts.whole if self._kept is None else self._parts.trained
        self._model.compile(
            optimizer=self.optimizer,
            loss={"patch": patch_loss, "cells": cell_loss},
            loss_weights={"patch": 1.0, "cells": options.cells_weight},
            # XLA on a CPU is slower than none, and takes minutes to compile.
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        self.optimizer.build(self.trained_variables)

    @property
    def trained_variables(self) -> list[Any]:
        """What the optimiser changes."""
        return list(self._parts.trained.trainable_variables)

    def load(self, batches: Batches, indices: NDArray[np.intp], number: int, step: int) -> Loaded:
        """What a step needs from the disk; may run in another thread."""
        images, targets = batches.load(indices, number, step)
        return images, targets, None if self._kept is None else self._kept.read(indices)

    def step(self, indices: NDArray[np.intp], loaded: Loaded) -> tuple[float, float]:
        """Train on one batch; the loss in all, and of the patch head."""
        images, targets, found = loaded
        inputs: Any = images
        if self._kept is not None and found is not None:
            inputs = self._kept.complete(indices, found, lambda at: self._features(images[at]))
        logs: dict[str, Any] = self._model.train_on_batch(inputs, targets, return_dict=True)
        self._model.reset_metrics()
        return float(logs["loss"]), float(logs.get("patch_loss", logs["loss"]))

    def scores(self, indices: NDArray[np.intp], batch: int = 16) -> NDArray[np.float32]:
        """The patch logit of whole patches."""
        found = [self._scores(indices[at : at + batch]) for at in range(0, len(indices), batch)]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def save(self) -> None:
        """Make the frozen part's outputs so far outlive a kill."""
        if self._kept is not None:
            self._kept.save()

    def _scores(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        images = np.asarray(self._cache.patches[indices], np.float32)[..., None]
        inputs: Any = images
        if self._kept is not None:
            inputs = self._kept.complete(
                indices, self._kept.read(indices), lambda at: self._features(images[at])
            )
        logit: NDArray[np.float32] = self._model.predict_on_batch(inputs)["patch"][:, 0]
        return logit

    def _features(self, images: NDArray[np.float32]) -> Tensors:
        made = self._parts.frozen.predict_on_batch(images)
        return list(made) if isinstance(made, list | tuple) else [made]

    def _open(self, options: FitOptions, speed: SpeedOptions, aside: Path) -> FrozenOutputs | None:
        if speed.cache_frozen == "off":
            return None
        if not same_every_epoch(options, self._cache):
            return None
        like = self._features(np.zeros((1, options.side, options.side, 1), np.float32))
        need = row_bytes(like) * len(self._cache)
        # What is there already counts as free: a run is gone on with as it began.
        free = shutil.disk_usage(aside.parent).free + _taken(aside)
        room = min(speed.cache_gigabytes * 1e9, FREE_SHARE * free)
        if speed.cache_frozen == "auto" and need > room:
            return None
        patches = self._cache.patches[: len(self._cache)]
        made_of = name_of(self._parts.frozen.get_weights(), self.precision, patches)
        return FrozenOutputs(aside, like, rows=len(self._cache), of=made_of)


def same_every_epoch(options: FitOptions, cache: PatchCache) -> bool:
    """Whether the network sees the very same images again in each epoch."""
    return not options.augment and options.side == cache.patches.shape[1]


def _taken(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("tensor-*"))
