"""A bundle as an ONNX file, and whether every runtime reads out of it what Keras gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import PatchScores
from cadnode.inference.bundle import GOLDEN_TOLERANCE, Bundle
from cadnode.inference.classifier import BundleClassifier
from cadnode.inference.engine import Engine
from cadnode.inference.runtime import KERAS, load_classifier, onnx_file


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one runtime's reading of the file is from the reference, on the golden patches."""

    runtime: str
    probability: float
    """The largest difference."""
    maps: float
    """The largest difference of a cell."""


def export(bundle: Bundle, out: Path) -> list[Agreement]:
    """Write the folded network in float32 to `out`, and compare it with Keras in every runtime
    that is installed here.

    Raises ModelUnfit, and leaves no file, where one of them does not agree, where none is
    installed, and where Keras or the package `onnx` is missing or `out` cannot be written.
    """
    patches, _ = bundle.golden()
    reference = load_classifier(bundle, runtime=KERAS, device="cpu", precision="float32")
    expected = reference.classify(patches)
    content = onnx_file(bundle)
    found = []
    for make in (_openvino, _onnxruntime):
        try:
            engine = make(content)
        except ImportError:
            continue
        scores = BundleClassifier(bundle.spec, engine).classify(patches)
        found.append(_agreement(engine.runs_on.runtime, scores, expected))
    if not found:
        raise ModelUnfit(
            "nothing here reads ONNX: pip install 'cadnode[openvino]' or 'cadnode[onnx]'"
        )
    for one in found:
        if not max(one.probability, one.maps) <= GOLDEN_TOLERANCE:
            raise ModelUnfit(f"{one.runtime} does not agree with Keras: {one}")
    aside = out.with_name(f".{out.name}.part")
    try:
        aside.write_bytes(content)
        aside.replace(out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise ModelUnfit(f"{out}: {error.strerror}") from error
    return found


def _agreement(runtime: str, scores: PatchScores, expected: PatchScores) -> Agreement:
    return Agreement(
        runtime,
        float(np.abs(scores.probability - expected.probability).max()),
        float(np.abs(scores.maps - expected.maps).max()),
    )


def _openvino(content: bytes) -> Engine:
    from cadnode.inference.openvino_model import OpenVinoEngine

    return OpenVinoEngine(content, "float32")


def _onnxruntime(content: bytes) -> Engine:
    from cadnode.inference.onnxruntime_model import OnnxRuntimeEngine

    return OnnxRuntimeEngine(content)
