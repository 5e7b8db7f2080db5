"""The published protocol on labelled patches: seeds, operating points, report."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cadnode.cli import cli
from cadnode.core.errors import ConfigError
from cadnode.training.options import FitOptions
from cadnode.training.protocol import ProtocolOptions, ProtocolResult, load_patches, run_protocol
from cadnode.training.seed_scores import HALF, KEPT_ASIDE, PUBLISHED, read_scores

TRAINED, TESTED = 8, 6
"""Patches of each kind."""


def made_up_patches(folder: Path) -> Path:
    """Grey noise; the calcification patches have bright specks."""
    rng = np.random.default_rng(0)
    for part, count in (("Train", TRAINED), ("Test", TESTED)):
        for label in (0, 1):
            (folder / part / str(label)).mkdir(parents=True)
            for number in range(count):
                grey = rng.normal(100, 5, (20, 20))
                if label:
                    grey[rng.integers(4, 16, 6), rng.integers(4, 16, 6)] = 250
                picture = Image.fromarray(grey.astype(np.uint8))
                picture.save(folder / part / str(label) / f"{number}.pgm")
    return folder


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    return made_up_patches(tmp_path / "patches")


def options(out: Path, seeds: int, epochs: int = 1) -> ProtocolOptions:
    fit = FitOptions(
        epochs=epochs, batch=4, side=32, validation_share=0.5, cells_weight=0.0, augment=False
    )
    return ProtocolOptions(out, seeds, fit, rounds=10)


@dataclass(frozen=True, slots=True)
class Done:
    patches: Path
    out: Path
    result: ProtocolResult


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("protocol")
    patches = made_up_patches(folder / "patches")
    result = run_protocol(patches, options(folder / "out", seeds=2))
    return Done(patches, folder / "out", result)


def test_each_seed_is_measured_on_the_test_part_that_no_seed_trained_on(two_seeds):
    figures = two_seeds.result.figures[HALF]
    for seed in (0, 1):
        scores = read_scores(two_seeds.out / f"seed-{seed}" / "scores.csv", seed)
        assert scores.test.sum() == 2 * TESTED
        assert (~scores.test).sum() == 0.5 * 2 * TRAINED
        assert len(set(scores.names)) == len(scores.names)
        assert all(
            name.startswith("Test/" if test else "Train/")
            for name, test in zip(scores.names, scores.test, strict=True)
        )
        right = ((scores.score >= 0.5) == scores.truth)[scores.test].mean()
        assert figures[seed].accuracy.value == pytest.approx(right)
    middle = np.mean([line.auc.value for line in figures])
    assert two_seeds.result.median(HALF, "auc") == pytest.approx(middle)


def test_the_point_of_slope_one_comes_from_the_patches_kept_aside_or_as_published_from_the_test(
    two_seeds,
):
    figures = two_seeds.result.figures
    for seed in (0, 1):
        scores = read_scores(two_seeds.out / f"seed-{seed}" / "scores.csv", seed)
        aside, published = scores.threshold(KEPT_ASIDE), scores.threshold(PUBLISHED)
        assert np.isinf(aside) or aside in scores.score[~scores.test]
        assert np.isinf(published) or published in scores.score[scores.test]
        gained = {
            point: lines[seed].sensitivity.value + lines[seed].specificity.value
            for point, lines in figures.items()
        }
        # No other point of the test part gives more: that is why it is too good.
        assert gained[PUBLISHED] == max(gained.values())


def test_called_again_it_trains_only_what_is_missing(two_seeds, tmp_path):
    out = shutil.copytree(two_seeds.out, tmp_path / "out")
    assert not (out / "seed-0" / "frozen").exists()
    shutil.rmtree(out / "seed-1")
    trained = set()
    again = run_protocol(
        two_seeds.patches, options(out, seeds=2), progress=lambda seed, *_: trained.add(seed)
    )
    assert trained == {1}
    assert again.figures[HALF][0] == two_seeds.result.figures[HALF][0]
    report = json.loads((out / "report.json").read_text("utf-8"))
    rows = report["tables"]["At score 0.5"]
    assert [row["seed"] for row in rows] == [0, 1, "median of 2"]


def test_other_options_in_the_same_folder_are_refused(two_seeds):
    with pytest.raises(ConfigError, match="other options"):
        run_protocol(two_seeds.patches, options(two_seeds.out, seeds=1, epochs=2))


def test_a_folder_without_one_of_its_four_parts_is_named(patches, tmp_path):
    for path in (patches / "Test" / "1").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"Test/1 holds no patch"):
        load_patches(patches, tmp_path / "cache", 32)


def test_a_broken_picture_is_named_and_the_next_try_begins_anew(patches, tmp_path):
    broken = patches / "Train" / "1" / "3.pgm"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:9])
    with pytest.raises(ConfigError, match=r"Train/1/3\.pgm"):
        load_patches(patches, tmp_path / "cache", 32)
    broken.write_bytes(whole)
    cache = load_patches(patches, tmp_path / "cache", 32)
    assert len(cache) == 2 * (TRAINED + TESTED)
    assert load_patches(patches, tmp_path / "cache", 32).rows == cache.rows
    # As many patches, one of them with another label, or with another picture.
    broken.rename(patches / "Train" / "0" / "x.pgm")
    with pytest.raises(ConfigError, match="other patches"):
        load_patches(patches, tmp_path / "cache", 32)
    (patches / "Train" / "0" / "x.pgm").unlink()
    broken.write_bytes((patches / "Train" / "1" / "4.pgm").read_bytes())
    with pytest.raises(ConfigError, match="other patches"):
        load_patches(patches, tmp_path / "cache", 32)


def test_patches_of_more_than_eight_bits_are_refused(patches, tmp_path):
    deep = Image.fromarray(np.full((20, 20), 3000, np.uint16))
    deep.save(patches / "Test" / "0" / "deep.png")
    with pytest.raises(ConfigError, match=r"deep\.png is no 8-bit grey picture"):
        load_patches(patches, tmp_path / "cache", 32)


def test_too_few_patches_kept_aside_are_told_before_anything_is_trained(patches, tmp_path):
    few = options(tmp_path / "out", seeds=1)
    few = replace(few, fit=replace(few.fit, validation_share=0.05))
    with pytest.raises(ConfigError, match="--validation-share"):
        run_protocol(patches, few)


def test_the_command_prints_the_medians_and_writes_a_report(patches, tmp_path):
    start = tmp_path / "start.npz"
    np.savez(start, allow_pickle=False, **{"conv1_conv/bias": np.zeros(64, np.float32)})
    out = tmp_path / "out"
    wanted = ["protocol", str(patches), "--out", str(out), "--start", str(start)]
    wanted += ["--seeds", "1", "--epochs", "1", "--batch", "4"]
    wanted += ["--validation-share", "0.5"]
    half = CliRunner().invoke(cli, [*wanted, "--patch-size", "32"])
    assert "is not trained either" in str(half.exception)
    wanted += ["--frozen-layers", "0"]
    refused = CliRunner().invoke(cli, [*wanted, "--patch-size", "60"])
    assert refused.exit_code == 2
    assert "multiple of 32" in refused.output
    answer = CliRunner().invoke(cli, [*wanted, "--patch-size", "32"])
    assert answer.exit_code == 0, answer.output
    assert "median of 1" in answer.output
    assert f"report {out / 'report.html'}" in answer.output
    page = (out / "report.html").read_text("utf-8")
    assert "too good" in page
    assert "data:image/png;base64" in page
