"""Picks what runs a bundle; importing this imports no framework.

By itself it takes the first in `ORDER` that is installed and gives the golden scores. The order is
of their speed with this network on CPUs with and without AMX (docs/performance.md): OpenVINO is far
ahead, the other two are near each other. On a GPU, Keras alone. What gives them in float32 and not screened in
bfloat16 is taken in float32, after the others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import structlog

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import BFLOAT16, FLOAT32, INT8
from cadnode.inference.bundle import Bundle, verify_golden
from cadnode.inference.classifier import BAND, BundleClassifier
from cadnode.inference.engine import Engine
from cadnode.inference.folded import Folded, fold
from cadnode.inference.hardware import has_amx, has_gpu, int8_pays
from cadnode.inference.quiet import quiet

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

Way = tuple[str, ...]
"""The precisions to compute in: the quick one, and the exact one if there are two."""


def load_classifier(
    bundle: Bundle, *, runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> Classifier:
    """The bundle as a `Classifier`. Takes seconds.

    `runtime` is auto, keras, openvino or onnxruntime; `device` auto, cpu or gpu; `precision` auto
    (int8 or bfloat16 where the device is faster with it, and float32 again for whatever may become
    a mark), float32 or bfloat16. Raises ModelUnfit, also where the runtime is not installed.
    """
    network = _Network(bundle)
    if runtime != "auto":
        way = next(_ways(bundle, runtime, device, precision))
        return _load(bundle, network, runtime, device, way, why="as set")
    return _first_that_agrees(bundle, network, device, precision)


def onnx_file(bundle: Bundle, *, in_int8: bool = False) -> bytes:
    """The bundle's network as an ONNX file, in float32 or rounded to int8. Raises ModelUnfit, also
    where int8 is wanted and the bundle has no ranges for it."""
    network = _Network(bundle)
    try:
        return network.file_in_int8 if in_int8 else network.file
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
        return self._onnx(None)

    @property
    def file_in_int8(self) -> bytes:
        """As ONNX, with eight bits wherever they do."""
        screening = self._bundle.screening()
        if screening is None:
            raise ModelUnfit(f"{self._bundle.folder} has no ranges for int8")
        return self._onnx(screening.ranges)

    def _onnx(self, ranges: Mapping[str, float] | None) -> bytes:
        from cadnode.inference.onnx_graph import onnx_model

        spec = self._bundle.spec
        about = (
            f"{spec.name} {spec.version}: grey levels of {spec.patch_size} x {spec.patch_size}"
            f" patches at {spec.pitch_mm:g} mm, normalised by {spec.normalisation}."
            " For research use only; not a medical device."
        )
        return bytes(onnx_model(self.folded, about, ranges=ranges).SerializeToString())


def _first_that_agrees(
    bundle: Bundle, network: _Network, device: str, precision: str
) -> Classifier:
    tried: list[str] = []
    for runtime, way in _attempts(bundle, device, precision):
        why = "; ".join(["the quickest that is installed and agrees", *tried])
        try:
            classifier = _load(bundle, network, runtime, device, way, why=why)
            verify_golden(bundle, classifier)
        except ModelUnfit as error:
            # What is not installed is no news; what is installed and fails is.
            installed = not isinstance(error.__cause__, ModuleNotFoundError)
            (log.warning if installed else log.debug)(
                "a runtime is passed over", runtime=runtime, detail=error.detail
            )
            said = f"{runtime} passed over: {error.detail}"
            if said not in tried:
                tried.append(said)
            continue
        return classifier
    raise ModelUnfit(f"no runtime for {bundle.folder}: {'; '.join(tried)}")


def _attempts(bundle: Bundle, device: str, precision: str) -> Iterator[tuple[str, Way]]:
    later = []
    for runtime in _candidates(device):
        for way in _ways(bundle, runtime, device, precision):
            yield runtime, way
            if way == (BFLOAT16, FLOAT32):
                later.append((runtime, (FLOAT32,)))
    yield from later


def _ways(bundle: Bundle, runtime: str, device: str, precision: str) -> Iterator[Way]:
    """What is asked for, or the quickest for this bundle and after it the next."""
    if precision != "auto":
        yield (precision,)
        return
    if runtime == OPENVINO and device != "gpu" and bundle.screening() and int8_pays():
        yield INT8, FLOAT32
    yield (BFLOAT16, FLOAT32) if _bfloat16_pays(runtime, device) else (FLOAT32,)


def _candidates(device: str) -> tuple[str, ...]:
    if device == "gpu":
        return (KERAS,)
    if device == "auto" and has_gpu() and _keras_uses_it():
        return (KERAS, *(runtime for runtime in ORDER if runtime != KERAS))
    return ORDER


def _keras_uses_it() -> bool:
    """Whether Keras, as it is installed here, can use the GPU that has a driver."""
    try:
        with quiet():
            from cadnode.inference import keras_model

            return keras_model.has_accelerator()
    except ImportError:
        return False


def _load(
    bundle: Bundle, network: _Network, runtime: str, device: str, way: Way, *, why: str
) -> Classifier:
    if device == "gpu" and runtime != KERAS:
        raise ModelUnfit(f"on a GPU the runtime is keras, not {runtime}")
    make = _ENGINES[runtime]
    try:
        with quiet():
            engines = [make(network, device, precision) for precision in way]
    except ImportError as error:
        raise _missing(runtime, error) from error
    screening = bundle.screening() if way[0] == INT8 else None
    band = screening.band if screening else BAND
    return BundleClassifier(bundle.spec, *engines, band=band, why=why)


def _missing(runtime: str, error: ImportError) -> ModelUnfit:
    if isinstance(error, ModuleNotFoundError):
        return ModelUnfit(f"{error.name} is not installed: pip install {EXTRAS[runtime]}")
    return ModelUnfit(f"{runtime} is installed and cannot be loaded: {error}")


def _bfloat16_pays(runtime: str, device: str) -> bool:
    if runtime == ONNXRUNTIME:
        return False
    if runtime == KERAS and device != "cpu":
        try:
            with quiet():
                from cadnode.inference.keras_model import bfloat16_pays

                return bfloat16_pays(device)
        except (ImportError, ModelUnfit):
            # Loading it will say so.
            return False
    return has_amx()


def _keras(network: _Network, device: str, precision: str) -> Engine:
    from cadnode.inference.keras_model import KerasEngine

    return KerasEngine(network.folded, device=device, precision=precision)


def _openvino(network: _Network, device: str, precision: str) -> Engine:
    from cadnode.inference.openvino_model import OpenVinoEngine

    return OpenVinoEngine(network.file_in_int8 if precision == INT8 else network.file, precision)


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
