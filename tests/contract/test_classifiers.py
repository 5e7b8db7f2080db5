"""Every `Classifier`: same answer twice, in any batch, in range. The bundle we ship too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import BFLOAT16, FLOAT32, INT8, marks_in_float32
from cadnode.core.ports import Classifier
from cadnode.inference.bundle import Bundle, find_bundle, list_bundles, load_bundle, verify_golden
from cadnode.inference.runtime import load_classifier
from tests.contract.fake_classifier import FAKE_SPEC, FakeClassifier
from tests.contract.fake_engine import screened

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return find_bundle(MODELS, "calc-resnet50")


LOADED = {
    "keras": ("keras", "float32"),
    "keras in bfloat16": ("keras", "bfloat16"),
    "openvino": ("openvino", "float32"),
    "openvino in bfloat16": ("openvino", "bfloat16"),
    "onnxruntime": ("onnxruntime", "auto"),
    "int8": ("openvino", "auto"),
    "auto": ("auto", "auto"),
}
"""What is asked for: runtime and precision."""
WITHIN = {"keras in bfloat16": 0.02, "openvino in bfloat16": 0.02, "int8": 0.02, "auto": 0.02}
"""How far a score may be off elsewhere than in float32; `auto` screens where the CPU is quick so."""


@pytest.fixture(scope="module")
def load(shipped: Bundle) -> Callable[[str], Classifier]:
    return functools.cache(lambda name: load_ported(shipped, name))


def load_ported(bundle: Bundle, name: str) -> Classifier:
    runtime, precision = LOADED[name]
    with pytest.MonkeyPatch.context() as patch:
        if name == "int8":
            # Any CPU computes it; those without the instructions only slowly.
            patch.setattr("cadnode.inference.runtime.int8_pays", lambda: True)
        return load_classifier(bundle, runtime=runtime, device="cpu", precision=precision)


@pytest.fixture(params=["fake", "screened", *LOADED])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def classifier(name: str, load: Callable[[str], Classifier]) -> Classifier:
    if name == "fake":
        return FakeClassifier()
    if name == "screened":
        return screened(FAKE_SPEC)
    return load(name)


@pytest.fixture
def keras_classifier(load: Callable[[str], Classifier]) -> Classifier:
    return load("keras")


def some_patches(classifier: Classifier, count: int) -> np.ndarray:
    size = classifier.spec.patch_size
    rng = np.random.default_rng(4)
    return rng.uniform(40, 220, (count, size, size)).astype(np.float32)


def test_scores_and_maps_have_the_shapes_the_spec_promises(classifier: Classifier) -> None:
    scores = classifier.classify(some_patches(classifier, 3))
    cells = classifier.spec.map_size
    assert scores.probability.shape == (3,)
    assert scores.maps.shape == (3, cells, cells)
    for values in (scores.probability, scores.maps):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1


def test_it_says_what_it_computes_on(classifier: Classifier) -> None:
    assert classifier.runs_on.device
    assert classifier.runs_on.precision.startswith(("float", "bfloat", "int8"))


@pytest.mark.parametrize(
    ("asked", "runtime", "precision"),
    [
        ("keras", "Keras", FLOAT32),
        ("keras in bfloat16", "Keras", BFLOAT16),
        ("openvino", "OpenVINO", FLOAT32),
        ("openvino in bfloat16", "OpenVINO", BFLOAT16),
        ("onnxruntime", "ONNX Runtime", FLOAT32),
        ("int8", "OpenVINO", marks_in_float32(INT8)),
    ],
)
def test_what_the_settings_name_is_what_computes(
    load: Callable[[str], Classifier], asked: str, runtime: str, precision: str
) -> None:
    on = load(asked).runs_on
    assert on.runtime.startswith(runtime)
    assert (on.device, on.precision, on.why) == ("CPU", precision, "as set")


def test_an_accelerator_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from cadnode.inference.keras_model import _name_of

    details = {"first": {}, "second": {"device_name": "A fast one"}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [*details])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert [_name_of(device) for device in ("cpu:0", "gpu:0", "gpu:1")] == [
        "CPU",
        "gpu:0",
        "A fast one",
    ]


def test_the_same_patches_get_the_same_scores_twice(classifier: Classifier) -> None:
    patches = some_patches(classifier, 2)
    first, second = classifier.classify(patches), classifier.classify(patches)
    np.testing.assert_array_equal(first.probability, second.probability)
    np.testing.assert_array_equal(first.maps, second.maps)


def test_the_size_of_the_batch_does_not_change_a_score(name: str, classifier: Classifier) -> None:
    patches = some_patches(classifier, 6)
    together = classifier.classify(patches)
    for index in (0, 5):
        alone = classifier.classify(patches[index : index + 1])
        within = WITHIN.get(name, 1e-4)
        np.testing.assert_allclose(alone.probability[0], together.probability[index], atol=within)
        np.testing.assert_allclose(alone.maps[0], together.maps[index], atol=within)


def test_no_patches_get_no_scores(classifier: Classifier) -> None:
    scores = classifier.classify(some_patches(classifier, 0))
    assert len(scores.probability) == 0
    assert len(scores.maps) == 0


@pytest.mark.parametrize("runtime", LOADED)
def test_the_shipped_bundle_gives_its_golden_scores(
    shipped: Bundle, load: Callable[[str], Classifier], runtime: str
) -> None:
    assert verify_golden(shipped, load(runtime)) < WITHIN.get(runtime, 1e-3)
    expected = shipped.golden()[1]
    assert expected[: len(expected) // 2].min() > expected[len(expected) // 2 :].max()


def test_the_golden_check_notices_a_model_that_scores_otherwise(shipped: Bundle) -> None:
    with pytest.raises(ModelUnfit, match="golden score is off"):
        verify_golden(shipped, FakeClassifier())


def test_the_shipped_bundle_fits_a_small_repository(shipped: Bundle) -> None:
    assert sum(path.stat().st_size for path in shipped.folder.iterdir()) < 60_000_000


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_every_runtime_gives_the_maps_of_the_reference(
    shipped: Bundle, load: Callable[[str], Classifier], runtime: str
) -> None:
    patches = shipped.golden()[0]
    ours, reference = load(runtime).classify(patches), load("keras").classify(patches)
    np.testing.assert_allclose(ours.probability, reference.probability, atol=1e-5)
    np.testing.assert_allclose(ours.maps, reference.maps, atol=1e-5)


def test_patches_of_another_size_are_refused(keras_classifier: Classifier) -> None:
    with pytest.raises(ModelUnfit, match="the model takes 224"):
        keras_classifier.classify(np.zeros((1, 100, 100), np.float32))


def copy_of(bundle: Bundle, folder: Path) -> Path:
    for path in bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_an_altered_weights_file_makes_the_bundle_unfit(shipped: Bundle, tmp_path: Path) -> None:
    folder = copy_of(shipped, tmp_path)
    weights = folder / shipped.weights[0].name
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelUnfit, match="not the file this bundle was made with"):
        load_bundle(folder)


def test_a_missing_file_makes_the_bundle_unfit(shipped: Bundle, tmp_path: Path) -> None:
    folder = copy_of(shipped, tmp_path)
    (folder / "golden.npz").unlink()
    with pytest.raises(ModelUnfit, match=r"golden\.npz is missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('architecture = "resnet50-grey"', 'architecture = "vit"', "cannot run vit"),
        ('normalisation = "local-contrast"', 'normalisation = "none"', "no normalisation"),
        ("thresholds = [", "thresholds = [0.01, ", "do not hold together"),
        ("patch_size = 224", "", "patch_size"),
        ("map_size = 7", "map_size = 14", "a cell of the map for each 32 pixels"),
        ("]\nrecommended", ", 0.0]\nrecommended", "not between 0 and 1"),
        ("thresholds = [", "thresholds = [1.0, ", "not between 0 and 1"),
        ("thresholds = [", "thresholds = [inf, ", "not between 0 and 1"),
    ],
)
def test_a_manifest_that_asks_for_what_we_have_not_got_is_refused(
    shipped: Bundle, tmp_path: Path, old: str, new: str, why: str
) -> None:
    folder = copy_of(shipped, tmp_path)
    manifest = folder / "manifest.toml"
    text = manifest.read_text("utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ModelUnfit, match=why):
        load_bundle(folder)


def test_a_golden_example_without_scores_makes_the_bundle_unfit(
    shipped: Bundle, tmp_path: Path
) -> None:
    np.savez(tmp_path / "golden.npz", patches=np.zeros((1, 224, 224), np.uint8))
    with pytest.raises(ModelUnfit, match=r"golden\.npz has no probability"):
        replace(shipped, folder=tmp_path).golden()


def test_the_latest_version_is_the_highest_not_the_last_by_name(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "manifest.toml").write_text("", "utf-8")
    assert [version for _, version in list_bundles(tmp_path)] == ["0.2.0", "0.9.0", "0.10.0"]


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnfit, match="no model calc-resnet50"):
        find_bundle(tmp_path, "calc-resnet50")


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ModelUnfit, match=r"no version 99\.0 of model calc-resnet50; there are"):
        find_bundle(MODELS, "calc-resnet50", "99.0")
