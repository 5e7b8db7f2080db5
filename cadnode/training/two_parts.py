"""The network in two parts: the frozen one folded for inference, the trained one made fast.

Both are the function that `network.build` trains, to rounding: frozen BatchNorm layers use their
averages, so they fold into the convolutions before them; the stem takes one grey channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from cadnode.core.intensity import NEUTRAL
from cadnode.training.fast_layers import SharedConvolution, SharedNorm
from cadnode.training.network import CAFFE_MEANS, backbone_of
from cadnode.training.resnet_graph import INPUT, OUTPUT, Step, steps

Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class TwoParts:
    """Three Keras models over the variables of one network."""

    frozen: keras.Model
    """Grey patches to the tensors at the cut; its weights are copies, folded."""
    trained: keras.Model
    """The tensors at the cut to `patch` and `cells`; its weights are those of the network."""
    whole: keras.Model
    """One behind the other."""


def in_two_parts(model: keras.Model, precision: str) -> TwoParts:
    """Cut the network of `network.build` where its frozen layers end.

    `precision` (float32 or bfloat16) is that of the products; weights, averages and the heads stay
    float32.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    backbone = backbone_of(model)
    held = {layer.name for layer in backbone.layers if not layer.trainable}
    order = list(steps())
    still = _frozen_steps(order, held)
    cut = [
        name
        for name in (INPUT, *(step.name for step in order))
        if name in still and any(name in step.inputs for step in order if step.name not in still)
    ] or [OUTPUT]
    grey = keras.Input((None, None, 1), name="grey")
    frozen = keras.Model(grey, _Frozen(backbone, still, policy).run(grey, order, cut))
    starts = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in frozen.outputs]
    tensors: Tensors = dict(zip(cut, starts, strict=True))
    for step in order:
        if step.name not in still:
            tensors[step.name] = _trained(step, tensors, backbone, policy)
    features = layers.Identity(dtype="float32")(tensors[OUTPUT])
    heads = {
        "patch": model.get_layer("patch")(model.get_layer("average")(features)),
        "cells": model.get_layer("cells")(features),
    }
    trained = keras.Model(starts, heads)
    return TwoParts(frozen, trained, keras.Model(grey, trained(frozen(grey))))


def _frozen_steps(order: list[Step], held: set[str]) -> set[str]:
    """What is computed from frozen weights alone."""
    still = {INPUT}
    for step in order:
        weightless = step.kind not in ("conv", "norm")
        if (weightless or step.name in held) and still.issuperset(step.inputs):
            still.add(step.name)
    return still


def _trained(step: Step, tensors: Tensors, backbone: keras.Model, policy: str) -> Any:
    first, *_ = values = [tensors[name] for name in step.inputs]
    match step.kind:
        case "conv":
            if step.name == "conv1_conv":
                first = layers.ZeroPadding2D(3, dtype=policy)(first)
            source = backbone.get_layer(step.name)
            source.bias.trainable = False
            return SharedConvolution(source, step.stride, dtype=policy)(first)
        case "norm":
            source, before = backbone.get_layer(step.name), backbone.get_layer(step.inputs[0])
            return SharedNorm(source, before, dtype=policy)(first)
        case _:
            return _weightless(step, values, policy)


def _weightless(step: Step, values: list[Any], policy: str) -> Any:
    match step.kind:
        case "add":
            return layers.Add(dtype=policy)(values)
        case "pool":
            padded = layers.ZeroPadding2D(1, dtype=policy)(values[0])
            return layers.MaxPooling2D(3, strides=2, dtype=policy)(padded)
        case _:
            return layers.ReLU(dtype=policy)(values[0])


class _Frozen:
    """Builds the frozen part."""

    def __init__(self, backbone: keras.Model, still: set[str], policy: str) -> None:
        self._backbone, self._still, self._policy = backbone, still, policy

    def run(self, grey: Any, order: list[Step], cut: list[str]) -> list[Any]:
        tensors: Tensors = {}
        if INPUT in cut:
            means = np.array(CAFFE_MEANS, np.float32)
            colours = layers.Concatenate()([grey, grey, grey])
            tensors[INPUT] = layers.Normalization(mean=means, variance=np.ones(3))(colours)
        for step in order:
            if step.name not in self._still:
                continue
            match step.kind:
                case "conv" if step.name == "conv1_conv":
                    tensors[step.name] = self._stem(grey)
                case "conv":
                    tensors[step.name] = self._convolution(step, tensors[step.inputs[0]])
                case "norm":
                    tensors[step.name] = tensors[step.inputs[0]]
                case _:
                    values = [tensors[name] for name in step.inputs]
                    tensors[step.name] = _weightless(step, values, self._policy)
        return [tensors[name] for name in cut]

    def _convolution(self, step: Step, source: Any) -> Any:
        kernel, bias = self._folded(step.name)
        layer = layers.Conv2D(
            kernel.shape[-1],
            step.size,
            strides=step.stride,
            padding="same",
            use_bias=bias is not None,
            trainable=False,
            dtype=self._policy,
        )
        made = layer(source)
        layer.set_weights([kernel] if bias is None else [kernel, bias])
        return made

    def _stem(self, grey: Any) -> Any:
        """The first convolution on a grey channel about the neutral level, and one of ones.

        It is zero-padded after the means were subtracted: the channel of ones carries their share,
        which differs at the edge.
        """
        kernel, bias = self._folded("conv1_conv")
        means = np.array(CAFFE_MEANS, np.float32)
        summed = kernel.sum(axis=2, keepdims=True)
        constant = np.einsum("hwco,c->hwo", kernel, NEUTRAL - means)[:, :, None]
        pair = layers.Concatenate()([grey - NEUTRAL, ops.ones_like(grey)])
        padded = layers.ZeroPadding2D(3)(pair)
        layer = layers.Conv2D(
            64, 7, strides=2, use_bias=bias is not None, trainable=False, dtype=self._policy
        )
        made = layer(padded)
        both = np.concatenate([summed, constant], axis=2)
        layer.set_weights([both] if bias is None else [both, bias])
        return made

    def _folded(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Kernel and bias with the BatchNorm behind folded in; no bias where that is trained."""
        kernel, bias = self._backbone.get_layer(name).get_weights()
        norm = name.removesuffix("conv") + "bn"
        if norm not in self._still:
            return kernel, None
        layer = self._backbone.get_layer(norm)
        gamma, beta, mean, variance = layer.get_weights()
        scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
        return kernel * scale, (bias - mean) * scale + beta
