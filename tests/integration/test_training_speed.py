"""The fast way of training is the slow one to rounding, and what it keeps on disk can be trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cadnode.core.errors import ConfigError
from cadnode.training import speed
from cadnode.training.event_log import EventLog
from cadnode.training.fast_layers import Adam
from cadnode.training.fit import fit, logits, read_history
from cadnode.training.frozen_outputs import FrozenOutputs, Tensors
from cadnode.training.labels import NO, UNKNOWN, YES
from cadnode.training.learner import Learner
from cadnode.training.losses import cell_loss, patch_loss
from cadnode.training.network import backbone_of, build
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.resnet_graph import steps
from cadnode.training.speed import SpeedOptions, precision_here
from cadnode.training.two_parts import in_two_parts

SIDE = 64
OPTIONS = FitOptions(
    epochs=2, batch=4, side=SIDE, steps_per_epoch=2, augment=False, split="patch", seed=3
)


def network(frozen_layers: int) -> keras.Model:
    """Random weights, the averages and scales of BatchNorm among them."""
    keras.utils.set_random_seed(5)
    model, rng = build(frozen_layers=frozen_layers), np.random.default_rng(5)
    for layer in backbone_of(model).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1, gamma.shape),
                    rng.normal(0, 0.1, beta.shape),
                    rng.normal(0, 0.1, mean.shape),
                    rng.uniform(0.8, 1.2, variance.shape),
                ]
            )
        elif isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
    return model


def a_batch() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6, SIDE, SIDE, 1)).astype(np.float32)
    cells = rng.choice([NO, YES, UNKNOWN], (6, 2, 2, 1)).astype(np.float32)
    return images, {"patch": np.array([[0], [1]] * 3, np.float32), "cells": cells}


def after_one_step(model: keras.Model, trained: keras.Model) -> dict[str, np.ndarray]:
    """How each variable of `model` moved; with plain gradient descent that is its gradient."""
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}
    trained.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss={"patch": patch_loss, "cells": cell_loss},
        jit_compile=False,
    )
    trained.train_on_batch(*a_batch())
    return {v.path: keras.ops.convert_to_numpy(v) - before[v.path] for v in model.variables}


def small_cache(folder: Path) -> PatchCache:
    cache = PatchCache(folder, patch_size=SIDE, map_size=2)
    rng = np.random.default_rng(0)
    for number in range(12):
        image = rng.normal(100, 30, (SIDE, SIDE))
        image[20:40, 20:40] += 60 * (number % 2)
        cells = np.full((2, 2), number % 2, np.uint8)
        cache.append(image.astype(np.float32), number % 2, cells, {"patient": str(number)})
    cache.save()
    return cache


def test_the_steps_name_every_layer_of_keras_resnet50_that_has_weights() -> None:
    ours = [step.name for step in steps() if step.kind in ("conv", "norm")]
    theirs = [layer.name for layer in backbone_of(build()).layers if layer.weights]
    assert sorted(ours) == sorted(theirs)


def test_gradients_and_averages_are_those_of_the_plain_network() -> None:
    model = network(frozen_layers=100)
    plain = after_one_step(model, model)
    model = network(frozen_layers=100)
    ours = after_one_step(model, in_two_parts(model, "float32").whole)
    assert plain.keys() == ours.keys()
    moved = 0
    for (name, slow), fast in zip(plain.items(), ours.values(), strict=True):
        if name.endswith("conv/bias"):
            # BatchNorm takes it away: what plain training gives it is rounding.
            assert np.abs(slow).max(initial=0) < 1e-4
            assert not fast.any()
            continue
        # One unit beside zero that falls to the other side of ReLU moves gradients before it by a
        # hundredth: as much as noise of 1e-4 grey levels does to the plain network.
        near = "moving" in name or "patch" in name or "cells" in name
        size = float(np.linalg.norm(slow))
        assert np.linalg.norm(fast - slow) <= (1e-4 if near else 0.05) * size + 1e-6, name
        moved += size > 0
    assert moved >= 80


@pytest.mark.parametrize("frozen_layers", [0, 100])
def test_scores_are_those_of_the_plain_network_and_bfloat16_is_near(frozen_layers: int) -> None:
    model, (images, _) = network(frozen_layers), a_batch()
    plain = keras.ops.convert_to_numpy(model(images, training=False)["patch"])[:, 0]
    assert np.abs(plain).max() > 0.1
    assert logits(model, images[..., 0].astype(np.uint8)) == pytest.approx(plain, rel=1e-3)
    rounded = in_two_parts(model, "bfloat16").whole
    rounded.compile(jit_compile=False)
    found = rounded.predict_on_batch(images)["patch"][:, 0]
    assert found.dtype == np.float32
    assert found == pytest.approx(plain, rel=0.1, abs=0.05)
    assert not np.array_equal(found, plain)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_adam_in_one_pass_is_keras_adam(average: float) -> None:
    found = []
    for kind in (keras.optimizers.Adam, Adam):
        variable = keras.Variable(np.linspace(-1, 1, 50, dtype=np.float32))
        optimizer = kind(1e-2, use_ema=average > 0, ema_momentum=average or 0.99)
        optimizer.build([variable])
        rng = np.random.default_rng(0)
        for _ in range(5):
            gradient = keras.ops.convert_to_tensor(rng.normal(0, 1, 50).astype(np.float32))
            optimizer.apply([gradient], [variable])
        optimizer.finalize_variable_values([variable])
        found.append(keras.ops.convert_to_numpy(variable))
    assert found[1] == pytest.approx(found[0], rel=1e-5, abs=1e-7)


def test_frozen_outputs_kept_on_disk_give_the_same_epochs_also_after_a_kill(
    tmp_path: Path,
) -> None:
    cache = small_cache(tmp_path / "cache")
    aside = np.arange(4)
    off = SpeedOptions("float32", "off")
    plain = fit(cache, tmp_path / "off", OPTIONS, held_out=aside, speed=off)
    assert not (tmp_path / "off" / "frozen").exists()

    class Killed(Exception):
        pass

    def kill(done: int, total: int, loss: float) -> None:
        if done == 3:
            raise Killed

    kept = SpeedOptions("float32", "on")
    with pytest.raises(Killed):
        fit(cache, tmp_path / "on", OPTIONS, held_out=aside, speed=kept, progress=kill)
    assert (tmp_path / "on" / "frozen" / "done.npy").exists()
    again = fit(cache, tmp_path / "on", OPTIONS, held_out=aside, speed=kept)
    for ours, theirs in zip(again.history, plain.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-3)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-2)
        assert ours.validation_auc == pytest.approx(theirs.validation_auc)

    shown = points(tmp_path / "on" / "tensorboard")
    assert [step for step, _ in shown["loss"]] == [1, 2], "each epoch once, though gone on with"
    assert [value for _, value in shown["loss"]] == pytest.approx([e.loss for e in again.history])
    assert {"patch_loss", "learning_rate", "validation_loss"} <= set(shown)
    assert read_history(tmp_path / "on") == list(again.history)


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value by curve, as TensorBoard would read them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_a_curve_with_no_value_in_an_epoch_has_a_gap(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write(1, {"loss": 0.5})
    log.write(2, {"loss": 0.25, "auc": 1.0})
    log.close()
    assert points(tmp_path) == {"loss": [(1, 0.5), (2, 0.25)], "auc": [(2, 1.0)]}


def test_rows_computed_after_the_last_save_are_computed_again(tmp_path: Path) -> None:
    like: Tensors = [np.zeros((1, 2), np.float32), np.zeros((1, 3, 1), np.float16)]
    asked: list[int] = []

    def compute(at: np.ndarray) -> list[np.ndarray]:
        asked.extend(at.tolist())
        return [np.ones((len(at), 2), np.float32), np.full((len(at), 3, 1), 2, np.float16)]

    outputs = FrozenOutputs(tmp_path / "kept", like, rows=8, of="these weights")
    first, second = np.array([4, 1]), np.array([1, 7])
    outputs.complete(first, outputs.read(first), compute)
    outputs.save()
    outputs.complete(second, outputs.read(second), compute)
    assert asked == [0, 1, 1]

    outputs = FrozenOutputs(tmp_path / "kept", like, rows=8, of="these weights")
    assert len(outputs) == 2
    tensors, missing = outputs.read(np.array([1, 7, 4]))
    assert missing.tolist() == [1]
    assert tensors[0][[0, 2]].tolist() == [[1, 1], [1, 1]]

    assert len(FrozenOutputs(tmp_path / "kept", like, rows=8, of="other weights")) == 0


def test_what_other_patches_gave_is_not_taken_for_these(tmp_path: Path) -> None:
    """Annotated again and cut again into the same folder: as many patches, and other ones."""
    cache, network_here = small_cache(tmp_path / "cache"), network(frozen_layers=100)

    def kept() -> tuple[Learner, int]:
        on = SpeedOptions("float32", "on")
        learner = Learner(network_here, cache, OPTIONS, on, tmp_path / "frozen")
        assert learner._kept is not None
        return learner, len(learner._kept)

    learner, there = kept()
    assert there == 0
    learner.scores(np.arange(4))
    learner.save()
    assert kept()[1] == 4
    cache.patches[3] = 255 - cache.patches[3]
    assert kept()[1] == 0


def test_the_room_is_taken_before_the_first_row_is_written(tmp_path: Path) -> None:
    like: Tensors = [np.zeros((1, 1 << 16), np.float32)]
    FrozenOutputs(tmp_path / "kept", like, rows=16, of="these weights")
    assert (tmp_path / "kept" / "tensor-0").stat().st_blocks * 512 >= 1 << 22


@pytest.mark.parametrize("left", [b"", b"\x93NUMPY"])
def test_what_a_power_cut_left_of_the_list_of_rows_is_not_believed(
    tmp_path: Path, left: bytes
) -> None:
    like: Tensors = [np.zeros((1, 2), np.float32)]
    FrozenOutputs(tmp_path / "kept", like, rows=8, of="these weights").save()
    (tmp_path / "kept" / "done.npy").write_bytes(left)
    assert len(FrozenOutputs(tmp_path / "kept", like, rows=8, of="these weights")) == 0


def test_rows_of_a_file_that_is_gone_are_computed_again(tmp_path: Path) -> None:
    like: Tensors = [np.zeros((1, 2), np.float32)]
    outputs, two = FrozenOutputs(tmp_path / "kept", like, rows=8, of="w"), np.arange(2)
    outputs.complete(two, outputs.read(two), lambda at: [np.ones((len(at), 2), np.float32)])
    outputs.save()
    (tmp_path / "kept" / "tensor-0").unlink()
    assert len(FrozenOutputs(tmp_path / "kept", like, rows=8, of="w")) == 0


@pytest.mark.parametrize("name", ["text.npz", "half.npz", "shape.npz"])
def test_starting_weights_that_are_none_are_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.npz").write_text("weights")
    np.savez(
        tmp_path / "half.npz",
        allow_pickle=False,
        **{"patch/kernel": np.zeros((2048, 1), np.float32)},
    )
    np.savez(
        tmp_path / "shape.npz", allow_pickle=False, **{"conv1_conv/kernel": np.zeros(3, np.float32)}
    )
    start = replace(OPTIONS, starting_weights=tmp_path / name)
    with pytest.raises(ConfigError, match=r"layer/variable|does not fit|has shape"):
        fit(small_cache(tmp_path / "cache"), tmp_path / "run", start, held_out=np.arange(4))


def test_outputs_that_differ_from_epoch_to_epoch_are_not_kept(tmp_path: Path) -> None:
    cache = small_cache(tmp_path / "cache")
    turned = replace(OPTIONS, augment=True)
    with pytest.raises(ConfigError, match="no-augment"):
        fit(cache, tmp_path / "run", turned, speed=SpeedOptions("float32", "on"))
    with pytest.raises(ConfigError, match="MiB"):
        FrozenOutputs(
            tmp_path / "large", [np.zeros((1, 1 << 20), np.float32)], rows=1 << 40, of="weights"
        )


@pytest.mark.parametrize(
    ("devices", "amx", "precision"),
    [
        (["cpu:0"], True, "bfloat16"),
        (["cpu:0"], False, "float32"),
        (["cpu:0", "gpu:0"], True, "float32"),
    ],
)
def test_auto_takes_bfloat16_only_where_the_processor_multiplies_it_fast(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], amx: bool, precision: str
) -> None:
    monkeypatch.setattr(speed, "has_amx", lambda: amx)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    assert precision_here("auto") == precision
    assert precision_here("bfloat16") == "bfloat16"
    assert precision_here("float32") == "float32"
