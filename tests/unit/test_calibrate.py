"""What int8 needs to know, and what is made of a bundle that does not say it rightly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadnode.calibrating import in_halves
from cadnode.core.errors import ModelUnfit
from cadnode.inference.calibrate import highest, largest_loss
from cadnode.inference.quantised import STEPS
from cadnode.inference.screening import Screening, read_screening
from tests.unit.bench import header_of

GOOD = Screening(dict.fromkeys(STEPS, 2.5), 1.75, 300, 20)


def manifest_of(screening: Screening, **changed: object) -> dict[str, Any]:
    """The table and the hashes, as `tomllib` gives them; a value of None is left out."""
    table = {**screening.table(), **changed}
    return {
        "screening": {name: value for name, value in table.items() if value is not None},
        "files": dict.fromkeys(screening.files(), "a hash"),
    }


def kept(folder: Path, screening: Screening) -> None:
    for name, content in screening.files().items():
        (folder / name).write_bytes(content)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    kept(tmp_path, GOOD)
    assert read_screening(tmp_path, manifest_of(GOOD)) == GOOD


def test_a_bundle_that_says_nothing_is_not_screened_in_int8(tmp_path: Path) -> None:
    assert read_screening(tmp_path, {"files": {}}) is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"precision": "int4"}, "cannot screen in int4"),
        ({"ranges": None}, "has no ranges"),
        ({"ranges": "others.json"}, r"others\.json is not among the files"),
        ({"band": None}, "has no band"),
        ({"band": 0.0}, "not above 0"),
        ({"band": -1.0}, "not above 0"),
        ({"band": float("nan")}, "not above 0"),
        ({"band": float("inf")}, "not above 0"),
        ({"band": "wide"}, "could not convert"),
    ],
)
def test_a_table_that_does_not_hold_together_makes_the_bundle_unfit(
    tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    kept(tmp_path, GOOD)
    with pytest.raises(ModelUnfit, match=why):
        read_screening(tmp_path, manifest_of(GOOD, **changed))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda ranges: ranges.pop(STEPS[7]), f"has no {STEPS[7]}"),
        (lambda ranges: ranges.update({STEPS[0]: 0}), "not above 0"),
        (lambda ranges: ranges.update({STEPS[-1]: -3.0}), "not above 0"),
        (lambda ranges: ranges.update({STEPS[3]: float("nan")}), "not above 0"),
        (lambda ranges: ranges.update({STEPS[3]: float("inf")}), "not above 0"),
        (lambda ranges: ranges.update({STEPS[3]: None}), "NoneType"),
    ],
)
def test_a_range_that_is_missing_or_none_makes_the_bundle_unfit(
    tmp_path: Path, change: Callable[[dict[str, object]], object], why: str
) -> None:
    ranges: dict[str, object] = {**GOOD.ranges}
    change(ranges)
    (tmp_path / "ranges.json").write_text(json.dumps(ranges), "utf-8")
    with pytest.raises(ModelUnfit, match=why):
        read_screening(tmp_path, manifest_of(GOOD))


@pytest.mark.parametrize("content", ["", "[1, 2]", "7"])
def test_a_file_of_ranges_that_is_none_makes_the_bundle_unfit(tmp_path: Path, content: str) -> None:
    (tmp_path / "ranges.json").write_text(content, "utf-8")
    with pytest.raises(ModelUnfit, match="screening"):
        read_screening(tmp_path, manifest_of(GOOD))


def tops(patches: np.ndarray) -> list[np.ndarray]:
    """Each step's highest value: that of the patches, times its number."""
    return [np.array(patches.max() * number, np.float32) for number in range(1, len(STEPS) + 1)]


def test_a_range_is_the_highest_value_of_all_batches_of_all_images() -> None:
    images = [np.full((5, 2, 2), 1.0, np.float32), np.full((3, 2, 2), 2.0, np.float32)]
    images[0][2] = 3.0
    ranges, patches = highest(tops, iter(images), 2)
    assert patches == 8
    assert [ranges[step] for step in STEPS[:3]] == [3.0, 6.0, 9.0]
    assert tuple(ranges) == STEPS


def test_ranges_of_nothing_are_refused() -> None:
    with pytest.raises(ModelUnfit, match="no patch"):
        highest(tops, iter([np.empty((0, 2, 2), np.float32)]), 2)
    with pytest.raises(ModelUnfit, match="never above zero"):
        highest(tops, iter([np.zeros((1, 2, 2), np.float32)]), 2)


def odds(*log_odds: float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.array(log_odds))), np.float32)


def test_the_loss_is_of_patches_that_may_become_a_mark_and_of_none_else() -> None:
    right = odds(-4.0, 1.0, 2.0, 3.0)
    quick = odds(-9.0, 1.5, 1.6, 2.8)
    assert largest_loss(quick, right, 0.65) == pytest.approx(0.4, abs=1e-4)
    assert largest_loss(right, right, 0.65) == 0
    assert largest_loss(odds(0.0), odds(-1.0), 0.65) == 0
    assert largest_loss(odds(-1.0), odds(-0.5), 0.65) == 0


def test_no_patient_gives_ranges_and_is_measured_on() -> None:
    images = [
        (Path(str(number)), replace(header_of(str(number), "RCC"), patient_key=key))
        for number, key in enumerate("AABCCB")
    ]
    (first, second), split_by = in_halves(images)
    assert split_by == "patient"
    assert {image.patient_key for _, image in first} == {"A", "C"}
    assert {image.patient_key for _, image in second} == {"B"}


def test_the_images_of_one_patient_are_split_one_by_one() -> None:
    images = [(Path(str(number)), header_of(str(number), "RCC")) for number in range(5)]
    (first, second), split_by = in_halves(images)
    assert split_by == "image"
    assert [len(first), len(second)] == [3, 2]
    assert not {path for path, _ in first} & {path for path, _ in second}
