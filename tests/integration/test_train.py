"""Training from annotated images to a bundle that the node loads, killed in between."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cadnode.core.annotations import Annotation, Case
from cadnode.core.curves import curves_from
from cadnode.core.errors import ConfigError
from cadnode.inference.bundle import load_bundle, verify_golden
from cadnode.inference.runtime import load_classifier
from cadnode.training.clusters import ClusterRules, draw_cluster
from cadnode.training.commands import EvaluateOptions, IntoBundle, _facts, evaluate, train
from cadnode.training.fit import fit
from cadnode.training.image_files import as_mammogram
from cadnode.training.options import BundleOptions, CutOptions, FitOptions, TrainOptions
from cadnode.training.particles import Morphology, draw
from cadnode.training.patch_cache import PatchCache
from cadnode.training.simulator import synthetic_background

PITCH = 0.2
TODAY = date(2026, 3, 2)


def made_up_cases() -> list[Case]:
    """Six views of three patients, the even ones with one bright cluster each."""
    made = []
    for number in range(6):
        rng = np.random.default_rng(number)
        background = synthetic_background(rng, PITCH)
        pixels = background.pixels.copy()
        annotations: tuple[Annotation, ...] = ()
        if number % 2 == 0:
            row, column = np.argwhere(background.breast).mean(axis=0)
            cluster = draw_cluster(
                rng, row * PITCH, column * PITCH, ClusterRules(), morphology=Morphology.ROUND
            )
            for particle in cluster.particles:
                draw(pixels, particle, pitch_mm=PITCH, amount=0.4)
            annotations = (Annotation(((float(column), float(row)),), 20.0),)
        image = as_mammogram(np.clip(pixels, 0, 1), name=f"1.2.{number}", pitch_mm=PITCH)
        made.append(Case(image, f"p{number // 2}", annotations, groups=(("view", "MLO"),)))
    return made


def options(folder: Path) -> TrainOptions:
    return TrainOptions(
        models=folder / "models",
        run=folder / "run",
        bundle=BundleOptions("tiny", "1.0.0", thresholds=(0.5, 0.05), recommended=0),
        fit=FitOptions(epochs=2, batch=4, steps_per_epoch=2, side=32, validation_share=0.3),
        cut=CutOptions(
            patch_size=64, map_size=2, pitch_mm=PITCH, stride=64, normals_per_image=4, shifts=2
        ),
    )


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("found", "written"), [(np.inf, 0.999), (1.0, 0.999), (0.0, 0.05), (0.7, 0.7)]
)
def test_scores_that_order_nothing_still_leave_an_operating_point(
    tmp_path: Path, found: float, written: float
) -> None:
    wanted = replace(options(tmp_path), bundle=BundleOptions("tiny", "1.0.0"))
    assert _facts(wanted, found, "", 1, "float32").thresholds == (written,)


def test_a_killed_training_goes_on_and_leaves_a_bundle_the_node_can_use(tmp_path: Path) -> None:
    wanted = options(tmp_path)

    def kill_in_the_second_epoch(done: int, total: int, loss: float) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        train(lambda done: made_up_cases(), wanted, today=TODAY, progress=kill_in_the_second_epoch)
    steps: list[int] = []
    trained = train(
        lambda done: [], wanted, today=TODAY, progress=lambda done, total, loss: steps.append(done)
    )
    assert steps == [3, 4], "the finished first epoch is not repeated"
    history = (wanted.run / "history.csv").read_text("utf-8").splitlines()
    assert len(history) == 3

    bundle = load_bundle(trained.bundle)
    assert bundle.spec.patch_size == 64
    classifier = load_classifier(bundle)
    assert verify_golden(bundle, classifier) < 1e-3
    kept = curves_from(json.loads((trained.bundle / "curves-training.json").read_text("utf-8")))
    assert [epoch.epoch for epoch in kept.history] == [1, 2]
    assert kept.roc is not None
    assert kept.roc.points[-1] == pytest.approx((1.0, 1.0))
    assert "curves-training.json" in bundle.hashes
    assert "Results on the held-out patients" in bundle.card()
    assert "<img" in trained.report.read_text("utf-8")

    gone_on = FitOptions(starting_weights=trained.bundle)
    assert gone_on.as_settings()["starting_weights"] == "tiny 1.0.0"
    first = fit(
        PatchCache(wanted.run / "cache", patch_size=64, map_size=2),
        tmp_path / "gone-on",
        replace(wanted.fit, epochs=1, learning_rate=1e-9, starting_weights=trained.bundle),
    )
    kernel = "conv5_block3_3_conv/kernel"
    assert first.weights[kernel] == pytest.approx(bundle.arrays()[kernel], abs=1e-6)

    first_case = made_up_cases()[0]
    renamed = replace(first_case.mammogram, sop_instance_uid="1.2.99")
    added = replace(first_case, patient="new", mammogram=renamed)
    newer = replace(wanted, bundle=replace(wanted.bundle, version="1.0.1"))
    with pytest.raises(ConfigError, match="never overwritten"):
        train(lambda done: [], wanted, today=TODAY)
    with pytest.raises(ConfigError, match=r"1\.2\.99 is not among the images"):
        train(lambda done: [added], newer, today=TODAY)
    steps.clear()
    train(lambda done: [], newer, today=TODAY, progress=lambda done, *_: steps.append(done))
    assert not steps, "taken away again, nothing is lost"
    wanted = replace(wanted, bundle=replace(wanted.bundle, version="1.0.2"))
    with pytest.raises(ConfigError, match="run with other options"):
        train(lambda done: [], replace(wanted, fit=replace(wanted.fit, epochs=3)), today=TODAY)
    with pytest.raises(ConfigError, match="patches that were cut with other options"):
        train(lambda done: [], replace(wanted, cut=replace(wanted.cut, pitch_mm=0.05)), today=TODAY)

    evaluated = evaluate(
        made_up_cases,
        classifier,
        EvaluateOptions(
            tmp_path / "evaluation",
            title="Made-up Set",
            rounds=20,
            into=IntoBundle(trained.bundle, TODAY),
        ),
    )
    again = load_bundle(trained.bundle)
    assert set(again.hashes) == {*bundle.hashes, "curves-made-up-set.json"}
    assert evaluated.reference is None, "three patients make no reference"
    found = curves_from(json.loads((again.folder / "curves-made-up-set.json").read_text("utf-8")))
    assert found.froc is not None
    assert (found.froc.images, found.froc.normal_images, found.froc.clusters) == (6, 3, 3)
    assert evaluated.detection.overall.clusters == 3
    assert evaluated.patches is not None
    assert "report.html" in {path.name for path in (tmp_path / "evaluation").iterdir()}
