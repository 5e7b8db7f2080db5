"""The published protocol on a public set of patches (`Train/0`, `Train/1`, `Test/0`, `Test/1`).

For comparison with published figures only: where the images come from is not stated, so they never
touch the weights of a bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from cadnode.core.errors import ConfigError
from cadnode.training.fit import StepProgress, fit, logits
from cadnode.training.labels import UNKNOWN, YES
from cadnode.training.metrics import auc
from cadnode.training.network import build, load_weights
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.speed import SpeedOptions


@dataclass(frozen=True, slots=True)
class PisaResult:
    """One seed on the fixed test part."""

    seed: int
    accuracy: float
    sensitivity: float
    specificity: float
    auc: float


def load_pisa(folder: Path, cache_folder: Path, side: int) -> PatchCache:
    """The patches enlarged to `side`, in a cache. Raises ConfigError when there are none."""
    cache = PatchCache(cache_folder, patch_size=side, map_size=side // 32, capacity=2000)
    if len(cache):
        return cache
    cells = np.full((side // 32, side // 32), UNKNOWN, np.uint8)
    for part in ("Train", "Test"):
        for label in (0, 1):
            for path in sorted((folder / part / str(label)).glob("*.pgm")):
                with Image.open(path) as image:
                    enlarged = image.convert("L").resize((side, side), Image.Resampling.BICUBIC)
                row: dict[str, object] = {"patient": path.stem, "part": part}
                cache.append(np.asarray(enlarged, np.float32), label, cells, row)
    if not len(cache):
        raise ConfigError(f"{folder} holds no patch")
    cache.save()
    return cache


def protocol(
    cache: PatchCache,
    run: Path,
    options: FitOptions,
    *,
    speed: SpeedOptions | None = None,
    progress: StepProgress = lambda done, total, loss: None,
) -> PisaResult:
    """Train on the fixed training part by `options`, measure on the test part at score 0.5."""
    keras.backend.clear_session()
    parts = np.array([str(row["part"]) for row in cache.rows])
    training, test = np.flatnonzero(parts == "Train"), np.flatnonzero(parts == "Test")
    rng = np.random.default_rng(options.seed)
    held = rng.choice(training, round(options.validation_share * len(training)), replace=False)
    result = fit(
        cache,
        run,
        options,
        progress=progress,
        held_out=np.concatenate([held, test]),
        speed=speed,
    )
    model = build(frozen_layers=options.frozen_layers)
    load_weights(model, result.weights)
    truth = np.asarray(cache.labels)[test] == YES
    score = logits(model, np.asarray(cache.patches[test])).astype(np.float64)
    called = score > 0
    return PisaResult(
        options.seed,
        float((called == truth).mean()),
        float(called[truth].mean()),
        float((~called[~truth]).mean()),
        auc(truth, score),
    )
