"""The network: ResNet-50 with the paper's patch probability and a localisation map beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError

CAFFE_MEANS = (103.939, 116.779, 123.68)
"""Blue, green, red: what `preprocess_input` of keras.applications.resnet50 subtracts."""
CELL = 32
"""Input pixels per cell of the last stage."""


def build(*, frozen_layers: int = 100) -> keras.Model:
    """ResNet-50 on grey patches (n, side, side, 1) of 0..255, any side that is a multiple of 32.

    Outputs: `patch` (n, 1), the logit of "holds calcifications" from the averaged last stage (the
    paper's head), and `cells` (n, side / 32, side / 32, 1), a logit for each cell. The first
    `frozen_layers` layers of keras.applications.ResNet50 are not trained. Random weights.
    """
    grey = keras.Input((None, None, 1), name="grey")
    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    for layer in backbone.layers[:frozen_layers]:
        layer.trainable = False
    # The last block of each new stage starts as the identity; it learns faster from few patches.
    for block in (1, 2, 3):
        norm = backbone.get_layer(f"conv5_block{block}_3_bn")
        gamma, *rest = norm.get_weights()
        norm.set_weights([np.zeros_like(gamma), *rest])
    colours = layers.Concatenate(name="three_equal_channels")([grey, grey, grey])
    shifted = layers.Normalization(
        mean=CAFFE_MEANS, variance=(1.0, 1.0, 1.0), name="subtract_means"
    )(colours)
    features = backbone(shifted)
    pooled = layers.GlobalAveragePooling2D(name="average")(features)
    patch = layers.Dense(1, name="patch")(pooled)
    cells = layers.Conv2D(1, 1, name="cells")(features)
    return keras.Model(grey, {"patch": patch, "cells": cells}, name="calc_resnet50")


def backbone_of(model: keras.Model) -> keras.Model:
    """The ResNet-50 inside."""
    return model.get_layer("resnet50")


def frozen_without(
    model: keras.Model, weights: Mapping[str, NDArray[np.float32]]
) -> tuple[str, ...]:
    """The arrays of layers that are not trained and that `weights` does not name."""
    return tuple(
        name
        for layer in backbone_of(model).layers
        if not layer.trainable
        for name in (f"{layer.name}/{variable.name}" for variable in layer.weights)
        if name not in weights
    )


def start_from(model: keras.Model, weights: Mapping[str, NDArray[np.float32]]) -> int:
    """Fill the backbone from `layer/variable` arrays; layers that are not named keep theirs.

    Returns the number of arrays used. Raises ConfigError on a shape that does not fit or when no
    name fits.
    """
    used = 0
    for layer in backbone_of(model).layers:
        for variable in layer.weights:
            array = weights.get(f"{layer.name}/{variable.name}")
            if array is None:
                continue
            if tuple(variable.shape) != array.shape:
                raise ConfigError(f"{layer.name}/{variable.name} has shape {array.shape}")
            variable.assign(array)
            used += 1
    if not used:
        raise ConfigError("the starting weights name no layer of ResNet-50")
    return used


def weights_of(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Every array by `layer/variable`, the two heads as `patch/kernel`, `cells/bias`, ..."""
    found: dict[str, NDArray[np.float32]] = {}
    owners: list[Any] = [
        *backbone_of(model).layers,
        model.get_layer("patch"),
        model.get_layer("cells"),
    ]
    for layer in owners:
        for variable in layer.weights:
            found[f"{layer.name}/{variable.name}"] = np.asarray(
                keras.ops.convert_to_numpy(variable), np.float32
            )
    return found


def load_weights(model: keras.Model, weights: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Fill every array; KeyError names the first one missing."""
    owners: list[Any] = [
        *backbone_of(model).layers,
        model.get_layer("patch"),
        model.get_layer("cells"),
    ]
    for layer in owners:
        for variable in layer.weights:
            variable.assign(weights[f"{layer.name}/{variable.name}"].astype(np.float32))
