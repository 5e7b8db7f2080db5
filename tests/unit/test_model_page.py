"""What the page of the model is made of: curves, pictures, cards, tables; no node needed."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.curves import Curves, EpochPoint, curves_from, thinned
from cadnode.core.drift import LEAST_REFERENCE, ScoreReference, WeekCounts, judge
from cadnode.core.errors import ConfigError, ModelUnfit
from cadnode.core.model import ModelSpec
from cadnode.core.toml_text import to_toml
from cadnode.inference.bundle import load_bundle, read_bundle
from cadnode.inference.golden import Recomputed, recompute
from cadnode.training.bundle_curves import curves_file, evaluation_curves, reference_of_normals
from cadnode.training.bundle_writer import add_to_bundle
from cadnode.training.detection import DetectionCase
from cadnode.training.evaluate import evaluate_detection, evaluate_patches
from cadnode.training.metrics import ImageMarks
from cadnode.web.model import drift_view, words
from cadnode.web.model.card import card_html, licence_lines
from cadnode.web.model.curves import pictures
from cadnode.web.model.plot import HEIGHT, WIDTH, Curve, Mark, plot
from tests.scored import CARD, small_bundle

(SHIPPED,) = (Path(__file__).parents[2] / "models" / "calc-resnet50").iterdir()
TODAY = date(2026, 3, 2)
SPEC = ModelSpec("calc", "1", 224, 176, 0.1, "local-contrast", (0.9, 0.8, 0.5), 1, 7)
POINTS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=40)


def image(
    number: int, *, normal: bool = True, false: tuple[float, ...] = (), top: float = 0.5
) -> DetectionCase:
    """One image read; two images are of one patient."""
    lesions = () if normal else (0.95,)
    marks = ImageMarks(f"1.2.{number}", f"p{number // 2}", lesions, false, normal)
    return DetectionCase(marks, (), (), (), 40, top)


# ---- curves ------------------------------------------------------------------------------------


@given(points=POINTS, step=st.floats(0.01, 2))
def test_a_thinned_curve_is_some_of_its_points(
    points: list[tuple[float, float]], step: float
) -> None:
    kept = thinned(points, step)
    left = iter(points)
    assert all(point in left for point in kept), "in the same order"
    assert kept[:1] == tuple(points[:1])
    assert kept[-1:] == tuple(points[-1:])
    for (x, y), (across, up) in pairwise(kept[:-1]):
        assert abs(across - x) + abs(up - y) >= step


def test_numbers_that_are_none_are_kept_as_nothing() -> None:
    nothing = float("nan")
    curves = Curves("x", TODAY, (EpochPoint(1, 0.5, nothing, nothing, None),))
    name, content = curves_file("Site A, 2026", curves)
    assert name == "curves-site-a--2026.json"
    (epoch,) = curves_from(json.loads(content)).history
    assert epoch == EpochPoint(1, 0.5, None, None, None)
    (loss,) = pictures(curves_from(json.loads(content)))
    assert [line.name for line in loss.plot.lines] == ["training"]


LOSS: dict[str, Any] = {"epoch": 1, "training_loss": 0.5, "validation_loss": 0.5}
LOSS |= {"validation_accuracy": None, "validation_auc": None}
ROC: dict[str, Any] = {
    "patches": 9,
    "patients": 3,
    "threshold": 0.5,
    "at": [0.1, 0.9],
    "points": [[0, 0], [1, 1]],
}
ROC |= {"auc": {"value": 0.9, "low": None, "high": None}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"history": [LOSS | {"training_loss": "0.5"}]},
        {"history": [LOSS | {"training_loss": True}]},
        {"history": [LOSS | {"training_loss": 10**400}]},
        {"history": [LOSS | {"epoch": None}]},
        {"roc": ROC | {"threshold": "high"}},
        {"roc": ROC | {"threshold": None}},
        {"roc": ROC | {"auc": {"value": "<b>", "low": None, "high": None}}},
        {"roc": ROC | {"points": []}},
    ],
)
def test_curves_that_nobody_can_draw_are_refused_when_they_are_read(wrong: dict[str, Any]) -> None:
    table = {"title": "x", "made": "2026-01-01", "history": [LOSS], "roc": ROC, "froc": None}
    assert pictures(curves_from(table))
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        curves_from(table | wrong)


def test_a_loss_beyond_all_numbers_is_left_out() -> None:
    table = {"title": "x", "made": "2026-01-01", "history": [LOSS], "roc": None, "froc": None}
    diverged = LOSS | {"epoch": 2, "training_loss": float("inf")}
    (loss,) = pictures(curves_from(table | {"history": [LOSS, diverged]}))
    assert [len(row) for row in loss.rows] == [5, 5]


def test_a_measurement_becomes_curves_that_a_bundle_keeps() -> None:
    images = [image(n, normal=n % 3 > 0, false=(0.9, 0.3) if n % 4 else ()) for n in range(30)]
    detection = evaluate_detection(images, threshold=0.8, rounds=20)
    truth = np.arange(40) % 2 == 0
    score = np.linspace(0, 1, 40)
    patches = evaluate_patches(truth, score, [f"p{n // 4}" for n in range(40)], rounds=20)
    curves = evaluation_curves("Site", patches, detection, images, TODAY)
    assert curves.froc is not None
    assert (curves.froc.images, curves.froc.normal_images, curves.froc.clusters) == (30, 20, 10)
    assert [rate for rate, _ in curves.froc.figures] == [0.1, 0.25, 0.5, 1.0, 2.0]
    assert curves.roc is not None
    assert curves.roc.at in curves.roc.points
    assert [p.plot.title for p in pictures(curves)] == [
        "ROC of single patches",
        "FROC of whole images",
    ]


def test_a_set_without_clusters_has_no_froc() -> None:
    images = [image(n, false=(0.9,)) for n in range(6)]
    detection = evaluate_detection(images, threshold=0.8, rounds=5)
    assert evaluation_curves("Site", None, detection, images, TODAY).froc is None


def test_the_curves_of_the_shipped_bundle_are_those_of_the_films_measured() -> None:
    table = json.loads((SHIPPED / "curves-mini-mias.json").read_text("utf-8"))
    froc = curves_from(table).froc
    assert froc is not None
    assert (froc.images, froc.normal_images, froc.clusters) == (322, 297, 27)
    rates = [rate for rate, _ in froc.points]
    assert rates == sorted(rates)


# ---- a reference from a measurement ------------------------------------------------------------


def test_the_normal_images_of_enough_patients_make_a_reference() -> None:
    normal = [image(n, false=(0.85, 0.6) * (n % 2), top=n / 1000) for n in range(400)]
    sick = [image(n, normal=False, false=(0.99,) * 5, top=1.0) for n in range(400, 450)]
    found = reference_of_normals(SPEC, [*normal, *sick], "Site", TODAY)
    assert found is not None
    assert (found.exams, found.images) == (200, 400)
    assert found.marks_counts == (0, 200, 0, 0, 0, 0), "only marks that are shown by default"
    assert found.operating_point == 1
    assert set(found.score_counts) == {20}
    assert found.source == "the normal images of Site"


def test_the_normal_images_of_fewer_make_none() -> None:
    images = [image(n) for n in range(2 * LEAST_REFERENCE - 2)]
    assert reference_of_normals(SPEC, images, "Site", TODAY) is None


# ---- bundles -----------------------------------------------------------------------------------


def test_what_is_added_to_a_bundle_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path)
    before = tomllib.loads((folder / "manifest.toml").read_text())
    add_to_bundle(folder, {"curves-a.json": b"{}"}, {"reference": {"exams": 3}})
    bundle = load_bundle(folder)
    after = dict(bundle.manifest)
    assert after.pop("reference") == {"exams": 3}
    assert after.pop("files") == {
        **before.pop("files"),
        "curves-a.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }
    assert after == before


@pytest.mark.parametrize("twice", [({"golden.npz": b""}, {}), ({}, {"model": {"x": 1}})])
def test_nothing_in_a_bundle_is_overwritten(
    tmp_path: Path, twice: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    folder = small_bundle(tmp_path)
    with pytest.raises(ConfigError, match="already"):
        add_to_bundle(folder, *twice)
    load_bundle(folder)


def test_a_folder_that_is_no_bundle_gets_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.toml"):
        add_to_bundle(tmp_path, {"a": b""}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        ("map_size = 7", "map_size = 0"),
        ("pitch_mm = 0.1", "pitch_mm = nan"),
        ("stride = 176", "stride = -1"),
        ("[files]", "[[files]]"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_unfit(tmp_path: Path, change: tuple[str, str]) -> None:
    manifest = small_bundle(tmp_path) / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(ModelUnfit):
        read_bundle(manifest.parent)


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)


@given(
    table=st.dictionaries(
        st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1),
        st.one_of(VALUES, st.lists(VALUES)),
    )
)
def test_tables_read_back_as_they_were_written(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml({"a": table})) == {"a": table}


# ---- pictures ----------------------------------------------------------------------------------


@given(points=POINTS.filter(bool))
def test_every_point_of_a_curve_lies_in_the_picture(points: list[tuple[float, float]]) -> None:
    points = sorted(points)
    picture = plot("t", "x", x_label="x", y_label="y", curves=[Curve("c", points)])
    (line,) = picture.lines
    numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", line.path)]
    assert len(numbers) == 2 * len(points)
    assert all(picture.left - 1 <= x <= picture.right + 1 for x in numbers[::2])
    assert all(picture.top - 1 <= y <= picture.bottom + 1 for y in numbers[1::2])
    assert 1 <= len(picture.x.ticks) <= 12


def test_what_lies_beyond_a_given_range_is_not_drawn() -> None:
    picture = plot(
        "t",
        "x",
        x_label="x",
        y_label="y",
        curves=[Curve("c", [(0, 0), (1, 0.5), (9, 1)], steps=True)],
        marks=[Mark((0.5, 0.5), "in", 0.4, None), Mark((9, 1), "out")],
        x_range=(0, 2),
        y_range=(0, 1),
    )
    assert picture.lines[0].path.count("H") == 1
    assert [dot.title for dot in picture.dots] == ["in"]
    assert picture.dots[0].high is None
    assert [tick.label for tick in picture.x.ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)


def week(number: int, scores: tuple[int, ...], marks: tuple[int, ...]) -> WeekCounts:
    return WeekCounts(TODAY + timedelta(weeks=number), sum(marks), sum(scores), scores, marks)


REFERENCE = ScoreReference(
    "calc 1", "s", TODAY, 200, 400, (0.5, 0.9), (100, 200, 100), (190, 10, 0, 0, 0, 0), 1
)


def test_the_spread_shows_the_reference_and_each_week_with_its_shares() -> None:
    weeks = [week(0, (100, 0, 100), (50, 0, 0, 0, 0, 50)), week(1, (0, 0, 0), (0,) * 6)]
    verdict = judge("calc 1", REFERENCE, weeks)
    scores = drift_view.score_spread(verdict)
    titles = [cell.title for cell in scores.cells]
    assert titles == [
        "the reference: below 0.5, 25.0 %",
        "the reference: 0.5 to 0.9, 50.0 %",
        "the reference: from 0.9, 25.0 %",
        "week of 2026-03-02, 100 exams: below 0.5, 50.0 %",
        "week of 2026-03-02, 100 exams: from 0.9, 50.0 %",
    ]
    low, high = scores.cells[0], scores.cells[2]
    assert high.y < low.y, "what is higher stands higher"
    assert drift_view.marks_spread(verdict).up[-1].text == "5 or more"
    ((name, psi, *_), _) = drift_view.measures(verdict)
    assert (name, psi.split(", ")[1]) == ("Highest patch score", "large")


def test_without_a_reference_only_weeks_are_shown() -> None:
    verdict = judge("calc 1", None, [week(0, (1,) * 20, (20, 0, 0, 0, 0, 0))])
    spread = drift_view.score_spread(verdict)
    assert len(spread.cells) == 20
    assert [label.text for label in spread.across] == ["03-02"]
    assert drift_view.measures(verdict) == []


def test_a_single_bin_of_scores_is_any_score() -> None:
    one = replace(REFERENCE, score_edges=(), score_counts=(400,))
    verdict = judge("calc 1", one, [week(0, (4,), (1, 0, 0, 0, 0, 0))])
    assert drift_view.score_spread(verdict).up[0].text == "any score"


# ---- words -------------------------------------------------------------------------------------


def test_the_shipped_card_is_shown_with_its_tables_and_its_licences() -> None:
    bundle = load_bundle(SHIPPED)
    shown = str(card_html(bundle.card()))
    assert shown.count("<table>") >= 5
    assert "<h3>Limits</h3>" in shown
    assert "<h1>" not in shown
    assert [licence for _, licence in licence_lines(bundle.card())] == [
        "MIT",
        "CC BY 3.0",
        "MS-PL",
        "this repository",
    ]
    assert words.operating_points(bundle.spec)[2] == (2, 0.8, True)


def test_a_card_without_a_table_of_sources_names_no_licence() -> None:
    assert (
        licence_lines("## Sources\n\nNot described.\n\n## Other\n\n| a | licence |\n|-|-|\n|b|c|")
        == []
    )
    assert licence_lines("## Sources\n\n| a | b |\n|-|-|\n|c|d|") == []
    assert licence_lines(CARD) == [("made-up noise", "CC0"), ("more of it", "MIT")]


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html;base64,xx)",
        "![a](https://elsewhere.test/x.png)",
        "<style>*{}</style>",
        "[a]: javascript:alert(1)\n\n[a]",
    ],
)
def test_a_card_brings_nothing_that_runs_or_loads(text: str) -> None:
    shown = str(card_html(text)).lower()
    for bad in ("<img", "<style", 'href="javascript', 'href="data', "src="):
        assert bad not in shown.replace("&lt;img src=x", "")


# ---- the golden example ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["", "no json\n", "{}\n", '{"difference": "x", "device": "CPU"}\n']
)
def test_a_process_without_a_sensible_answer_is_a_failed_check(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr("cadnode.inference.golden.sys.executable", str(program))
    assert recompute(tmp_path, device="cpu", precision="auto") == Recomputed(
        False, None, "The process ended with status 3 and no answer."
    )


def test_a_process_that_cannot_be_started_is_a_failed_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadnode.inference.golden.sys.executable", str(tmp_path / "none"))
    found = recompute(tmp_path, device="cpu", precision="auto")
    assert (found.well, found.difference) == (False, None)
    assert "could not be started" in found.text
