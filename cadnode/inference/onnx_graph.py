"""The network as an ONNX model: what OpenVINO and ONNX Runtime read, and what is exported.

The only module that knows the package `onnx`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cadnode.inference.folded import INPUT, Convolution, Folded, Pooling
from cadnode.inference.quantised import LEVELS, rounded

OPSET = 17
IR_VERSION = 8
"""Of the file format; as old as the operator set, so that old runtimes read it."""
OUTPUTS = ("probability", "maps")
HIGHEST = "/highest"
"""After a step's name: the highest value of its result, when that was asked for."""


def onnx_model(
    network: Folded,
    about: str,
    *,
    ranges: Mapping[str, float] | None = None,
    highest_of: Sequence[str] = (),
) -> onnx.ModelProto:
    """From `grey` (n, patch_size, patch_size) to `probability` (n,) and `maps` (n, rows, columns),
    all float32; `about` goes into the file as its description.

    With `ranges` (the highest value by name of a step after a ReLU) the results of these steps,
    and the kernels of the convolutions that take them, have eight bits. `highest_of` names steps
    whose highest value in the whole batch is an output too.
    """
    graph = _Graph()
    ranges = ranges or {}
    graph.add("Unsqueeze", (INPUT, graph.constant("channel", np.array([1]))), "grey_channel")
    named = {INPUT: "grey_channel"}
    for step in network.steps:
        source = named[step.source]
        if isinstance(step, Pooling):
            # After a ReLU the padding's zeros are no higher than what is there.
            graph.add(
                "MaxPool", (source,), step.name, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
            )
        else:
            around = named[step.add] if step.add else ""
            _convolve(graph, step, source, around, in_int8=step.source in ranges)
        named[step.name] = (
            graph.levels(step.name, ranges[step.name]) if step.name in ranges else step.name
        )
    for name in highest_of:
        graph.add("ReduceMax", (name,), f"{name}{HIGHEST}", keepdims=0)
    _heads(graph, network, network.steps[-1].name)
    size = network.patch_size
    cells = size // 32
    made = helper.make_graph(
        graph.nodes,
        "cadnode",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", size, size])],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", cells, cells]),
            *(
                helper.make_tensor_value_info(f"{name}{HIGHEST}", TensorProto.FLOAT, [])
                for name in highest_of
            ),
        ],
        graph.constants,
    )
    opsets = [helper.make_operatorsetid("", OPSET)]
    model = helper.make_model(
        made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="cadnode", doc_string=about
    )
    onnx.checker.check_model(model)
    return model


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, sources: tuple[str, ...], result: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, sources, [result], name=result, **attributes))

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def levels(self, result: str, highest: float) -> str:
        """The result in eight bits and back; the runtime sees that it may stay in eight bits."""
        scale = self.constant(f"{result}/level", np.array(highest / LEVELS, np.float32))
        zero = self.constant(f"{result}/zero", np.array(0, np.uint8))
        self.add("QuantizeLinear", (result, scale, zero), f"{result}/levels")
        self.add("DequantizeLinear", (f"{result}/levels", scale, zero), f"{result}/rounded")
        return f"{result}/rounded"

    def kernel(self, name: str, values: NDArray[np.float32], *, in_int8: bool) -> str:
        if not in_int8:
            return self.constant(name, values)
        integers, scale = rounded(values)
        parts = (
            self.constant(f"{name}/levels", integers),
            self.constant(f"{name}/level", scale),
            self.constant(f"{name}/zero", np.zeros(len(scale), np.int8)),
        )
        self.add("DequantizeLinear", parts, name, axis=0)
        return name


def _convolve(graph: _Graph, step: Convolution, source: str, around: str, *, in_int8: bool) -> None:
    values = step.kernel.transpose(3, 2, 0, 1)
    kernel = graph.kernel(f"{step.name}/kernel", values, in_int8=in_int8)
    last = f"{step.name}/sum" if step.relu else step.name
    sources = [source, kernel]
    extra = around
    if step.bias.ndim == 1:
        sources.append(graph.constant(f"{step.name}/bias", step.bias))
    else:
        extra = graph.constant(f"{step.name}/bias", step.bias.transpose(2, 0, 1)[None])
    convolved = f"{step.name}/convolved" if extra else last
    graph.add(
        "Conv",
        tuple(sources),
        convolved,
        kernel_shape=list(step.kernel.shape[:2]),
        strides=[step.stride] * 2,
        pads=[step.pad] * 4,
    )
    if extra:
        graph.add("Add", (convolved, extra), last)
    if step.relu:
        graph.add("Relu", (last,), step.name)


def _heads(graph: _Graph, network: Folded, last: str) -> None:
    kernel, bias = network.patch
    graph.add("GlobalAveragePool", (last,), "mean")
    graph.add("Flatten", ("mean",), "mean/flat", axis=1)
    weights = (graph.constant("patch/kernel", kernel), graph.constant("patch/bias", bias))
    graph.add("Gemm", ("mean/flat", *weights), "patch")
    graph.add("Squeeze", ("patch", graph.constant("one", np.array([1]))), "patch/flat")
    graph.add("Sigmoid", ("patch/flat",), "probability")
    kernel, bias = network.cells
    shaped = graph.constant("cells/kernel", kernel.T[:, :, None, None])
    graph.add("Conv", (last, shaped, graph.constant("cells/bias", bias)), "cells")
    graph.add("Squeeze", ("cells", "one"), "cells/flat")
    graph.add("Sigmoid", ("cells/flat",), "maps")
