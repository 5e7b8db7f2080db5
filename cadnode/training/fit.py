"""Trains the network on a patch cache; a killed run goes on where it was."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError
from cadnode.inference.bundle import load_bundle
from cadnode.training.batches import Batches
from cadnode.training.event_log import EventLog
from cadnode.training.labels import UNKNOWN, YES
from cadnode.training.learner import Learner, same_every_epoch
from cadnode.training.metrics import auc
from cadnode.training.network import (
    build,
    frozen_without,
    load_weights,
    start_from,
    weights_of,
)
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.speed import SpeedOptions
from cadnode.training.split import split_patches
from cadnode.training.two_parts import in_two_parts

STATE = "state.npz"
EVENTS = "tensorboard"
HISTORY = "history.csv"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    seconds: float
    learning_rate: float
    loss: float
    patch_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """A trained network."""

    weights: dict[str, NDArray[np.float32]]
    history: tuple[Epoch, ...]
    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    """Indices into the cache."""
    precision: str
    """Of the products: float32 or bfloat16."""


StepProgress = Callable[[int, int, float], None]
"""Called with (batches done, batches in all, mean loss of the epoch so far)."""


def fit(
    cache: PatchCache,
    run: Path,
    options: FitOptions,
    *,
    progress: StepProgress = lambda done, total, loss: None,
    held_out: NDArray[np.intp] | None = None,
    speed: SpeedOptions | None = None,
) -> FitResult:
    """Train by `options`; `run` keeps the state after each epoch, `history.csv`, and event files
    for TensorBoard in `tensorboard/`.

    Called again with the same cache, folder and options it continues after the last finished
    epoch. `held_out` names the validation patches instead of a drawn split. Raises ConfigError
    when the folder holds a run with other options. `speed` changes nothing of what is trained but
    the rounding.
    """
    speed = speed or SpeedOptions()
    if speed.cache_frozen == "on" and not same_every_epoch(options, cache):
        raise ConfigError(
            "the frozen part's outputs can be kept only without augmentation and on whole patches"
            " (--no-augment)"
        )
    run.mkdir(parents=True, exist_ok=True)
    same_options(run, options)
    training, validation = _split(cache, options, held_out)
    keras.utils.set_random_seed(options.seed)
    model = _network(options)
    # Before the learner: it folds the frozen layers as they are now.
    _restore(run, model.variables)
    learner = Learner(model, cache, options, speed, run / "frozen")
    batches = Batches(
        cache,
        training,
        options.batch,
        options.side,
        options.augment,
        options.seed,
        options.steps_per_epoch,
    )
    history = _restore(run, [*model.variables, *learner.optimizer.variables], whole=True)
    _same_patches(run, len(training) + len(validation), begun=bool(history))
    total = options.epochs * batches.per_epoch()
    with closing(EventLog(run / EVENTS)) as events:
        for epoch in history:
            _log(events, epoch)
        for number in range(len(history), options.epochs):
            began = time.monotonic()
            losses = _one_epoch(learner, batches, number, total, options, progress)
            measured = _measure(learner, cache, validation)
            history.append(
                Epoch(
                    number + 1,
                    time.monotonic() - began,
                    _rate(options, (number + 1) * batches.per_epoch(), total),
                    *losses,
                    *measured,
                )
            )
            _keep(run, model, learner, history)
            _log(events, history[-1])
    if options.average > 0:
        learner.optimizer.finalize_variable_values(learner.trained_variables)
    return FitResult(weights_of(model), tuple(history), training, validation, learner.precision)


def logits(
    model: keras.Model, images: NDArray[np.uint8] | NDArray[np.float32], batch: int = 16
) -> NDArray[np.float32]:
    """The patch logit of each image (n, side, side), in float32."""
    whole = in_two_parts(model, "float32").whole
    whole.compile(jit_compile=False)
    found = [
        whole.predict_on_batch(images[at : at + batch].astype(np.float32)[..., None])["patch"][:, 0]
        for at in range(0, len(images), batch)
    ]
    return np.concatenate(found) if found else np.empty(0, np.float32)


def read_history(run: Path) -> list[Epoch]:
    """The epochs that are done."""
    path = run / HISTORY
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Epoch(int(row["epoch"]), **{key: float(row[key]) for key in row if key != "epoch"})
            for row in csv.DictReader(file)
        ]


def same_options(run: Path, options: FitOptions) -> None:
    """Keep the options in the folder of a run; ConfigError when it has epochs with others."""
    path = run / "options.json"
    text = json.dumps(options.as_settings(), indent=1, sort_keys=True)
    if path.exists() and path.read_text("utf-8") != text and read_history(run):
        raise ConfigError(f"{run} holds a run with other options; take another folder")
    path.write_text(text, "utf-8")


def _same_patches(run: Path, patches: int, *, begun: bool) -> None:
    """Refuse other patches in a run that has begun: what was trained on would be held out."""
    path = run / "patches.json"
    if begun and path.exists() and json.loads(path.read_text("utf-8")) != patches:
        raise ConfigError(
            f"the training in {run} began with other patches (images were added?); a new split"
            " would hold out what it was trained on: take another folder"
        )
    path.write_text(json.dumps(patches), "utf-8")


def _split(
    cache: PatchCache, options: FitOptions, held_out: NDArray[np.intp] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    known = np.flatnonzero(np.asarray(cache.labels)[: len(cache)] != UNKNOWN)
    if held_out is not None:
        return np.setdiff1d(known, held_out), np.intersect1d(known, held_out)
    patients = [str(cache.rows[index]["patient"]) for index in known]
    first, second = split_patches(
        patients, share=options.validation_share, split=options.split, seed=options.seed
    )
    return known[first], known[second]


def _network(options: FitOptions) -> keras.Model:
    model = build(frozen_layers=options.frozen_layers)
    if options.starting_weights is not None:
        path = options.starting_weights
        start = _starting_weights(path)
        try:
            if "patch/kernel" in start:
                load_weights(model, start)
            else:
                start_from(model, start)
                missing = frozen_without(model, start)
                if missing:
                    raise ConfigError(f"{path} has no {missing[0]}, which is not trained either")
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{path} does not fit ResNet-50: {error}") from error
    return model


def _starting_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    if path.is_dir():
        return load_bundle(path).arrays()
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        raise ConfigError(f"{path} is no .npz of layer/variable arrays") from error


def _rate(options: FitOptions, step: int, total: int) -> float:
    if options.schedule == "constant":
        return options.learning_rate
    return options.learning_rate * (0.03 + 0.97 * 0.5 * (1 + float(np.cos(np.pi * step / total))))


def _one_epoch(
    learner: Learner,
    batches: Batches,
    number: int,
    total: int,
    options: FitOptions,
    progress: StepProgress,
) -> tuple[float, float]:
    sums = np.zeros(2)
    chosen = batches.epoch(number)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(learner.load, batches, chosen[0], number, 0)
        for step, indices in enumerate(chosen):
            done, loaded = number * len(chosen) + step, coming.result()
            if step + 1 < len(chosen):
                coming = ahead.submit(learner.load, batches, chosen[step + 1], number, step + 1)
            learner.optimizer.learning_rate.assign(_rate(options, done, total))
            losses = learner.step(indices, loaded)
            if not np.isfinite(losses[0]):
                raise ConfigError("the loss is no number any more; take a smaller learning rate")
            sums += losses
            progress(done + 1, total, float(sums[0]) / (step + 1))
    return float(sums[0]) / len(chosen), float(sums[1]) / len(chosen)


def _measure(
    learner: Learner, cache: PatchCache, validation: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Loss, accuracy at 0.5, and AUC on whole patches."""
    if not len(validation):
        return float("nan"), float("nan"), float("nan")
    truth = np.asarray(cache.labels)[validation] == YES
    score = learner.scores(validation).astype(np.float64)
    loss = np.mean(np.logaddexp(0, score) - truth * score)
    return float(loss), float(np.mean((score > 0) == truth)), auc(truth, score)


def _log(events: EventLog, epoch: Epoch) -> None:
    values = {key: value for key, value in asdict(epoch).items() if key != "epoch"}
    events.write(epoch.epoch, {key: value for key, value in values.items() if np.isfinite(value)})


def _keep(run: Path, model: keras.Model, learner: Learner, history: list[Epoch]) -> None:
    learner.save()
    variables = [*model.variables, *learner.optimizer.variables]
    arrays = {
        f"v{index}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(variables)
    }
    aside = run / "state.part.npz"
    np.savez(aside, epochs=np.array(len(history)), **arrays)
    aside.replace(run / STATE)
    part = run / "history.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(history[0])))
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)
    part.replace(run / HISTORY)


def _restore(run: Path, variables: list[Any], *, whole: bool = False) -> list[Epoch]:
    """Fill the first variables of the state, or all there are; the epochs it is after."""
    path = run / STATE
    if not path.exists():
        return []
    with np.load(path) as arrays:
        if whole and len(arrays.files) != len(variables) + 1:
            raise ConfigError(f"{run} holds a run of another version of cadnode")
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"v{index}"])
        done = int(arrays["epochs"])
    return read_history(run)[:done]
