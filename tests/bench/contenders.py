"""What is measured against each other in `tests.bench.inference`: each a way to score patches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from cadnode.core.model import BFLOAT16, FLOAT32, INT8
from cadnode.core.ports import Classifier
from cadnode.inference.bundle import Bundle
from cadnode.inference.folded import Convolution, fold
from cadnode.inference.hardware import has_gpu
from cadnode.inference.runtime import load_classifier, onnx_file
from cadnode.training.network import build, load_weights

SETTLE_SECONDS = 0.15
"""Between two of them: the threads of a runtime spin for a while after its work."""
PRODUCT = {"CPU": 2048, "GPU": 8192}
"""Side of the matrices of the ceiling."""


@dataclass
class Contenders:
    """Loads each contender when it is first asked for."""

    bundle: Bundle
    patches: np.ndarray

    @cached_property
    def plain(self) -> Callable[[np.ndarray, int], object]:
        """The network as it was trained, by `model.predict` in float32."""
        model = build()
        load_weights(model, self.bundle.arrays())
        return lambda patches, batch: model.predict(patches[..., None], batch, verbose=0)

    @cached_property
    def onnxruntime(self) -> Callable[[np.ndarray, int], object]:
        """ONNX Runtime with its own settings, on the exported file."""
        import onnxruntime

        session = onnxruntime.InferenceSession(
            onnx_file(self.bundle), providers=["CPUExecutionProvider"]
        )
        return _by_batches(lambda part: session.run(None, {"grey": part}))

    def openvino(self, precision: str) -> Callable[[np.ndarray, int], object]:
        """OpenVINO on the exported file."""
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(model=onnx_file(self.bundle, in_int8=precision == INT8)),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": {FLOAT32: "f32", BFLOAT16: "bf16", INT8: "f32"}[
                    precision
                ]
            },
        )
        return _by_batches(lambda part: compiled({"grey": part}))

    def ours(self, runtime: str, precision: str = "auto") -> Classifier:
        """As a worker has it."""
        return load_classifier(self.bundle, runtime=runtime, precision=precision)

    def rate(
        self, score: Callable[[np.ndarray, int], object], batch: int, count: int
    ) -> Callable[[], float]:
        """Patches a second of `count` patches in batches."""
        patches = self.patches[np.arange(count) % len(self.patches)]

        def measure() -> float:
            time.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            score(patches, batch)
            return count / (time.perf_counter() - began)

        measure()
        return measure

    @property
    def operations(self) -> float:
        """Floating point operations for one patch in the folded network."""
        network = fold(self.bundle.arrays(), self.bundle.spec.patch_size)
        sides = {"grey": network.patch_size}
        total = 0.0
        for step in network.steps:
            stride = step.stride if isinstance(step, Convolution) else 2
            side = sides[step.name] = sides[step.source] // stride
            if isinstance(step, Convolution):
                total += 2.0 * step.kernel.size * side**2
        return total


def product(precision: str) -> Callable[[], float]:
    """Operations a second of one large matrix product in the library under Keras, the best of
    three: what no network can pass by much."""
    side = PRODUCT["GPU" if has_gpu() else "CPU"]
    random = np.random.default_rng(1)
    factors = [
        keras.ops.cast(random.standard_normal((side, side), np.float32), precision) for _ in "ab"
    ]

    def once() -> float:
        began = time.perf_counter()
        # One value is quickly fetched, and has to wait for the whole product.
        keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.matmul(*factors)[0, 0], FLOAT32))
        return 2.0 * side**3 / (time.perf_counter() - began)

    once()

    def measure() -> float:
        time.sleep(SETTLE_SECONDS)
        return max(once() for _ in range(3))

    return measure


def _by_batches(run: Callable[[np.ndarray], object]) -> Callable[[np.ndarray, int], object]:
    def score(patches: np.ndarray, batch: int) -> object:
        return [run(patches[first : first + batch]) for first in range(0, len(patches), batch)]

    return score
