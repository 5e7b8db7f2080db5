"""The network as every runtime runs it: BatchNorm folded into the convolutions, one grey channel.

The same function as the network that was trained (Keras' ResNet-50 v1 on three equal channels
with the ImageNet means subtracted), to rounding, in about two thirds of the time. Said once, as a
list of steps; `keras_model` and `onnx_graph` each put it into their library's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = Mapping[str, Array]

STAGES = ((2, 3, 64, 1), (3, 4, 128, 2), (4, 6, 256, 2), (5, 3, 512, 2))
"""(stage, blocks, width, stride of the first block)."""
EPSILON = np.float32(1.001e-5)
"""Of every BatchNormalization in keras.applications.ResNet50."""
MEANS = np.array([103.939, 116.779, 123.68], np.float32)
"""Subtracted from blue, green and red before the first convolution."""
INPUT = "grey"
"""Grey levels (n, patch_size, patch_size), as they come from the normalisation."""
POOL = "pool1"


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """One convolution, what is added to it, and whether negative values are cut off after that."""

    name: str
    source: str
    """Name of the step whose result it takes."""
    kernel: Array
    """(rows, columns, channels in, channels out)."""
    bias: Array
    """(channels out,), or a map (rows, columns, channels out)."""
    stride: int = 1
    pad: int = 0
    """Zeros on each side."""
    add: str = ""
    """Name of another step whose result is added."""
    relu: bool = True


@dataclass(frozen=True, slots=True)
class Pooling:
    """The highest of each 3 x 3, two apart, with one zero on each side."""

    name: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """From grey levels to the probability of each patch, and to its map."""

    patch_size: int
    steps: tuple[Convolution | Pooling, ...]
    """In the order of computing; both heads take the result of the last one."""
    patch: tuple[Array, Array]
    """(channels, 1) and (1,): of the mean over the patch, before the sigmoid."""
    cells: tuple[Array, Array]
    """(channels, 1) and (1,): of each cell, before the sigmoid."""


def fold(weights: Weights, patch_size: int) -> Folded:
    """The network with these weights. KeyError names a missing array."""
    steps: list[Convolution | Pooling] = [_stem(weights, patch_size), Pooling(POOL, "conv1_conv")]
    source = POOL
    for stage, blocks, width, stride in STAGES:
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            steps += _block(name, source, width, stride if block == 1 else 1, weights)
            source = steps[-1].name
    cells = weights["cells/kernel"]
    return Folded(
        patch_size=patch_size,
        steps=tuple(steps),
        patch=(weights["patch/kernel"], weights["patch/bias"]),
        cells=(cells.reshape(cells.shape[-2:]), weights["cells/bias"]),
    )


def _fold(weights: Weights, conv: str, norm: str) -> tuple[Array, Array]:
    scale = weights[f"{norm}/gamma"] / np.sqrt(weights[f"{norm}/moving_variance"] + EPSILON)
    bias = (weights[f"{conv}/bias"] - weights[f"{norm}/moving_mean"]) * scale
    return weights[f"{conv}/kernel"] * scale, bias + weights[f"{norm}/beta"]


def _stem(weights: Weights, patch_size: int) -> Convolution:
    """The first convolution on one channel.

    It is zero-padded after the means were subtracted, so at the edge the means' share of the
    result differs from place to place: it is added as a constant map.
    """
    kernel, bias = _fold(weights, "conv1_conv", "conv1_bn")
    return Convolution(
        "conv1_conv",
        INPUT,
        kernel.sum(axis=2, keepdims=True),
        bias - _mean_share(kernel, patch_size),
        stride=2,
        pad=3,
    )


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
    name: str, source: str, width: int, stride: int, weights: Weights
) -> list[Convolution | Pooling]:
    """Three convolutions and the way around them."""
    sizes = ((width, 1, stride), (width, 3, 1), (4 * width, 1, 1))
    steps: list[Convolution | Pooling] = []
    around = source
    if name.endswith("block1"):
        around = f"{name}_0_conv"
        steps.append(_convolution(around, source, (4 * width, 1, stride), weights, relu=False))
    for index, size in enumerate(sizes, start=1):
        add = around if index == len(sizes) else ""
        step = _convolution(f"{name}_{index}_conv", source, size, weights, add=add)
        steps.append(step)
        source = step.name
    return steps


def _convolution(
    name: str,
    source: str,
    size: tuple[int, int, int],
    weights: Weights,
    *,
    add: str = "",
    relu: bool = True,
) -> Convolution:
    filters, side, stride = size
    kernel, bias = _fold(weights, name, name.replace("_conv", "_bn"))
    if kernel.shape[:2] != (side, side) or kernel.shape[3] != filters:
        raise ValueError(f"{name} is {kernel.shape}")
    return Convolution(name, source, kernel, bias, stride, side // 2, add, relu)
