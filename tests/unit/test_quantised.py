"""The network in int8: kernels within half a level, nothing else in float32 than what must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cadnode.inference.bundle import find_bundle
from cadnode.inference.folded import Convolution, Folded, fold
from cadnode.inference.onnx_graph import HIGHEST, onnx_model
from cadnode.inference.quantised import STEPS, rounded

MODELS = Path(__file__).parents[2] / "models"
RANGES = dict.fromkeys(STEPS, 8.0)


@pytest.fixture(scope="module")
def network() -> Folded:
    return fold(find_bundle(MODELS, "calc-resnet50").arrays(), 224)


@pytest.fixture(scope="module")
def in_int8(network: Folded) -> onnx.ModelProto:
    return onnx_model(network, "", ranges=RANGES)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def test_a_kernel_is_rounded_to_half_a_level_of_its_channel() -> None:
    kernel = np.random.default_rng(2).normal(0, 1, (6, 5, 3, 3)).astype(np.float32)
    kernel *= np.array([1e-4, 0.1, 1, 3, 50, 0], np.float32)[:, None, None, None]
    levels, scale = rounded(kernel)
    assert levels.dtype == np.int8
    assert scale.dtype == np.float32
    assert np.abs(levels).max(axis=(1, 2, 3)).tolist() == [127, 127, 127, 127, 127, 0]
    off = np.abs(levels * scale[:, None, None, None] - kernel)
    assert (off <= 0.5001 * scale[:, None, None, None]).all()


def test_every_convolution_but_the_first_has_its_kernel_in_int8(
    network: Folded, in_int8: onnx.ModelProto
) -> None:
    held = constants(in_int8)
    for step in network.steps:
        if not isinstance(step, Convolution) or step.name == "conv1_conv":
            continue
        levels = held[f"{step.name}/kernel/levels"]
        scale = held[f"{step.name}/kernel/level"]
        assert levels.dtype == np.int8
        off = np.abs(levels * scale[:, None, None, None] - step.kernel.transpose(3, 2, 0, 1))
        assert (off <= 0.5001 * scale[:, None, None, None]).all()
    assert held["conv1_conv/kernel"].dtype == np.float32
    in_float = sum(array.nbytes for array in held.values() if array.dtype == np.float32)
    assert in_float < 0.2 * sum(array.nbytes for array in held.values())


def test_a_result_is_rounded_once_for_whoever_takes_it(in_int8: onnx.ModelProto) -> None:
    """Also the one that is added further on; the heads take the last result as it is."""
    taken = {name for node in in_int8.graph.node for name in node.input}
    rounding = [node.input[0] for node in in_int8.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(rounding) == sorted(STEPS)
    for node in in_int8.graph.node:
        if node.op_type in ("Conv", "Add", "GlobalAveragePool"):
            assert not {*node.input} & {*STEPS}, node.name
    assert {f"{step}/rounded" for step in STEPS} <= taken
    mean = next(node for node in in_int8.graph.node if node.op_type == "GlobalAveragePool")
    assert list(mean.input) == ["conv5_block3_3_conv"]


def test_without_ranges_the_file_is_float32_alone(network: Folded) -> None:
    model = onnx_model(network, "")
    assert {node.op_type for node in model.graph.node}.isdisjoint(
        {"QuantizeLinear", "DequantizeLinear", "ReduceMax"}
    )
    assert [one.name for one in model.graph.output] == ["probability", "maps"]


def test_the_highest_value_of_a_step_is_an_output_when_it_is_asked_for(network: Folded) -> None:
    model = onnx_model(network, "", highest_of=STEPS[:2])
    assert [one.name for one in model.graph.output[2:]] == [
        f"{step}{HIGHEST}" for step in STEPS[:2]
    ]
