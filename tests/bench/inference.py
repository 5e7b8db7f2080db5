"""Patches per second against what else runs the same weights: `python -m tests.bench.inference`.

KERAS_BACKEND=jax or torch measures Keras on another backend; with a GPU, Keras is measured on it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from cadnode.core.analysis import analyze_mammogram
from cadnode.core.grid import cut, tile, to_model_grid
from cadnode.core.intensity import NORMALISATIONS
from cadnode.core.mammogram import Mammogram
from cadnode.core.model import BFLOAT16, FLOAT32, INT8, ModelSpec
from cadnode.demo.exams import rebuild_exams
from cadnode.dicom.reader import DicomReader
from cadnode.inference.bundle import Bundle, find_bundle
from cadnode.inference.classifier import BAND, BundleClassifier, below
from cadnode.inference.folded import fold
from cadnode.inference.keras_model import KerasEngine
from cadnode.inference.openvino_model import OpenVinoEngine
from cadnode.inference.runtime import onnx_file
from tests.bench.contenders import Contenders, product
from tests.bench.one_image import full_size, stages
from tests.bench.section import Section, interleaved, ratios, run_alone, table

MODELS = Path(__file__).parents[2] / "models"
RUNS = 5
WHOLE = 154
"""Patches of an image that is breast from edge to edge."""
PLAIN = "Keras `model.predict`, float32, batch 154"


def measure(quick: bool) -> Section:
    """All of it; takes some minutes."""
    runs, whole = (1, 16) if quick else (RUNS, WHOLE)
    bundle = find_bundle(MODELS, "calc-resnet50")
    reader = DicomReader()
    with tempfile.TemporaryDirectory() as folder:
        films = [image.path for exam in rebuild_exams(Path(folder)) for image in exam.images][
            : 1 if quick else None
        ]
        images = [reader.mammogram(path, reader.header(path)) for path in films]
        contenders = Contenders(bundle, _patches(images, bundle.spec))
        keras_ours, ours = contenders.ours("keras"), contenders.ours("auto")
        found = _rates(contenders, keras_ours.classify, ours.classify, runs, whole)
        took = _image(full_size(films[0], Path(folder)), reader, ours, runs)
    agreement, raw = _agreement(bundle, images, contenders.patches)
    text = (
        f"{bundle.spec.name} {bundle.spec.version}. Keras runs on {keras_ours.runs_on.text}; `auto` on {ours.runs_on.text}. The network"
        f" takes {contenders.operations / 1e9:.2f} GFLOP for a patch of 224 x 224 with BatchNorm"
        f" folded and one grey channel; {len(contenders.patches)} patches of {len(images)} film"
        f" mammograms. The ceiling is one large matrix product in Keras' {keras.backend.backend()}"
        " in the same run. OpenVINO and ONNX Runtime run the exported file.\n\n"
        f"{table(_image_rows(took))}\n{table(agreement)}"
    )
    rows = _rows(found, contenders.operations)
    raw |= found | {f"one image: {name}": values for name, values in took.items()}
    return Section("Inference", text, rows, raw)


def _patches(images: Sequence[Mammogram], spec: ModelSpec) -> np.ndarray:
    found = []
    for image in images:
        grid = to_model_grid(image.pixels, image.valid, image.spacing, spec.pitch_mm)
        pixels = NORMALISATIONS[spec.normalisation](grid.pixels, grid.breast)
        origins = tile(grid.breast, patch_size=spec.patch_size, stride=spec.stride)
        found.append(cut(pixels, origins, spec.patch_size))
    return np.concatenate(found)


def _rates(
    contenders: Contenders, keras_ours: object, ours: object, runs: int, whole: int
) -> dict[str, list[float]]:
    assert callable(keras_ours)
    assert callable(ours)
    rate, few, some = contenders.rate, min(8, whole), min(64, whole)
    openvino = {
        precision: contenders.openvino(precision) for precision in (FLOAT32, BFLOAT16, INT8)
    }

    in_float32 = contenders.ours("auto", FLOAT32).classify

    def one_by_one(patches: np.ndarray, _batch: int) -> object:
        return [ours(patches[index : index + 1]) for index in range(len(patches))]

    return interleaved(
        {
            "Keras `model.predict`, float32, batch 1": rate(contenders.plain, 1, few),
            "Keras `model.predict`, float32, batch 32": rate(contenders.plain, 32, some),
            PLAIN: rate(contenders.plain, WHOLE, whole),
            "ONNX Runtime, float32, batch 16": rate(contenders.onnxruntime, 16, some),
            "OpenVINO, float32, batch 1": rate(openvino[FLOAT32], 1, few),
            "OpenVINO, float32, batch 16": rate(openvino[FLOAT32], 16, some),
            "OpenVINO, bfloat16, batch 1": rate(openvino[BFLOAT16], 1, few),
            "OpenVINO, bfloat16, batch 16": rate(openvino[BFLOAT16], 16, some),
            "OpenVINO, int8, batch 1": rate(openvino[INT8], 1, few),
            "OpenVINO, int8, batch 16": rate(openvino[INT8], 16, some),
            "ours, `auto` in float32, one image": rate(lambda p, _: in_float32(p), WHOLE, whole),
            "ours, `keras`, one image": rate(lambda p, _: keras_ours(p), WHOLE, whole),
            "ours, `auto`, one patch": rate(one_by_one, 1, few),
            "ours, `auto`, one image": rate(lambda p, _: ours(p), WHOLE, whole),
            "matrix product, float32 (FLOP/s)": product(FLOAT32),
            "matrix product, bfloat16 (FLOP/s)": product(BFLOAT16),
        },
        runs,
    )


def _rows(found: dict[str, list[float]], operations: float) -> list[list[str]]:
    rows = [["", "patches/s", "times plain Keras", "of the float32 ceiling", "of the higher one"]]
    products = {name: values for name, values in found.items() if "FLOP/s" in name}
    float32 = products["matrix product, float32 (FLOP/s)"]
    higher = max(products.values(), key=statistics.median)
    for name, values in found.items():
        patches = [value / operations for value in values] if name in products else values
        shares = [ratios(patches, [one / operations for one in top]) for top in (float32, higher)]
        middle = statistics.median(values)
        shown = f" ({middle / 1e9:.0f} GFLOP/s)" if name in products else ""
        rows.append(
            [
                name.removesuffix(" (FLOP/s)") + shown,
                f"{statistics.median(patches):.1f}",
                f"{ratios(patches, found[PLAIN]):.2f}",
                *(f"{100 * share:.0f} %" for share in shares),
            ]
        )
    return rows


def _image(
    path: Path, reader: DicomReader, classifier: object, runs: int
) -> dict[str, list[float]]:
    took = [stages(path, reader, classifier) for _ in range(runs + 1)][1:]  # type: ignore[arg-type]
    return {name: [one[name] for one in took] for name in took[0]}


def _image_rows(took: dict[str, list[float]]) -> list[list[str]]:
    patches = int(took["patches scored"][0])
    rows = [[f"one image of 2560 x 3328, {patches} patches on the breast", "ms"]]
    rows += [
        [name, f"{1000 * statistics.median(values):.0f}"]
        for name, values in took.items()
        if name != "patches scored"
    ]
    return rows


def _agreement(
    bundle: Bundle, images: Sequence[Mammogram], patches: np.ndarray
) -> tuple[list[list[str]], dict[str, list[float]]]:
    """How far each way is from Keras in float32, also those that are not the quickest here."""
    spec, network, file = (
        bundle.spec,
        fold(bundle.arrays(), bundle.spec.patch_size),
        onnx_file(bundle),
    )
    reference = BundleClassifier(spec, KerasEngine(network, device="auto", precision=FLOAT32))
    quick, exact = (OpenVinoEngine(file, precision) for precision in (BFLOAT16, FLOAT32))
    screening = bundle.screening()
    assert screening
    rounded = OpenVinoEngine(onnx_file(bundle, in_int8=True), INT8)
    ways = {
        "OpenVINO, float32": BundleClassifier(spec, exact),
        "OpenVINO, bfloat16": BundleClassifier(spec, quick),
        "OpenVINO, bfloat16 with marks in float32": BundleClassifier(spec, quick, exact),
        "OpenVINO, int8": BundleClassifier(spec, rounded),
        "OpenVINO, int8 with marks in float32": BundleClassifier(
            spec, rounded, exact, band=screening.band
        ),
    }
    bands = {
        "OpenVINO, bfloat16 with marks in float32": (ways["OpenVINO, bfloat16"], BAND),
        "OpenVINO, int8 with marks in float32": (ways["OpenVINO, int8"], screening.band),
    }
    expected = reference.classify(patches).probability
    marked = expected >= min(spec.thresholds)
    findings = [analyze_mammogram(image, reference).findings for image in images]
    rows = [
        [
            "against Keras in float32",
            "largest difference",
            "where a mark may come",
            "same marks",
            "scored again",
        ]
    ]
    raw = {}
    for name, way in ways.items():
        off = np.abs(way.classify(patches).probability - expected)
        again = ""
        if name in bands:
            alone, band = bands[name]
            edge = below(min(spec.thresholds), band)
            again = f"{100 * (alone.classify(patches).probability >= edge).mean():.0f} %"
        same = sum(
            len(theirs) == len(ours)
            and all(
                a.operating_point == b.operating_point and np.allclose(a.center, b.center, atol=0.5)
                for a, b in zip(theirs, ours, strict=True)
            )
            for theirs, ours in zip(
                findings, (analyze_mammogram(image, way).findings for image in images), strict=True
            )
        )
        near = float(off[marked].max(initial=0))
        rows.append(
            [name, f"{off.max():.1e}", f"{near:.1e}", f"{same} of {len(images)} images", again]
        )
        raw[f"{name}: largest difference, also where a mark may come"] = [float(off.max()), near]
    return rows, raw


if __name__ == "__main__":
    run_alone(measure, __doc__)
