"""Picks what runs a bundle; importing this imports no framework.

By itself it takes the first in `ORDER` that is installed and gives the golden scores. The order is
that of their speed with this network on a CPU, with and without AMX, at every batch size
(docs/performance.md); on a GPU, Keras alone. What gives them in float32 only is taken in float32,
after the others.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import structlog

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import BFLOAT16, FLOAT32, SCREENED
from cadnode.inference.bundle import Bundle, verify_golden
from cadnode.inference.classifier import BundleClassifier
from cadnode.inference.engine import Engine
from cadnode.inference.folded import Folded, fold
from cadnode.inference.hardware import has_amx, has_gpu

if TYPE_CHECKING:
    from cadnode.core.ports import Classifier

log = structlog.get_logger(__name__)

KERAS, OPENVINO, ONNXRUNTIME = "keras", "openvino", "onnxruntime"
ORDER = (OPENVINO, KERAS, ONNXRUNTIME)
EXTRAS = {
    KERAS: "'cadnode[cpu]' or 'cadnode[gpu]'",
    OPENVINO: "'cadnode[openvino]'",
    ONNXRUNTIME: "'cadnode[onnx]'",
}
"""What to install, by runtime."""


def load_classifier(
    bundle: Bundle, *, runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> Classifier:
    """The bundle as a `Classifier`. Takes seconds.

    `runtime` is auto, keras, openvino or onnxruntime; `device` auto, cpu or gpu; `precision` auto
    (bfloat16 where the device is faster with it, and float32 again for whatever may become a
    mark), float32 or bfloat16. Raises ModelUnfit, also where the runtime is not installed.
    """
    network = _Network(bundle)
    if runtime != "auto":
        return _load(bundle, network, runtime, device, precision, why="as set")
    return _first_that_agrees(bundle, network, device, precision)


def onnx_file(bundle: Bundle) -> bytes:
    """The bundle's network as an ONNX file, in float32. Raises ModelUnfit."""
    try:
        return _Network(bundle).file
    except ImportError as error:
        raise _missing(ONNXRUNTIME, error) from error


class _Network:
    """The weights, folded when they are first asked for and kept for a second engine."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @functools.cached_property
    def folded(self) -> Folded:
        try:
            return fold(self._bundle.arrays(), self._bundle.spec.patch_size)
        except (KeyError, ValueError) as error:
            raise ModelUnfit(f"{self._bundle.folder}: the weights do not fit: {error}") from error

    @functools.cached_property
    def file(self) -> bytes:
        """As ONNX."""
        from cadnode.inference.onnx_graph import onnx_model

        spec = self._bundle.spec
        about = (
            f"{spec.name} {spec.version}: grey levels of {spec.patch_size} x {spec.patch_size}"
            f" patches at {spec.pitch_mm:g} mm, normalised by {spec.normalisation}."
            " For research use only; not a medical device."
        )
        return bytes(onnx_model(self.folded, about).SerializeToString())


def _first_that_agrees(
    bundle: Bundle, network: _Network, device: str, precision: str
) -> Classifier:
    tried: list[str] = []
    waiting = deque((runtime, precision) for runtime in _candidates(device))
    while waiting:
        runtime, wanted = waiting.popleft()
        why = "; ".join(["the quickest that is installed and agrees", *tried])
        try:
            classifier = _load(bundle, network, runtime, device, wanted, why=why)
            if classifier.runs_on.precision == SCREENED:
                waiting.append((runtime, FLOAT32))
            verify_golden(bundle, classifier)
        except ModelUnfit as error:
            # What is not installed is no news; what is installed and fails is.
            installed = not isinstance(error.__cause__, ModuleNotFoundError)
            (log.warning if installed else log.debug)(
                "a runtime is passed over", runtime=runtime, detail=error.detail
            )
            tried.append(f"{runtime} passed over: {error.detail}")
            continue
        return classifier
    raise ModelUnfit(f"no runtime for {bundle.folder}: {'; '.join(tried)}")


def _candidates(device: str) -> tuple[str, ...]:
    if device == "gpu":
        return (KERAS,)
    if device == "auto" and has_gpu() and _keras_uses_it():
        return (KERAS, *(runtime for runtime in ORDER if runtime != KERAS))
    return ORDER


def _keras_uses_it() -> bool:
    """Whether Keras, as it is installed here, can use the GPU that has a driver."""
    try:
        with _quiet():
            from cadnode.inference import keras_model

            return keras_model.has_accelerator()
    except ImportError:
        return False


def _load(
    bundle: Bundle, network: _Network, runtime: str, device: str, precision: str, *, why: str
) -> Classifier:
    if device == "gpu" and runtime != KERAS:
        raise ModelUnfit(f"on a GPU the runtime is keras, not {runtime}")
    make = _ENGINES[runtime]
    try:
        with _quiet():
            wanted = [precision]
            if precision == "auto":
                pays = _bfloat16_pays(runtime, device)
                wanted = [BFLOAT16, FLOAT32] if pays else [FLOAT32]
            engines = [make(network, device, one) for one in wanted]
    except ImportError as error:
        raise _missing(runtime, error) from error
    return BundleClassifier(bundle.spec, *engines, why=why)


def _missing(runtime: str, error: ImportError) -> ModelUnfit:
    if isinstance(error, ModuleNotFoundError):
        return ModelUnfit(f"{error.name} is not installed: pip install {EXTRAS[runtime]}")
    return ModelUnfit(f"{runtime} is installed and cannot be loaded: {error}")


def _bfloat16_pays(runtime: str, device: str) -> bool:
    if runtime == ONNXRUNTIME:
        return False
    if runtime == KERAS and device != "cpu":
        from cadnode.inference.keras_model import bfloat16_pays

        return bfloat16_pays(device)
    return has_amx()


def _keras(network: _Network, device: str, precision: str) -> Engine:
    from cadnode.inference.keras_model import KerasEngine

    return KerasEngine(network.folded, device=device, precision=precision)


def _openvino(network: _Network, device: str, precision: str) -> Engine:
    from cadnode.inference.openvino_model import OpenVinoEngine

    return OpenVinoEngine(network.file, precision)


def _onnxruntime(network: _Network, device: str, precision: str) -> Engine:
    from cadnode.inference.onnxruntime_model import OnnxRuntimeEngine

    if precision == BFLOAT16:
        raise ModelUnfit("ONNX Runtime computes in float32 here: precision auto or float32")
    return OnnxRuntimeEngine(network.file)


_ENGINES: dict[str, Callable[[_Network, str, str], Engine]] = {
    KERAS: _keras,
    OPENVINO: _openvino,
    ONNXRUNTIME: _onnxruntime,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's C++ part writes to the standard error stream before it can be told not to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
