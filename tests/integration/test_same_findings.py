"""The findings of real films are the same in every runtime, and with bfloat16 or int8 where they may
be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadnode.core.analysis import Prepared, analyze, prepare
from cadnode.core.findings import Finding
from cadnode.core.model import BFLOAT16, FLOAT32, INT8, marks_in_float32
from cadnode.demo.exams import rebuild_exams
from cadnode.dicom.reader import DicomReader
from cadnode.inference.bundle import Bundle, find_bundle
from cadnode.inference.classifier import BundleClassifier
from cadnode.inference.engine import Engine
from cadnode.inference.folded import fold
from cadnode.inference.keras_model import KerasEngine
from cadnode.inference.openvino_model import OpenVinoEngine
from cadnode.inference.runtime import load_classifier, onnx_file

MODELS = Path(__file__).parents[2] / "models"
FILMS = ("exam-1/RCC.dcm",)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return find_bundle(MODELS, "calc-resnet50")


@pytest.fixture(scope="module")
def films(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Prepared]:
    folder = tmp_path_factory.mktemp("films")
    rebuild_exams(folder)
    reader = DicomReader()
    images = [reader.mammogram(folder / name, reader.header(folder / name)) for name in FILMS]
    return [prepare(image, bundle.spec) for image in images]


@pytest.fixture(scope="module")
def exact(bundle: Bundle) -> Engine:
    return OpenVinoEngine(onnx_file(bundle), FLOAT32)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, films: list[Prepared], exact: Engine) -> list[tuple[Finding, ...]]:
    found = [analyze(film, BundleClassifier(bundle.spec, exact)).findings for film in films]
    assert all(found), "a film without a finding shows nothing"
    return found


@pytest.mark.parametrize("runtime", ["openvino", "keras"])
def test_screened_in_bfloat16_they_are_those_of_float32(
    bundle: Bundle,
    films: list[Prepared],
    exact: Engine,
    expected: list[tuple[Finding, ...]],
    runtime: str,
) -> None:
    quick: Engine
    if runtime == "openvino":
        quick = OpenVinoEngine(onnx_file(bundle), BFLOAT16)
    else:
        network = fold(bundle.arrays(), bundle.spec.patch_size)
        quick = KerasEngine(network, device="cpu", precision=BFLOAT16)
    classifier = BundleClassifier(bundle.spec, quick, exact)
    assert [analyze(film, classifier).findings for film in films] == expected
    alone = BundleClassifier(bundle.spec, quick)
    assert [analyze(film, alone).findings for film in films] != expected


def test_screened_in_int8_they_are_those_of_float32(
    bundle: Bundle,
    films: list[Prepared],
    expected: list[tuple[Finding, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cadnode.inference.runtime.int8_pays", lambda: True)
    classifier = load_classifier(bundle, runtime="openvino", device="cpu")
    assert classifier.runs_on.precision == marks_in_float32(INT8)
    assert [analyze(film, classifier).findings for film in films] == expected
    alone = BundleClassifier(bundle.spec, OpenVinoEngine(onnx_file(bundle, in_int8=True), INT8))
    assert [analyze(film, alone).findings for film in films] != expected


def test_the_band_of_the_bundle_is_what_is_scored_again(
    bundle: Bundle, films: list[Prepared], exact: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of what lies in it, not reaching a mark, has the score of float32; what is below not."""
    monkeypatch.setattr("cadnode.inference.runtime.int8_pays", lambda: True)
    screening = bundle.screening()
    assert screening
    patches = films[0].patches
    ours, quick, right = (
        classifier.classify(patches).probability
        for classifier in (
            load_classifier(bundle, runtime="openvino", device="cpu"),
            BundleClassifier(bundle.spec, OpenVinoEngine(onnx_file(bundle, in_int8=True), INT8)),
            BundleClassifier(bundle.spec, exact),
        )
    )
    lowest = min(bundle.spec.thresholds)
    edge = 1 / (1 + np.exp(screening.band) * (1 - lowest) / lowest)
    again = quick >= edge
    assert (again & (right < lowest)).any()
    np.testing.assert_allclose(ours[again], right[again], atol=1e-6)
    np.testing.assert_allclose(ours[~again], quick[~again], atol=1e-6)
    assert not np.allclose(ours[~again], right[~again], atol=1e-4)


@pytest.mark.parametrize("runtime", ["keras", "onnxruntime"])
def test_another_runtime_moves_them_by_less_than_a_pixel(
    bundle: Bundle, films: list[Prepared], expected: list[tuple[Finding, ...]], runtime: str
) -> None:
    classifier = load_classifier(bundle, runtime=runtime, device="cpu", precision=FLOAT32)
    for film, theirs in zip(films, expected, strict=True):
        ours = analyze(film, classifier).findings
        assert [one.operating_point for one in ours] == [one.operating_point for one in theirs]
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            np.testing.assert_allclose(one.center, other.center, atol=0.01)
            assert len(one.calcifications) == len(other.calcifications)
