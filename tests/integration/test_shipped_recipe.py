"""The recipe of the shipped weights: its sources are what it says, and it goes on after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cadnode.core.annotations import Annotation
from cadnode.training.network import build, weights_of
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import ROWS
from cadnode.training.shipped import (
    STAGES,
    UNSURE_FILM,
    UNSURE_HELD_OUT,
    Stage,
    train_on_simulated,
)
from cadnode.training.simulator import SimulatorSettings, synthetic_background
from tests.train_shipped import films

TINY = FitOptions(side=32, batch=2, epochs=1, steps_per_epoch=2)
SETTINGS = SimulatorSettings(synthetic_share=0.0)


@pytest.mark.parametrize(
    ("patient", "unsure"), [("sfm-malign-0", UNSURE_FILM), ("sfm-benign-0", UNSURE_HELD_OUT)]
)
def test_the_places_that_may_hold_real_calcium_lie_in_the_breast_of_their_film(
    patient: str, unsure: Mapping[str, tuple[Annotation, ...]]
) -> None:
    for view, background in zip(unsure, films(patient, unsure), strict=True):
        assert background.breast.mean() > 0.1, view
        assert background.unsure.any() == bool(unsure[view]), view
        if unsure[view]:
            assert background.breast[background.unsure].mean() > 0.8, view


def test_no_two_stages_of_one_cache_ask_for_another_number_of_patches() -> None:
    wanted = {(stage.cache_seed, stage.patches) for stage in STAGES}
    assert len(wanted) == len({seed for seed, _ in wanted})


def test_stages_build_on_each_other_and_a_killed_recipe_repeats_nothing(tmp_path: Path) -> None:
    start = tmp_path / "start.npz"
    np.savez(start, allow_pickle=False, **weights_of(build()))
    tissue = [synthetic_background(np.random.default_rng(1), 0.1)]
    stages = [
        Stage("first", TINY, patches=12, cache_seed=1),
        Stage("second", TINY, patches=12, cache_seed=1),
    ]
    first = train_on_simulated(
        tissue, start, tmp_path / "run", stages=stages[:1], settings=SETTINGS
    )
    steps: list[int] = []
    both = train_on_simulated(
        tissue,
        start,
        tmp_path / "run",
        stages=stages,
        settings=SETTINGS,
        progress=lambda done, total, loss: steps.append(done),
    )
    assert steps == [1, 2], "only the second stage was trained"
    changed = [name for name in both if not np.array_equal(first[name], both[name])]
    assert "patch/kernel" in changed
    assert not any(name.startswith(("conv1_", "conv2_", "conv3_")) for name in changed)


def test_a_stage_may_keep_hard_patches_alone_and_be_averaged_with_earlier_ones(
    tmp_path: Path,
) -> None:
    start = tmp_path / "start.npz"
    np.savez(start, allow_pickle=False, **weights_of(build()))
    tissue = [synthetic_background(np.random.default_rng(1), 0.1)]
    first = Stage("first", TINY, patches=12, cache_seed=1)
    hard = Stage("hard", TINY, patches=12, cache_seed=2, easy_share=0.2, calcification_share=0.5)
    last = Stage("last", TINY, patches=12, cache_seed=1, start="first")

    def weights(folder: str, *stages: Stage) -> Mapping[str, np.ndarray]:
        return train_on_simulated(
            tissue, start, tmp_path / folder, stages=stages, settings=SETTINGS
        )

    parts = weights("run", first, hard), weights("other", first, last)
    averaged = weights("run", first, hard, replace(last, averaged_with=("hard",)))
    for name, array in averaged.items():
        assert array == pytest.approx((parts[0][name] + parts[1][name]) / 2, abs=1e-5), name
    taken = [len(_views(tmp_path / "run" / f"cache-{seed}")) for seed in (1, 2)]
    assert taken[1] > taken[0], "of each view only some patches are kept"


def _views(cache: Path) -> set[int]:
    lines = (cache / ROWS).read_text("utf-8").splitlines()
    return {json.loads(line)["view"] for line in lines}
