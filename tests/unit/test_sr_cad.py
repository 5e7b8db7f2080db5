"""What the Mammography CAD SR and its TID 1500 twin say in each case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from cadnode.core.exam import ExamReport
from cadnode.core.mammogram import Laterality
from cadnode.dicom import sr_codes as c
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.object_header import from_bytes
from cadnode.dicom.sr_items import Item, parsed
from cadnode.dicom.sr_marks import LISTED_CALCIFICATIONS
from cadnode.dicom.sr_reader import ReadReport, read_report
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.objects import code, four_views, mammogram
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, finding, report_of

NOTHING = ((), (), (), ())


def cad(report: ExamReport) -> Dataset:
    return from_bytes(MammographyCadSr(EQUIPMENT).build(report).content)


def read(report: ExamReport) -> ReadReport:
    return read_report(cad(report))


def library(report: ExamReport) -> tuple[Item, ...]:
    found = parsed(cad(report)).first(c.IMAGE_LIBRARY)
    assert found is not None
    return found.children


def value(entry: Item, name: object) -> str | float | None:
    found = next((item for item in entry.children if item.name == name), None)
    if found is None:
        return None
    return found.code.meaning if found.code else (found.text or found.number)


@pytest.mark.parametrize(
    ("findings", "fail", "summary", "detections", "analyzed", "failed"),
    [
        (TWO_CLUSTERS, (), "111242", "111222", 4, 0),
        (NOTHING, (), "111241", "111222", 4, 0),
        (TWO_CLUSTERS, (0,), "111244", "111223", 3, 1),
        (NOTHING, (0, 3), "111243", "111223", 2, 2),
        (NOTHING, (0, 1, 2, 3), "111245", "111224", 0, 4),
    ],
    ids=["findings", "no findings", "partial with", "partial without", "all failed"],
)
def test_each_outcome_has_its_own_summaries(
    tmp_path: Path,
    findings: tuple[tuple[object, ...], ...],
    fail: tuple[int, ...],
    summary: str,
    detections: str,
    analyzed: int,
    failed: int,
) -> None:
    said = read(report_of(tmp_path, findings=findings, fail=fail))  # type: ignore[arg-type]
    assert (said.findings_summary, said.detection_summary) == (summary, detections)
    assert said.analysis_summary == c.NOT_ATTEMPTED.value
    assert (len(said.analyzed_uids), len(said.failed_uids)) == (analyzed, failed)
    assert len(said.images) == 4


def test_the_strictest_marks_are_required_and_the_others_carry_their_operating_point(
    tmp_path: Path,
) -> None:
    said = read(report_of(tmp_path, findings=TWO_CLUSTERS))
    assert [(one.rendering_intent, one.operating_point) for one in said.findings] == [
        ("111150", 0),
        ("111151", 2),
        ("111151", 1),
    ]
    assert (said.maximum_operating_point, said.recommended_operating_point) == (3, 1)
    calcifications = [one for each in said.findings for one in each.calcifications]
    assert {one.rendering_intent for one in calcifications} == {"111151"}
    assert {one.operating_point for one in calcifications} == {None}


def test_an_algorithm_with_one_operating_point_states_none(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=((finding(),), (), (), ()))
    single = replace(report.algorithm, maximum_operating_point=0, recommended_operating_point=0)
    said = read(replace(report, algorithm=single))
    assert (said.maximum_operating_point, said.recommended_operating_point) == (None, None)
    assert said.findings[0].operating_point == 0


def test_the_number_of_calcifications_is_true_when_only_some_are_listed(tmp_path: Path) -> None:
    many = finding(calcifications=LISTED_CALCIFICATIONS + 17, radius=12)
    (found,) = read(report_of(tmp_path, findings=((many,), (), (), ()))).findings
    assert found.number_of_calcifications == LISTED_CALCIFICATIONS + 17
    assert len(found.calcifications) == LISTED_CALCIFICATIONS
    listed = {round(one.center[0], 3) for one in found.calcifications if one.center}
    left_out = [one for one in many.calcifications if round(one.center[0], 3) not in listed]
    assert max(one.contrast for one in left_out) <= min(
        one.contrast for one in many.calcifications if round(one.center[0], 3) in listed
    )


def test_a_cluster_without_located_calcifications_states_no_number(tmp_path: Path) -> None:
    (found,) = read(
        report_of(tmp_path, findings=((finding(calcifications=0),), (), (), ()))
    ).findings
    assert found.number_of_calcifications is None
    assert found.calcifications == ()


def test_marks_are_numbered_by_view(tmp_path: Path) -> None:
    said = read(report_of(tmp_path, findings=TWO_CLUSTERS))
    assert [one.tracking_identifier for one in said.findings] == ["LCC-1", "LCC-2", "LMLO-1"]


def test_a_library_entry_tells_what_a_viewer_needs_to_match_it(tmp_path: Path) -> None:
    view = mammogram(laterality="L", view="MLO", spacing_mm=(0.08, 0.05))
    view.PositionerSecondaryAngle = -3.5
    (entry,) = library(report_of(tmp_path, findings=((),), datasets=[view]))
    assert [(value(entry, item.name), item.relationship) for item in entry.children] == [
        ("Left breast", "HAS ACQ CONTEXT"),
        ("medio-lateral oblique", "HAS ACQ CONTEXT"),
        ("A", "HAS ACQ CONTEXT"),
        ("FR", "HAS ACQ CONTEXT"),
        ("20240102", "HAS ACQ CONTEXT"),
        ("101500", "HAS ACQ CONTEXT"),
        ("20240102", "HAS ACQ CONTEXT"),
        ("101500", "HAS ACQ CONTEXT"),
        (0.05, "HAS ACQ CONTEXT"),
        (0.08, "HAS ACQ CONTEXT"),
        (0.0, "HAS ACQ CONTEXT"),
        (-3.5, "HAS ACQ CONTEXT"),
        (96.0, "HAS ACQ CONTEXT"),
        (80.0, "HAS ACQ CONTEXT"),
    ]
    assert entry.name is None


@pytest.mark.parametrize("coding", ["SCT", "SRT", "text"])
@pytest.mark.parametrize(
    "view", ["CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM"]
)
def test_the_view_is_written_in_snomed_ct_however_the_image_says_it(
    tmp_path: Path, coding: str, view: str
) -> None:
    images = [mammogram(view=view, coding=coding)]
    (entry,) = library(report_of(tmp_path, findings=((),), datasets=images))
    item = entry.first(c.IMAGE_VIEW)
    assert item is not None
    assert item.code == c.VIEWS[view]
    assert item.code.scheme_designator == "SCT"


def test_view_modifiers_are_written_in_snomed_ct(tmp_path: Path) -> None:
    images = [mammogram(coding="SRT", modifiers=("axillary tail", "rolled medial"))]
    unknown = code("R-99999", "SRT", "unheard of")
    images[0].ViewCodeSequence[0].ViewModifierCodeSequence.append(unknown)
    (entry,) = library(report_of(tmp_path, findings=((),), datasets=images))
    view = entry.first(c.IMAGE_VIEW)
    assert view is not None
    assert [(one.relationship, one.code) for one in view.children] == [
        ("HAS CONCEPT MOD", c.sct("399011000", "Axillary Tail")),
        ("HAS CONCEPT MOD", c.sct("399226006", "Rolled Medial")),
    ]


def test_pixel_spacing_serves_where_imager_pixel_spacing_is_missing(tmp_path: Path) -> None:
    images = [mammogram(spacing_mm=(0.1, 0.2), spacing_attribute="PixelSpacing")]
    (entry,) = library(report_of(tmp_path, findings=((),), datasets=images))
    assert value(entry, c.HORIZONTAL_PIXEL_SPACING) == 0.2
    assert value(entry, c.VERTICAL_PIXEL_SPACING) == 0.1


@pytest.mark.filterwarnings("ignore:.*Invalid value for VR")
def test_rows_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    image = mammogram(laterality=None, view=None, spacing_mm=(0.0, 0.1))
    image.PatientOrientation = "A"
    image.ContentDate = "yesterday"
    image.ContentTime = ""
    image.ImageLaterality = "X"
    report = report_of(tmp_path, findings=((),), datasets=[mammogram()])
    image.SOPInstanceUID = report.images[0].sop_instance_uid
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(report.images[0].path, enforce_file_format=True)
    blank = replace(report.images[0], laterality=None, view=None)
    (entry,) = library(replace(report, images=(blank,)))
    assert [item.name.meaning for item in entry.children if item.name] == [
        "Study Date",
        "Study Time",
        "Positioner Primary Angle",
        "Pixel Data Rows",
        "Pixel Data Columns",
    ]


def test_what_the_image_does_not_say_comes_from_the_report(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=((),), datasets=[mammogram(laterality=None, view=None)])
    known = replace(report.images[0], laterality=Laterality.LEFT, view="ML")
    (entry,) = library(replace(report, images=(known,)))
    assert value(entry, c.IMAGE_LATERALITY) == "Left breast"
    assert value(entry, c.IMAGE_VIEW) == "medio-lateral"


def test_tid1500_shows_the_marks_at_the_recommended_operating_point(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    result = Tid1500Sr(EQUIPMENT).build(report)
    assert result is not None
    said = read_report(from_bytes(result.content))
    assert [one.tracking_identifier for one in said.findings] == ["LCC-1", "LMLO-1"]
    assert [one.area_mm2 for one in said.findings] == pytest.approx([0.7056, 0.7056])
    assert [(one.laterality, one.view) for one in said.images] == [
        ("R", "CC"),
        ("L", "CC"),
        ("R", "MLO"),
        ("L", "MLO"),
    ]


@pytest.mark.parametrize(
    ("findings", "fail"),
    [
        (NOTHING, ()),
        (((finding(operating_point=2),), (), (), ()), ()),
        (NOTHING, (0, 1, 2, 3)),
    ],
    ids=["no findings", "only weaker marks", "all failed"],
)
def test_there_is_no_tid1500_without_a_mark_to_show(
    tmp_path: Path, findings: tuple[tuple[object, ...], ...], fail: tuple[int, ...]
) -> None:
    report = report_of(tmp_path, findings=findings, fail=fail)  # type: ignore[arg-type]
    assert Tid1500Sr(EQUIPMENT).build(report) is None


def test_an_exam_of_one_image_has_its_report(tmp_path: Path) -> None:
    views = four_views()[:1]
    said = read(report_of(tmp_path, findings=((finding(),),), datasets=views))
    assert [one.sop_instance_uid for one in said.of_image(views[0].SOPInstanceUID)] == [
        views[0].SOPInstanceUID
    ]
