"""Where the marks of a presentation state are, and which grey values it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom.pr import GraphicAnnotation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from cadnode.core.errors import ResultInvalid
from cadnode.core.findings import Calcification, Finding
from cadnode.core.mammogram import Intent, PixelSpacing
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.gsps_graphics import graphic_annotations
from cadnode.dicom.object_header import from_bytes
from cadnode.dicom.softcopy import write_transformations
from cadnode.dicom.sr_marks import LISTED_CALCIFICATIONS, Mark, marks_of
from tests.objects import four_views
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, finding, report_of

FRACTION = st.floats(0.0, 1.0)
MILLIMETERS = st.floats(0.02, 0.5)


def _states(
    folder: Path, findings: Sequence[Sequence[Finding]], **options: object
) -> list[Dataset]:
    report = report_of(folder, findings=findings, **options)  # type: ignore[arg-type]
    return [from_bytes(result.content) for result in Gsps(EQUIPMENT).objects(report)]


def _image(rows: int, columns: int) -> Dataset:
    image = Dataset()
    image.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    image.SOPInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.4"
    image.Rows, image.Columns = rows, columns
    return image


def _layers(annotations: Sequence[GraphicAnnotation]) -> dict[str, Any]:
    return {str(annotation.GraphicLayer): annotation for annotation in annotations}


@settings(deadline=None)
@given(
    rows=st.integers(30, 5000),
    columns=st.integers(30, 5000),
    corners=st.lists(st.tuples(FRACTION, FRACTION), min_size=3, max_size=30),
    center=st.tuples(FRACTION, FRACTION),
    diameter_mm=st.floats(0.0, 3.0),
    spacing=st.builds(PixelSpacing, MILLIMETERS, MILLIMETERS),
)
def test_a_mark_anywhere_stays_where_it_is_and_all_that_belongs_to_it_in_the_image(
    rows: int,
    columns: int,
    corners: list[tuple[float, float]],
    center: tuple[float, float],
    diameter_mm: float,
    spacing: PixelSpacing,
) -> None:
    outline = tuple((x * columns, y * rows) for x, y in [*corners, corners[0]])
    at = (center[0] * columns, center[1] * rows)
    mark = Finding(0.5, at, outline, 1.0, 0, (Calcification(at, diameter_mm, 4.0),))
    drawn = _layers(
        list(
            graphic_annotations(
                _image(rows, columns), [Mark(mark, 0, "RCC-1", "1.2.9")], spacing, "x",
                note_right=False,
            )
        )
    )  # fmt: skip
    (line,) = drawn["CAD MARKS"].GraphicObjectSequence
    assert line.GraphicAnnotationUnits == "PIXEL"
    assert np.array_equal(np.reshape(line.GraphicData, (-1, 2)), np.array(outline))
    (ring,) = drawn["CAD CALCS"].GraphicObjectSequence
    points = np.reshape(ring.GraphicData, (-1, 2))
    assert points.min() >= 0
    assert (points.max(axis=0) <= (columns, rows)).all()
    middle = points[0] if ring.GraphicType == "CIRCLE" else points.mean(axis=0)
    assert middle == pytest.approx(at, abs=1e-6)
    (text,) = drawn["CAD SCORES"].TextObjectSequence
    left, top = text.BoundingBoxTopLeftHandCorner
    right, bottom = text.BoundingBoxBottomRightHandCorner
    assert 0 <= left < right <= columns
    assert 0 <= top < bottom <= rows


def test_the_ring_of_a_calcification_is_round_on_the_detector(tmp_path: Path) -> None:
    views = four_views(rows=300, columns=300, spacing_mm=(0.1, 0.05))
    state, *_ = _states(tmp_path, ((finding(150, 150, calcifications=1),),), datasets=views[:1])
    rings = next(a for a in state.GraphicAnnotationSequence if a.GraphicLayer == "CAD CALCS")
    (ring,) = rings.GraphicObjectSequence
    assert ring.GraphicType == "ELLIPSE"
    major, minor = (
        math.dist(ring.GraphicData[i : i + 2], ring.GraphicData[i + 2 : i + 4]) for i in (0, 4)
    )
    assert major * 0.05 == pytest.approx(minor * 0.1, rel=1e-4)
    assert major * 0.05 == pytest.approx(2 * 0.27, rel=1e-4)


def test_only_the_marks_of_the_recommended_operating_point_are_drawn(tmp_path: Path) -> None:
    right_cc, left_cc, _, left_mlo = _states(tmp_path, TWO_CLUSTERS)
    drawn = {state.ContentDescription: state for state in (right_cc, left_cc, left_mlo)}
    assert list(drawn) == ["RCC: no marks", "LCC: 1 mark", "LMLO: 1 mark"]
    outlines = left_cc.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert [one.TrackingID for one in outlines] == ["LCC-1"]
    assert len(right_cc.GraphicAnnotationSequence) == 1


def test_the_marks_are_named_as_in_the_reports(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    named = {mark.tracking_identifier: mark.tracking_uid for mark in marks_of(report)}
    states = [from_bytes(result.content) for result in Gsps(EQUIPMENT).objects(report)]
    found = {
        str(one.TrackingID): str(one.TrackingUID)
        for state in states
        for annotation in state.GraphicAnnotationSequence
        for one in annotation.get("GraphicObjectSequence", ())
        if "TrackingID" in one
    }
    assert found == {name: named[name] for name in ("LCC-1", "LMLO-1")}


def test_every_layer_in_use_is_named_and_no_other(tmp_path: Path) -> None:
    for state in _states(tmp_path, TWO_CLUSTERS):
        used = {annotation.GraphicLayer for annotation in state.GraphicAnnotationSequence}
        assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == sorted(
            used, key=["CAD MARKS", "CAD CALCS", "CAD SCORES", "CAD NOTE"].index
        )


def test_a_cluster_of_many_has_no_more_rings_than_the_reports_list(tmp_path: Path) -> None:
    many = finding(calcifications=LISTED_CALCIFICATIONS + 9, radius=20)
    state, *_ = _states(tmp_path, ((many,), (), (), ()))
    rings = next(a for a in state.GraphicAnnotationSequence if a.GraphicLayer == "CAD CALCS")
    assert len(rings.GraphicObjectSequence) == LISTED_CALCIFICATIONS


def test_each_side_is_a_series_of_its_own(tmp_path: Path) -> None:
    states = _states(tmp_path, TWO_CLUSTERS)
    of_side: dict[str, set[str]] = {"R": set(), "L": set()}
    for state in states:
        of_side[state.Laterality].add(state.SeriesInstanceUID)
    assert len(of_side["R"]) == len(of_side["L"]) == 1
    assert of_side["R"] != of_side["L"]


def test_the_whole_image_is_shown_at_its_spacing(tmp_path: Path) -> None:
    views = four_views(rows=96, columns=80, spacing_mm=(0.1, 0.05))
    state, *_ = _states(tmp_path, ((), (), (), ()), datasets=views)
    (area,) = state.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [80, 96]
    assert [float(one) for one in area.PresentationPixelSpacing] == [0.1, 0.05]


def test_a_revision_is_told_in_the_picture(tmp_path: Path) -> None:
    state, *_ = _states(tmp_path, TWO_CLUSTERS, revision=2)
    (note,) = state.GraphicAnnotationSequence[-1].TextObjectSequence
    assert "revision 2" in note.UnformattedTextValue
    assert "not for diagnosis" in note.UnformattedTextValue


def test_an_outline_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = Finding(0.9, (10.0, 10.0), ((10.0, 10.0),), 1.0, 0)
    with pytest.raises(ResultInvalid):
        _states(tmp_path, ((broken,), (), (), ()))


# ---- grey values ---------------------------------------------------------------------------


def _written(image: Dataset, intent: Intent = Intent.PRESENTATION) -> Dataset:
    """The transformations, through a file."""
    state = Dataset()
    write_transformations(image, intent, state)
    with BytesIO() as buffer:
        dcmwrite(buffer, state, implicit_vr=False, little_endian=True)
        buffer.seek(0)
        return dcmread(buffer, force=True)


def _header(**attributes: object) -> Dataset:
    image = Dataset()
    image.BitsStored, image.PixelRepresentation = 12, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    return image


def _table(item: Dataset) -> tuple[int, int, NDArray[np.uint16]]:
    entries, first, bits = item.LUTDescriptor
    table = np.frombuffer(item.LUTData, "<u2")
    assert len(table) == (entries & 0xFFFF or 65536)
    return first, bits, table


def test_a_sigmoid_window_becomes_a_table_over_all_that_the_image_can_hold() -> None:
    state = _written(_header(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"))
    (voi,) = state.SoftcopyVOILUTSequence
    first, bits, table = _table(voi.VOILUTSequence[0])
    assert (first, bits, table.size) == (0, 16, 4096)
    assert abs(int(table[2000]) - 32768) <= 1
    assert table[2000 + 250] == round(65535 / (1 + math.exp(-1)))


@pytest.mark.parametrize(("bits", "entries"), [(8, 256), (12, 4096), (16, 65536)])
def test_the_table_of_signed_values_begins_below_zero(bits: int, entries: int) -> None:
    image = _header(
        BitsStored=bits,
        PixelRepresentation=1,
        WindowCenter=0,
        WindowWidth=50,
        VOILUTFunction="SIGMOID",
    )
    first, _, table = _table(_written(image).SoftcopyVOILUTSequence[0].VOILUTSequence[0])
    assert (first, table.size) == (-entries // 2, entries)
    assert abs(int(table[entries // 2]) - 32768) <= 1


def test_a_sigmoid_over_values_that_are_no_whole_numbers_stays_a_window() -> None:
    image = _header(
        RescaleSlope=0.5,
        RescaleIntercept=0,
        WindowCenter=100,
        WindowWidth=50,
        VOILUTFunction="SIGMOID",
    )
    state = _written(image)
    assert state.SoftcopyVOILUTSequence[0].VOILUTFunction == "SIGMOID"
    assert (state.RescaleSlope, state.RescaleType) == (0.5, "US")


def test_the_first_window_that_makes_sense_is_the_one() -> None:
    image = _header(WindowCenter=[5, 700], WindowWidth=[0, 300])
    (voi,) = _written(image).SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (700, 300)


def test_without_a_window_all_that_the_image_can_hold_is_shown() -> None:
    (voi,) = _written(_header()).SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (2048, 4096)


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({}, "IDENTITY"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "INVERSE"),
        ({"PresentationLUTShape": "INVERSE"}, "INVERSE"),
        (
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
            "INVERSE",
        ),
    ],
)
def test_the_polarity_is_that_of_the_image_and_turned_once_only(
    attributes: dict[str, str], shape: str
) -> None:
    assert _written(_header(**attributes)).PresentationLUTShape == shape


@pytest.mark.parametrize(
    ("sign", "photometric", "shape"),
    [
        (1, "MONOCHROME2", "INVERSE"),
        (-1, "MONOCHROME2", "IDENTITY"),
        (None, "MONOCHROME1", "INVERSE"),
        (None, "MONOCHROME2", "IDENTITY"),
    ],
)
def test_a_for_processing_image_is_shown_dense_tissue_bright(
    sign: int | None, photometric: str, shape: str
) -> None:
    image = _header(PhotometricInterpretation=photometric, WindowCenter=9, WindowWidth=9)
    if sign is not None:
        image.PixelIntensityRelationshipSign = sign
    state = _written(image, Intent.PROCESSING)
    assert state.PresentationLUTShape == shape
    assert state.SoftcopyVOILUTSequence[0].WindowWidth == 4096


def test_a_modality_table_is_repeated_and_the_window_is_over_what_it_gives() -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [3, 0, 10], "US"
    item.LUTData = [0, 500, 1023]
    image = _header(ModalityLUTSequence=[item])
    state = _written(image)
    first, bits, table = _table(state.ModalityLUTSequence[0])
    assert (first, bits, table.tolist()) == (0, 10, [0, 500, 1023])
    assert state.SoftcopyVOILUTSequence[0].WindowWidth == 1024
    assert "RescaleSlope" not in state


def test_numbers_that_no_decimal_string_can_hold_are_left_out() -> None:
    state = _written(_header(RescaleSlope="1e300", RescaleIntercept="-1e300"))
    assert "RescaleSlope" not in state
