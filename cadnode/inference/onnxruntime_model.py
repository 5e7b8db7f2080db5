"""The network in ONNX Runtime, on the CPU. The only module that knows the package."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from cadnode.core.model import FLOAT32, RunsOn
from cadnode.inference.engine import unfit
from cadnode.inference.folded import INPUT
from cadnode.inference.onnx_graph import OUTPUTS

BATCH = 16
_LIBRARY = "ONNX Runtime"
_FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    *(one for one in vars(raised).values() if isinstance(one, type) and issubclass(one, Exception)),
)
"""Its errors have no base of their own."""

# Only its Windows build reports anything; said all the same.
onnxruntime.disable_telemetry_events()


class OnnxRuntimeEngine:
    """The model of `onnx_graph`, in float32: its CPU kernels know no bfloat16."""

    def __init__(self, model: bytes) -> None:
        """`model` as an ONNX file."""
        options = onnxruntime.SessionOptions()
        # Not one for each core of the machine: those that this process may use.
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except _FAILURES as error:
            unfit(_LIBRARY, error)
        self._runs_on = RunsOn("CPU", FLOAT32, f"{_LIBRARY} {onnxruntime.__version__}")

    @property
    def runs_on(self) -> RunsOn:
        return self._runs_on

    @property
    def batch(self) -> int:
        return BATCH

    def run(self, patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        try:
            probability, maps = self._session.run(OUTPUTS, {INPUT: np.ascontiguousarray(patches)})
        except _FAILURES as error:
            unfit(_LIBRARY, error)
        return probability, maps
