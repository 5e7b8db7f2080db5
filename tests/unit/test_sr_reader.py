"""What is read back from result objects: ours as they went in, others' as far as they say it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import hypot
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import ComprehensiveSRStorage, MammographyCADSRStorage

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import ExamReport
from cadnode.core.findings import Calcification, Finding
from cadnode.dicom import sr_codes as c
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.object_header import from_bytes
from cadnode.dicom.sr_items import parsed
from cadnode.dicom.sr_reader import read_report
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.peers import absent
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, report_of

ROWS, COLUMNS = 96, 80
EXAMPLES = Path(__file__).parents[3] / "shared" / "examples" / "sr"

_column = st.floats(0, COLUMNS)
_row = st.floats(0, ROWS)
_point = st.tuples(_column, _row)
_calcification = st.builds(
    Calcification,
    center=_point,
    diameter_mm=st.floats(0.05, 2.0),
    contrast=st.floats(0, 100),
)
_finding = st.builds(
    Finding,
    score=st.floats(0, 1),
    center=_point,
    outline=st.lists(_point, min_size=3, max_size=12).map(lambda ring: (*ring, ring[0])),
    area_mm2=st.floats(0, 5000),
    operating_point=st.integers(0, 3),
    calcifications=st.lists(_calcification, max_size=4).map(tuple),
)
_findings = st.lists(_finding, max_size=3).map(tuple)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExamReport:
    return report_of(tmp_path_factory.mktemp("exam"), findings=TWO_CLUSTERS)


@pytest.fixture
def cad(report: ExamReport) -> Dataset:
    return from_bytes(MammographyCadSr(EQUIPMENT).build(report).content)


@settings(max_examples=30, deadline=None)
@given(of_images=st.tuples(_findings, _findings, _findings, _findings))
def test_findings_come_back_as_they_went_in(
    report: ExamReport, of_images: tuple[tuple[Finding, ...], ...]
) -> None:
    went_in = replace(
        report,
        images=tuple(
            replace(image, findings=findings)
            for image, findings in zip(report.images, of_images, strict=True)
        ),
    )
    read = read_report(from_bytes(MammographyCadSr(EQUIPMENT).build(went_in).content))
    for image in went_in.images:
        found = read.of_image(image.sop_instance_uid)
        assert len(found) == len(image.findings)
        for one, finding in zip(found, image.findings, strict=True):
            assert one.score == pytest.approx(finding.score, abs=1e-9)
            assert one.center == pytest.approx(finding.center, rel=1e-6, abs=1e-6)
            assert len(one.outline) == len(finding.outline)
            for point, twin in zip(one.outline, finding.outline, strict=True):
                assert point == pytest.approx(twin, rel=1e-6, abs=1e-6)
            assert one.operating_point == finding.operating_point
            assert (one.number_of_calcifications or 0) == len(finding.calcifications)
            for spot, went in zip(one.calcifications, finding.calcifications, strict=True):
                assert spot.center == pytest.approx(went.center, rel=1e-6, abs=1e-6)
                assert spot.diameter_mm == pytest.approx(went.diameter_mm)


@settings(max_examples=15, deadline=None)
@given(findings=_findings)
def test_tid1500_gives_back_the_marks_it_shows(
    report: ExamReport, findings: tuple[Finding, ...]
) -> None:
    images = (replace(report.images[0], findings=findings), *report.images[1:])
    went_in = replace(report, images=images)
    result = Tid1500Sr(EQUIPMENT).build(went_in)
    assert result is not None
    read = read_report(from_bytes(result.content))
    shown = [one for one in findings if one.operating_point <= 1]
    found = read.of_image(images[0].sop_instance_uid)
    assert [one.score for one in found] == pytest.approx([one.score for one in shown], abs=1e-9)
    assert [one.area_mm2 for one in found] == pytest.approx([one.area_mm2 for one in shown])


def test_images_of_the_library_come_back_with_their_geometry(
    cad: Dataset, report: ExamReport
) -> None:
    read = read_report(cad)
    assert [(one.sop_instance_uid, one.rows, one.columns) for one in read.images] == [
        (one.sop_instance_uid, ROWS, COLUMNS) for one in report.images
    ]
    assert {one.horizontal_spacing_mm for one in read.images} == {0.07}
    assert read.algorithms == (("cadnode calcifications", "1.2.0"),)
    assert read.study_instance_uid == report.study_instance_uid


def test_snomed_rt_codes_of_older_objects_are_understood(cad: Dataset) -> None:
    older = {"129769006": "F-01775", "129770007": "F-01776", "80248007": "T-04030"}
    for item in parsed(cad).walk():
        for coded in item.dataset.get("ConceptCodeSequence") or ():
            if coded.CodeValue in older:
                coded.CodeValue = older[coded.CodeValue]
                coded.CodingSchemeDesignator = "SNM3"
    read = read_report(cad)
    assert [one.is_cluster for one in read.findings] == [True, True, True]
    assert all(one.is_calcification for each in read.findings for one in each.calcifications)
    assert [one.laterality for one in read.images] == ["R", "L", "R", "L"]


def test_spacing_in_micrometers_is_understood(cad: Dataset) -> None:
    for item in parsed(cad).walk():
        if item.name is not None and item.name == c.VERTICAL_PIXEL_SPACING:
            measured = item.dataset.MeasuredValueSequence[0]
            measured.NumericValue, measured.FloatingPointValue = 70, 70.0
            measured.MeasurementUnitsCodeSequence[0].CodeValue = "um"
    assert {one.vertical_spacing_mm for one in read_report(cad).images} == {0.07}


def test_circles_and_ellipses_become_closed_polygons(cad: Dataset) -> None:
    outlines = [
        item.dataset
        for item in parsed(cad).walk()
        if item.name is not None and item.name == c.OUTLINE
    ]
    outlines[0].GraphicType = "CIRCLE"
    outlines[0].GraphicData = [30.0, 40.0, 33.0, 44.0]
    outlines[1].GraphicType = "ELLIPSE"
    outlines[1].GraphicData = [20.0, 50.0, 40.0, 50.0, 30.0, 45.0, 30.0, 55.0]
    circle, ellipse, _ = read_report(cad).findings
    assert circle.outline[0] == circle.outline[-1]
    assert all(hypot(x - 30, y - 40) == pytest.approx(5) for x, y in circle.outline)
    assert ellipse.outline[0] == ellipse.outline[-1]
    assert all(
        ((x - 30) / 10) ** 2 + ((y - 50) / 5) ** 2 == pytest.approx(1) for x, y in ellipse.outline
    )


def test_findings_inside_composite_features_are_found(cad: Dataset) -> None:
    for item in parsed(cad).walk():
        if item.name is not None and item.name == c.INDIVIDUAL_IMPRESSION:
            finding = item.dataset.ContentSequence[1]
            feature = deepcopy(item.dataset.ContentSequence[0])
            feature.ConceptNameCodeSequence[0].CodeValue = "111015"
            feature.RelationshipType = "CONTAINS"
            finding.RelationshipType = "INFERRED FROM"
            feature.ContentSequence = [finding]
            item.dataset.ContentSequence[1] = feature
    assert [one.is_cluster for one in read_report(cad).findings] == [True, True, True]


def test_rows_that_are_left_out_read_as_none(cad: Dataset) -> None:
    cluster = next(
        item.dataset
        for item in parsed(cad).walk()
        if item.code is not None and item.code == c.CALCIFICATION_CLUSTER
    )
    cluster.ContentSequence = []
    found = read_report(cad).findings[0]
    assert (found.center, found.outline, found.score) == (None, (), None)
    assert (found.operating_point, found.rendering_intent) == (None, None)
    assert (found.sop_instance_uid, found.tracking_uid) == ("", None)


def test_an_object_of_another_kind_is_refused(cad: Dataset) -> None:
    cad.SOPClassUID = ComprehensiveSRStorage
    with pytest.raises(ResultInvalid, match="neither"):
        read_report(cad)
    with pytest.raises(ResultInvalid):
        read_report(Dataset())


def test_an_object_without_its_identifiers_is_refused() -> None:
    dataset = Dataset()
    dataset.SOPClassUID = MammographyCADSRStorage
    with pytest.raises(ResultInvalid):
        read_report(dataset)


@pytest.mark.parametrize(
    ("name", "findings", "summary", "failed"),
    [
        ("a_two_clusters", 2, "111242", 0),
        ("b_no_findings", 0, "111241", 0),
        ("c_failed", 0, "111245", 4),
        ("c2_partial", 1, "111244", 1),
        ("e_composite_reprocessed", 2, "111242", 0),
        ("d_tid1500_comp3d", 2, None, 0),
    ],
)
def test_objects_of_an_independent_builder_are_understood(
    name: str, findings: int, summary: str | None, failed: int
) -> None:
    path = EXAMPLES / f"{name}.dcm"
    if not path.exists():
        absent("the examples of the independent builder are not beside this repository")
    read = read_report(dcmread(path))
    assert len(read.findings) == findings
    assert read.findings_summary == summary
    assert len(read.failed_uids) == failed
    assert len(read.images) == 4
    for found in read.findings:
        assert found.is_cluster
        assert found.outline[0] == found.outline[-1]
        assert found.sop_instance_uid in {image.sop_instance_uid for image in read.images}
