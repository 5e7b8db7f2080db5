"""The limit of detection, measured with a reader that answers to bright dots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.annotations import Annotation, Case
from cadnode.core.errors import ConfigError
from cadnode.core.model import FLOAT32, ModelSpec, PatchScores, RunsOn
from cadnode.training.detection_limit import LimitOptions, LimitResults, limit_lines, measure_limit
from cadnode.training.image_files import as_mammogram
from cadnode.training.metrics import ImageMarks
from cadnode.training.simulated_exams import ReadCluster, ReadView
from cadnode.training.simulator import synthetic_background

PITCH = 0.2


def cluster(visibility: float, score: float, morphology: str = "punctate") -> ReadCluster:
    return ReadCluster(morphology, 10.0, 0.25, visibility, score)


def view(*clusters: ReadCluster, patient: str = "p") -> ReadView:
    lesions = tuple(each.score for each in clusters if each.visibility >= 5)
    return ReadView(ImageMarks("v", patient, lesions, (), normal=not clusters), clusters)


def test_the_share_marked_is_given_by_visibility_for_faint_clusters_too() -> None:
    faint = [view(cluster(3.5, 0.9 if n == 0 else -np.inf)) for n in range(5)]
    clear = [view(cluster(12.0, 0.9 if n else 0.1)) for n in range(5)]
    lines = limit_lines([*faint, *clear], threshold=0.5, rounds=20)
    shares = {line.group: line.sensitivity.value for line in lines if line.kind == "visibility"}
    assert shares == {"3 to 4": 0.2, "10 to 15": 0.8}


def test_by_morphology_and_size_only_visible_clusters_count() -> None:
    views = [view(cluster(3.5, 0.9), cluster(8.0, 0.9)) for _ in range(5)]
    lines = limit_lines(views, threshold=0.5, rounds=20)
    counted = {line.kind: line.clusters for line in lines if line.kind != "visibility"}
    assert counted == {"median diameter (mm)": 5, "contrast put in": 5, "morphology": 5}


def test_fewer_than_five_clusters_make_no_line() -> None:
    assert limit_lines([view(cluster(8.0, 0.9))] * 4, threshold=0.5, rounds=5) == ()


class BrightDots:
    """A classifier that answers by the brightest pixel of a patch."""

    spec = ModelSpec("dots", "1", 64, 64, PITCH, "local-contrast", (0.9, 0.5), 1, 2)
    runs_on = RunsOn("cpu", FLOAT32)

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        cells = patches.reshape(len(patches), 2, 32, 2, 32).max(axis=(2, 4)) / 255
        return PatchScores((cells.max(axis=(1, 2)) > 0.85).astype(np.float32) * 0.95, cells)


@pytest.fixture(scope="module")
def case() -> Case:
    background = synthetic_background(np.random.default_rng(8), PITCH)
    image = as_mammogram(background.pixels, name="1.2.3", pitch_mm=PITCH)
    return Case(image, "p1", groups=(("view", "MLO"),))


def test_images_without_any_lesion_give_a_report_of_what_would_be_found(
    case: Case, tmp_path: Path
) -> None:
    cases = [case, replace(case, patient="p2"), replace(case, complete=False)]
    done: list[int] = []
    result = measure_limit(
        cases,
        BrightDots(),
        LimitOptions(tmp_path, views=3, rounds=20, seed=4),
        progress=done.append,
    )
    assert done == [1, 2, 3]
    assert result.passed_over == 1
    assert [view.marks.normal for view in result.views] == [True, False, False] * 2
    plain = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert plain["facts"]["simulated views"] == "6"
    (lines,) = (plain["tables"][heading] for heading in plain["tables"] if "visib" in heading[:16])
    assert all(0 <= line["share marked"]["value"] <= 1 for line in lines)
    assert {line["patients"] for line in lines} <= {1, 2}
    with Image.open(tmp_path / "limit-of-detection.png") as picture:
        assert picture.size[0] > 300
    assert "By visibility: all simulated clusters" in result.report.read_text("utf-8")


def test_an_annotated_place_of_the_image_is_neither_clean_nor_a_lesion(
    case: Case, tmp_path: Path
) -> None:
    rows, columns = case.mammogram.pixels.shape
    everywhere = Annotation(((0, 0), (columns, 0), (columns, rows), (0, rows)))
    dotted = case.mammogram.pixels.copy()
    dotted[rows // 2 : rows // 2 + 2, columns // 3 : columns // 3 + 2] = 1
    image = replace(case.mammogram, pixels=dotted)

    def measured(name: str, *annotations: Annotation) -> LimitResults:
        return measure_limit(
            [Case(image, "p", annotations)],
            BrightDots(),
            LimitOptions(tmp_path / name, views=3, rounds=5),
        )

    free, covered = measured("free"), measured("covered", everywhere)
    assert any(view.marks.false_marks for view in free.views)
    assert any(view.marks.lesions for view in free.views)
    assert not any(view.marks.false_marks or view.marks.lesions for view in covered.views)
    assert not any(cluster.apart for view in covered.views for cluster in view.clusters)
    assert not covered.lines


def test_nothing_to_insert_into_is_said(case: Case, tmp_path: Path) -> None:
    blank = as_mammogram(np.zeros((300, 200), np.float32), name="1.2.4", pitch_mm=PITCH)
    with pytest.raises(ConfigError, match="no image"):
        measure_limit([Case(blank, "p")], BrightDots(), LimitOptions(tmp_path))
