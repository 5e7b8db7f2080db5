"""ResNet-50 for inference: BatchNorm folded into the convolutions, one grey channel.

The same function as the network that was trained (Keras' ResNet-50 v1 on three equal channels
with the ImageNet means subtracted), to rounding, in about two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = Mapping[str, Array]

STAGES = ((2, 3, 64, 1), (3, 4, 128, 2), (4, 6, 256, 2), (5, 3, 512, 2))
"""(stage, blocks, width, stride of the first block)."""
EPSILON = np.float32(1.001e-5)
"""Of every BatchNormalization in keras.applications.ResNet50."""
MEANS = np.array([103.939, 116.779, 123.68], np.float32)
"""Subtracted from blue, green and red before the first convolution."""


def build_folded(weights: Weights, patch_size: int) -> keras.Model:
    """From grey levels (n, patch_size, patch_size, 1) to `probability` (n, 1) and `maps`
    (n, patch_size / 32, patch_size / 32, 1), both 0..1. KeyError names a missing array."""
    grey = keras.Input((patch_size, patch_size, 1), name="grey")
    loads: dict[str, list[Array]] = {}
    x = _stem(grey, weights, loads, patch_size)
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for stage, blocks, width, stride in STAGES:
        for block in range(1, blocks + 1):
            x = _block(
                x, f"conv{stage}_block{block}", width, stride if block == 1 else 1, loads, weights
            )
    pooled = layers.GlobalAveragePooling2D()(x)
    patch = layers.Dense(1, name="patch", dtype="float32", activation="sigmoid")(pooled)
    cells = layers.Conv2D(1, 1, name="cells", dtype="float32", activation="sigmoid")(x)
    for head in ("patch", "cells"):
        loads[head] = [weights[f"{head}/kernel"], weights[f"{head}/bias"]]
    model = keras.Model(grey, {"probability": patch, "maps": cells})
    for name, arrays in loads.items():
        model.get_layer(name).set_weights(arrays)
    return model


def _fold(weights: Weights, conv: str, norm: str) -> list[Array]:
    scale = weights[f"{norm}/gamma"] / np.sqrt(weights[f"{norm}/moving_variance"] + EPSILON)
    bias = (weights[f"{conv}/bias"] - weights[f"{norm}/moving_mean"]) * scale
    return [weights[f"{conv}/kernel"] * scale, bias + weights[f"{norm}/beta"]]


def _stem(
    grey: keras.KerasTensor, weights: Weights, loads: dict[str, list[Array]], patch_size: int
) -> keras.KerasTensor:
    """The first convolution on one channel.

    It is zero-padded after the means were subtracted, so at the edge the means' share of the
    result differs from place to place: it is added as a constant map.
    """
    kernel, bias = _fold(weights, "conv1_conv", "conv1_bn")
    loads["conv1_conv"] = [kernel.sum(axis=2, keepdims=True)]
    x = layers.ZeroPadding2D(3)(grey)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    loads["conv1_offset"] = [bias - _mean_share(kernel, patch_size)]
    return layers.ReLU()(_Offset(name="conv1_offset")(x))


def _mean_share(kernel: Array, patch_size: int) -> Array:
    """What the first convolution makes of a patch of constant MEANS: (rows, columns, 64)."""
    per_tap = np.einsum("hwco,c->hwo", kernel, MEANS)
    starts = np.arange(0, patch_size, 2) - 3
    taps = np.arange(7)
    inside = ((starts[:, None] + taps >= 0) & (starts[:, None] + taps < patch_size)).astype(
        np.float32
    )
    return np.asarray(np.einsum("rh,cw,hwo->rco", inside, inside, per_tap), np.float32)


def _block(
    x: keras.KerasTensor,
    name: str,
    width: int,
    stride: int,
    loads: dict[str, list[Array]],
    weights: Weights,
) -> keras.KerasTensor:
    def conv(
        source: keras.KerasTensor, index: int, filters: int, size: int, step: int
    ) -> keras.KerasTensor:
        full = f"{name}_{index}_conv"
        loads[full] = _fold(weights, full, f"{name}_{index}_bn")
        return layers.Conv2D(filters, size, strides=step, padding="same", name=full)(source)

    first = name.endswith("block1")
    shortcut = conv(x, 0, 4 * width, 1, stride) if first else x
    y = layers.ReLU()(conv(x, 1, width, 1, stride))
    y = layers.ReLU()(conv(y, 2, width, 3, 1))
    y = conv(y, 3, 4 * width, 1, 1)
    return layers.ReLU()(layers.Add()([shortcut, y]))


class _Offset(layers.Layer):  # type: ignore[misc]
    """Adds one constant map."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.offset = self.add_weight(shape=input_shape[1:], name="offset", trainable=False)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs + keras.ops.cast(self.offset, inputs.dtype)
