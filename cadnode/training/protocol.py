"""The published protocol on labelled patches with a fixed test part, as several seeds come out.

For comparing with published figures: it says what the training does, and leaves no bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.errors import ConfigError
from cadnode.training import plots
from cadnode.training.evaluate import PatchFigures, PatchResults
from cadnode.training.fit import StepProgress, fit, logits, read_history, same_options
from cadnode.training.labels import UNKNOWN, YES
from cadnode.training.metrics import Figure
from cadnode.training.network import CELL, build, load_weights
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.report import Table, write_report
from cadnode.training.seed_scores import (
    HALF,
    POINTS,
    SeedScores,
    read_scores,
    write_scores,
)
from cadnode.training.speed import SpeedOptions

PARTS = ("Train", "Test")
SCORES = "scores.csv"
SHOWN = (
    "side",
    "starting_weights",
    "frozen_layers",
    "learning_rate",
    "batch",
    "epochs",
    "validation_share",
    "augment",
)
"""Of the settings, in the report."""


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """One `cadnode protocol`."""

    out: Path
    """Report, patches and a folder for each seed; the same folder again goes on."""
    seeds: int = 5
    fit: FitOptions = field(default_factory=FitOptions)
    speed: SpeedOptions = field(default_factory=SpeedOptions)
    rounds: int = 1000
    """Of the bootstrap."""


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """Every seed at every operating point."""

    report: Path
    figures: dict[str, tuple[PatchFigures, ...]]
    """By operating point, a line for each seed."""

    def median(self, point: str, figure: str) -> float:
        """Of the seeds; `figure` is accuracy, sensitivity, specificity or auc."""
        return float(np.median([getattr(line, figure).value for line in self.figures[point]]))


def load_patches(folder: Path, cache_folder: Path, side: int) -> PatchCache:
    """The 8-bit grey PGM and PNG patches of `Train/0`, `Train/1`, `Test/0` and `Test/1` (0 is
    normal), enlarged to `side`, in a cache. Raises ConfigError where one of the four holds none, on
    any other picture, and when the cache holds others."""
    paths = {
        (part, label): [
            path
            for path in sorted((folder / part / str(label)).glob("*"))
            if path.suffix.lower() in (".pgm", ".png")
        ]
        for part in PARTS
        for label in (0, 1)
    }
    for (part, label), found in paths.items():
        if not found:
            raise ConfigError(f"{folder / part / str(label)} holds no patch (PGM or PNG)")
    rows: list[dict[str, object]] = [
        {"patient": f"{part}/{label}/{path.name}", "part": part, "crc32": crc32(path.read_bytes())}
        for (part, label), found in paths.items()
        for path in found
    ]
    cache = PatchCache(cache_folder, patch_size=side, map_size=side // CELL)
    if cache.rows == rows:
        return cache
    if len(cache):
        raise ConfigError(f"{cache_folder} holds other patches; take another folder")
    cells = np.full((side // CELL, side // CELL), UNKNOWN, np.uint8)
    pictures = [(path, label) for (_, label), found in paths.items() for path in found]
    for (path, label), row in zip(pictures, rows, strict=True):
        cache.append(_enlarged(path, side), label, cells, row)
    cache.save()
    return cache


def _enlarged(path: Path, side: int) -> NDArray[np.float32]:
    try:
        with Image.open(path) as image:
            if image.mode != "L":
                raise ConfigError(f"{path} is no 8-bit grey picture")
            return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no picture that can be read: {error}") from error


def run_protocol(
    folder: Path,
    options: ProtocolOptions,
    *,
    progress: Callable[[int, int, int, float], None] = lambda seed, done, total, loss: None,
) -> ProtocolResult:
    """Train each seed on the training part of `folder`, measure it on the test part, write the
    report. Seeds and epochs that are done are not repeated. `progress` is called with (seed,
    batches done, batches in all, mean loss). Raises ConfigError."""
    cache = load_patches(folder, options.out / "cache", options.fit.side)
    seeds = []
    for number in range(options.seeds):

        def step(done: int, total: int, loss: float, number: int = number) -> None:
            progress(number, done, total, loss)

        chosen = replace(options.fit, seed=number)
        seeds.append(
            one_seed(cache, options.out / f"seed-{number}", chosen, options.speed, progress=step)
        )
    figures = {
        point: tuple(seed.measured(point, options.rounds).overall for seed in seeds)
        for point in POINTS
    }
    order = np.argsort([line.auc.value for line in figures[HALF]], kind="stable")
    middle = seeds[order[len(seeds) // 2]]
    parts = [str(row["part"]) for row in cache.rows]
    settings = options.fit.as_settings()
    report = write_report(
        options.out,
        title=f"The published protocol on {folder.name}",
        facts={
            "patches to train on, with those kept aside": str(parts.count("Train")),
            "patches to test on": str(parts.count("Test")),
            **{key.replace("_", " "): str(settings[key]) for key in SHOWN},
            "seed of the pictures": f"{middle.seed} (median AUC)",
            "validation curves": "the patches kept aside and the test part; nothing is chosen by them",
        },
        tables={f"At {point}": _table(lines) for point, lines in figures.items()},
        drawn="patches (whose patients are not known)",
        plots=_pictures(cache, options.out, middle, middle.measured(HALF, rounds=1)),
    )
    return ProtocolResult(report, figures)


def one_seed(
    cache: PatchCache,
    run: Path,
    options: FitOptions,
    speed: SpeedOptions | None = None,
    *,
    progress: StepProgress = lambda done, total, loss: None,
) -> SeedScores:
    """The scores of one seed's network; kept in `run`, so that it is trained once.

    `options.validation_share` of the training part is kept aside, drawn by the seed. The curves in
    `run/history.csv` are of these and the test part together; nothing is chosen by them.
    """
    run.mkdir(parents=True, exist_ok=True)
    same_options(run, options)
    if (run / SCORES).exists():
        shutil.rmtree(run / "frozen", ignore_errors=True)
        return read_scores(run / SCORES, options.seed)
    # What the seed before left in memory.
    keras.backend.clear_session()
    parts = np.array([str(row["part"]) for row in cache.rows])
    training, test = np.flatnonzero(parts == "Train"), np.flatnonzero(parts == "Test")
    rng = np.random.default_rng(options.seed)
    aside = rng.choice(training, round(options.validation_share * len(training)), replace=False)
    labels = np.asarray(cache.labels)[: len(cache)]
    if len(set(labels[aside].tolist())) < 2:
        raise ConfigError(
            f"of {len(training)} patches, {len(aside)} kept aside are too few: both kinds must be"
            " among them; raise --validation-share"
        )
    unseen = np.sort(np.concatenate([aside, test]))
    result = fit(cache, run, options, progress=progress, held_out=unseen, speed=speed)
    model = build(frozen_layers=options.frozen_layers)
    load_weights(model, result.weights)
    score = logits(model, np.asarray(cache.patches[unseen])).astype(np.float64)
    scores = SeedScores(
        options.seed,
        tuple(str(cache.rows[index]["patient"]) for index in unseen),
        parts[unseen] == "Test",
        labels[unseen] == YES,
        1 / (1 + np.exp(-score)),
    )
    write_scores(run / SCORES, scores)
    # A gigabyte that only the training of this seed needed.
    shutil.rmtree(run / "frozen", ignore_errors=True)
    return scores


def _pictures(
    cache: PatchCache, out: Path, seed: SeedScores, results: PatchResults
) -> dict[str, bytes]:
    """Curves of one seed, and its mistakes to look at."""
    rows = {str(row["patient"]): index for index, row in enumerate(cache.rows)}
    wrong = [
        (f"{name.removeprefix('Test/')} {score:.2f}", np.asarray(cache.patches[rows[name]], float))
        for name, truth, score in zip(results.patients, results.truth, results.score, strict=True)
        if (score >= results.threshold) != truth
    ]
    pictures = {
        "loss-and-accuracy": plots.curves(read_history(out / f"seed-{seed.seed}")),
        "roc": plots.roc_plot(results),
        "reliability": plots.reliability(results),
    }
    return pictures | ({"mistakes": plots.contact_sheet(wrong[:48])} if wrong else {})


def _table(lines: Sequence[PatchFigures]) -> Table:
    columns = ("accuracy", "sensitivity", "specificity", "auc")
    rows: list[list[str | int | Figure]] = [
        [seed, *(getattr(line, column) for column in columns)] for seed, line in enumerate(lines)
    ]
    middle = [float(np.median([getattr(line, c).value for line in lines])) for c in columns]
    rows.append([f"median of {len(lines)}", *(f"{value:.3f}" for value in middle)])
    return ("seed", "accuracy", "sensitivity", "specificity", "AUC"), rows
