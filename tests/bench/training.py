"""How fast a training goes: `python -m tests.bench.training`.

Patches per second of whole steps (forward, backward, optimiser) at batch 32, 224 x 224, first 100
layers frozen: plain Keras `model.fit` in float32 on the network as `keras.applications` makes it,
and what `cadnode train` does, in turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from cadnode.training.batches import Batches
from cadnode.training.learner import Learner
from cadnode.training.losses import cell_loss, patch_loss
from cadnode.training.network import build
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.speed import SpeedOptions, precision_here
from tests.bench.section import Section, interleaved, ratios, run_alone

PLAIN = "plain model.fit, float32"
RATE = " (patches/s)"


def measure(quick: bool) -> Section:
    """Patches per second, plain and ours."""
    batch, side, runs, steps = (8, 64, 2, 1) if quick else (32, 224, 5, 2)
    with tempfile.TemporaryDirectory() as folder:
        cache = _cache(Path(folder) / "cache", batch * steps, side)
        options = FitOptions(batch=batch, side=side, steps_per_epoch=steps, validation_share=0.1)
        measures: dict[str, Callable[[], float]] = {PLAIN: _plain(cache, options)}
        for precision in dict.fromkeys(("float32", precision_here("auto"))):
            for kept in (False, True):
                name = f"cadnode, {precision}" + (", frozen outputs kept" if kept else "")
                speed = SpeedOptions(precision, "on" if kept else "off")  # type: ignore[arg-type]
                aside = Path(folder) / name.replace(" ", "-")
                measures[name] = _ours(cache, options, speed, aside)
        found = interleaved(measures, runs)
    rows = [["way of training", "patches/s", "times plain", "epoch of 10,000 patches"]]
    for name, values in found.items():
        rate = statistics.median(values)
        times = f"{ratios(values, found[PLAIN]):.2f}"
        rows.append([name, f"{rate:.1f}", times, f"{10_000 / rate / 60:.0f} min"])
    text = (
        f"Training of ResNet-50 with the first 100 layers frozen, Adam, batch {batch}, patches of"
        f" {side} x {side}, on the CPU; {runs} interleaved runs of {steps} step(s) each, medians,"
        " ratios to the run of plain Keras beside it. The same loss and the same gradients to"
        " rounding (tests/integration/test_training_speed.py). `frozen outputs kept` is"
        " `--no-augment` from the second epoch on."
    )
    raw = {name + RATE: values for name, values in found.items()}
    return Section("Training", text, rows, raw)


def _cache(folder: Path, patches: int, side: int) -> PatchCache:
    cache = PatchCache(folder, patch_size=side, map_size=side // 32)
    rng = np.random.default_rng(0)
    for number in range(patches):
        cells = np.full((side // 32, side // 32), number % 2, np.uint8)
        image = rng.normal(100, 30, (side, side)).astype(np.float32)
        cache.append(image, number % 2, cells, {"patient": str(number)})
    return cache


def _plain(cache: PatchCache, options: FitOptions) -> Callable[[], float]:
    model = build(frozen_layers=options.frozen_layers)
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate),
        loss={"patch": patch_loss, "cells": cell_loss},
        jit_compile=False,
    )
    images = np.asarray(cache.patches, np.float32)[..., None]
    truth = {
        "patch": np.asarray(cache.labels, np.float32)[:, None],
        "cells": np.asarray(cache.cells, np.float32)[..., None],
    }

    def run() -> float:
        began = time.perf_counter()
        model.fit(images, truth, batch_size=options.batch, shuffle=False, verbose=0)
        return len(images) / (time.perf_counter() - began)

    run()
    return run


def _ours(
    cache: PatchCache, options: FitOptions, speed: SpeedOptions, aside: Path
) -> Callable[[], float]:
    kept = speed.cache_frozen == "on"
    network = build(frozen_layers=options.frozen_layers)
    wanted = FitOptions(batch=options.batch, side=options.side, augment=not kept)
    learner = Learner(network, cache, wanted, speed, aside)
    everything = np.arange(len(cache))
    batches = Batches(
        cache, everything, options.batch, options.side, not kept, 0, options.steps_per_epoch
    )
    chosen = batches.epoch(0)

    def run() -> float:
        began = time.perf_counter()
        for step, indices in enumerate(chosen):
            learner.step(indices, learner.load(batches, indices, 0, step))
        return sum(map(len, chosen)) / (time.perf_counter() - began)

    run()
    return run


if __name__ == "__main__":
    run_alone(measure, __doc__)
