"""`cadnode model calibrate` on images of a site: what the bundle says after it, and what it refuses."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cadnode.cli import cli
from cadnode.core.model import INT8, marks_in_float32
from cadnode.core.toml_text import to_toml
from cadnode.inference.bundle import file_hash, find_bundle
from cadnode.inference.calibrate import LEAST_BAND
from cadnode.inference.quantised import STEPS
from cadnode.inference.runtime import load_classifier
from tests.objects import four_views, secondary_capture, write

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The shipped bundle as a training leaves one: nothing in it about int8."""
    shipped = find_bundle(MODELS, "calc-resnet50")
    folder = tmp_path / "models" / shipped.spec.name / shipped.spec.version
    shutil.copytree(shipped.folder, folder)
    manifest = tomllib.loads((folder / "manifest.toml").read_text("utf-8"))
    manifest.pop("screening")
    manifest["files"].pop("ranges.json")
    (folder / "ranges.json").unlink()
    (folder / "manifest.toml").write_text(to_toml(manifest), "utf-8")
    return tmp_path / "models"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four views of one patient, and what is no mammogram."""
    folder = tmp_path / "images"
    for number, view in enumerate(four_views(rows=320, columns=256, spacing_mm=0.1)):
        write(view, folder / f"{number}.dcm")
    write(secondary_capture(), folder / "other.dcm")
    return folder


def calibrate(models: Path, *arguments: object) -> Result:
    config = models.parent / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[model]\nfolder = "{models}"\n', "utf-8")
    return CliRunner().invoke(
        cli, ["model", "calibrate", *map(str, arguments), "--config", str(config)]
    )


def test_the_bundle_gets_what_int8_needs_and_is_screened_in_it(
    models: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_bundle(models, "calc-resnet50").screening() is None
    done = calibrate(models, "calc-resnet50", images)
    assert done.exit_code == 0, done.output
    assert "ranges of 2 images" in done.output
    assert "measured on 2 others" in done.output
    assert "split by image" in done.output
    assert "take more images" in done.output
    assert "other.dcm" in done.output
    bundle = find_bundle(models, "calc-resnet50")
    found = bundle.screening()
    assert found
    assert tuple(found.ranges) == STEPS
    assert found.band >= LEAST_BAND
    assert found.patches > 0
    assert bundle.hashes["ranges.json"] == file_hash(bundle.folder / "ranges.json")
    monkeypatch.setattr("cadnode.inference.runtime.int8_pays", lambda: True)
    on = load_classifier(bundle, runtime="openvino", device="cpu").runs_on
    assert on.precision == marks_in_float32(INT8)


def test_the_band_is_at_least_what_is_asked_for(models: Path, images: Path) -> None:
    assert calibrate(models, "calc-resnet50", images, "--least-band", 3.5).exit_code == 0
    found = find_bundle(models, "calc-resnet50").screening()
    assert found
    assert found.band >= 3.5


def test_what_a_bundle_says_already_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    shutil.copytree(MODELS, tmp_path / "models")
    before = find_bundle(tmp_path / "models", "calc-resnet50").manifest
    done = calibrate(tmp_path / "models", "calc-resnet50", images)
    assert done.exit_code != 0
    assert find_bundle(tmp_path / "models", "calc-resnet50").manifest == before


def test_one_image_is_not_enough(models: Path, images: Path) -> None:
    for number in (1, 2, 3):
        (images / f"{number}.dcm").unlink()
    assert calibrate(models, "calc-resnet50", images).exit_code != 0
    assert find_bundle(models, "calc-resnet50").screening() is None


@pytest.mark.parametrize("command", ["calibrate", "export"])
def test_a_version_without_a_name_is_not_taken_for_the_model_in_force(command, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    where = [str(images)] if command == "calibrate" else ["--out", str(tmp_path / "calc.onnx")]
    refused = CliRunner().invoke(cli, ["model", command, "/0.1.0", *where])
    assert refused.exit_code == 2
    assert "NAME or NAME/VERSION" in refused.output
    assert not (tmp_path / "calc.onnx").exists()
