"""`cadnode train` and `cadnode evaluate` as a physicist types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cadnode.core.errors import ConfigError
from tests.integration.test_cli import run
from tests.objects import mammogram, write


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "cadnode.toml"
    file.write_text('[node]\ndata_dir = "data"\n')
    return file


def test_a_source_without_annotated_images_ends_in_one_clear_error(config, tmp_path):
    folder = tmp_path / "images"
    write(mammogram(), folder / "1.dcm")
    answer = run(config, "evaluate", str(folder), "--out", str(tmp_path / "report"))
    assert isinstance(answer.exception, ConfigError)
    assert "no annotation names it" in str(answer.exception)


def test_the_limit_of_detection_is_measured_on_images_that_hold_nothing(config, tmp_path):
    image = mammogram()
    write(image, tmp_path / "images" / "1.dcm")
    known = tmp_path / "normal.csv"
    known.write_text(f"sop_instance_uid,shape,points\n{image.SOPInstanceUID},,\n")
    wanted = ("evaluate", str(tmp_path / "images"), "--annotations", str(known), "--rounds", "5")
    out = tmp_path / "limit"
    answer = run(config, *wanted, "--out", str(out), "--simulated", "2")
    assert answer.exit_code == 0, answer.output
    assert f"2 simulated views; report {out / 'report.html'}" in answer.output
    facts = json.loads((out / "report.json").read_text())["facts"]
    assert facts["images that lent their tissue"] == "1"
    refused = run(config, *wanted, "--out", str(out), "--simulated", "2", "--into-bundle")
    assert refused.exit_code == 2
    assert "real lesions" in refused.output


def test_a_bundle_is_trained_with_simulated_calcifications_in_normal_images(config, tmp_path):
    lines = ["sop_instance_uid,shape,points"]
    for number in range(4):
        image = mammogram(
            rows=320,
            columns=240,
            patient_id=f"TEST-{number}",
            instance_number=number + 1,
            seed=number,
        )
        write(image, tmp_path / "images" / f"{number}.dcm")
        lines.append(f"{image.SOPInstanceUID},,")
    (tmp_path / "normal.csv").write_text("\n".join(lines) + "\n")
    models = tmp_path / "own models"
    config.write_text(config.read_text() + f'[model]\nfolder = "{models}"\n', encoding="utf-8")
    wanted = ["train", str(tmp_path / "images"), "--annotations", str(tmp_path / "normal.csv")]
    wanted += ["--name", "site", "--version", "1.0.0", "--run", str(tmp_path / "run")]
    refused = run(config, *wanted)
    assert refused.exit_code == 2
    assert "are not trained" in refused.output
    wanted += [
        "--frozen-layers",
        "0",
        "--simulated",
        "8",
        "--validation-share",
        "0.5",
        "--epochs",
        "1",
        "--batch",
        "4",
    ]
    refused = run(config, *wanted, "--patch-size", "50")
    assert refused.exit_code == 2
    assert "multiple of 32" in refused.output
    answer = run(config, *wanted, "--patch-size", "64", "--normals-per-image", "2")
    assert answer.exit_code == 0, answer.output
    assert f"bundle {models / 'site' / '1.0.0'}" in answer.output
    facts = json.loads((tmp_path / "run" / "report" / "report.json").read_text())["facts"]
    assert int(facts["of them from simulated views"]) >= 16
    assert "say that the training worked" in " ".join(answer.output.split())
    again = run(config, *wanted, "--patch-size", "64", "--normals-per-image", "2")
    assert isinstance(again.exception, ConfigError)
    assert "never overwritten" in str(again.exception)
    assert re.search(r"site\s+1\.0\.0", run(config, "model", "list").output)
