"""The network in OpenVINO, on the CPU. The only module that knows the package."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadnode.core.model import BFLOAT16, RunsOn
from cadnode.inference.engine import unfit
from cadnode.inference.folded import INPUT
from cadnode.inference.onnx_graph import OUTPUTS

# Importing openvino imports its conversion tool, and that reports to its maker over the network
# unless it was told not to. Python takes a module that is None here for one not installed.
for _reporter in ("openvino_telemetry", "openvino.tools.ovc"):
    sys.modules.setdefault(_reporter, None)  # type: ignore[arg-type]

import openvino  # noqa: E402

BATCH = 16


class OpenVinoEngine:
    """The model of `onnx_graph`, compiled."""

    def __init__(self, model: bytes, precision: str) -> None:
        """`model` as an ONNX file; `precision` is float32, bfloat16, or int8 when the file has its
        kernels in that."""
        self._runs_on = RunsOn("CPU", precision, f"OpenVINO {openvino.__version__.split('-')[0]}")
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            # Left to itself it takes bfloat16 wherever the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == BFLOAT16 else "f32",
        }
        try:
            compiled = core.compile_model(core.read_model(model=model), "CPU", settings)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            unfit(f"OpenVINO in {precision}", error)
        self._lock = threading.Lock()

    @property
    def runs_on(self) -> RunsOn:
        return self._runs_on

    @property
    def batch(self) -> int:
        return BATCH

    def run(self, patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        probability, maps = self.outputs(patches, OUTPUTS)
        return probability, maps

    def outputs(
        self, patches: NDArray[np.float32], names: Sequence[str]
    ) -> list[NDArray[np.float32]]:
        """These outputs of the file for 1 to `batch` patches. Raises ModelUnfit."""
        with self._lock:
            try:
                answer = self._request.infer({INPUT: np.ascontiguousarray(patches)})
            except RuntimeError as error:
                unfit("OpenVINO", error)
            return [np.array(answer[name]) for name in names]
