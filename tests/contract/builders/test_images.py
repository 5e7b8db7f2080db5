"""What every result object does with the images of its exam, sound or not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cadnode.core.errors import ResultInvalid
from cadnode.core.ports import OutputBuilder
from cadnode.core.uids import derive_uid
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.segmentation import Segmentation
from cadnode.dicom.sr_items import parsed
from cadnode.dicom.sr_reader import read_report
from tests.contract.builders.kinds import DOCUMENTS, Make, all_built, built
from tests.objects import LOSSLESS_SYNTAXES, four_views
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, finding, report_of


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
def test_images_may_come_in_any_lossless_transfer_syntax(
    builder: OutputBuilder, tmp_path: Path, syntax: str
) -> None:
    views = four_views(transfer_syntax_uid=syntax)
    result, _ = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    assert result.content


def test_every_image_is_evidence_and_nothing_else_is(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(2,))
    _, dataset = built(document_builder, report)
    uids = {image.sop_instance_uid for image in report.images}
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    listed = [
        reference.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    assert sorted(listed) == sorted(uids)
    assert {
        item.referenced_sop[1] for item in parsed(dataset).walk() if item.referenced_sop
    } == uids


def test_a_failed_image_that_is_no_dicom_file_does_not_break_the_report(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(0, 2))
    report.images[0].path.write_bytes(b"no DICOM at all")
    report.images[2].path.unlink()
    _, dataset = built(document_builder, report)
    read = read_report(dataset)
    assert [image.sop_instance_uid for image in read.images] == [
        image.sop_instance_uid for image in report.images
    ]
    assert (read.images[0].laterality, read.images[0].view, read.images[0].rows) == (
        "R",
        "CC",
        None,
    )
    assert dataset.PatientID == "TEST-0001"


@pytest.mark.filterwarnings("ignore:Unknown encoding")
@pytest.mark.filterwarnings("ignore:.*Invalid value for VR")
def test_a_truncated_failed_image_does_not_break_the_report(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(0,))
    whole = report.images[0].path.read_bytes()
    for length in range(100, 1500, 97):
        report.images[0].path.write_bytes(whole[:length])
        _, dataset = built(builder, report)
        assert dataset.PatientID == "TEST-0001"


def test_no_readable_image_at_all_is_refused(builder: OutputBuilder, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(0, 2))
    report = replace(report, images=(report.images[0], report.images[2], report.images[1]))
    for image in report.images:
        image.path.write_bytes(b"")
    with pytest.raises(ResultInvalid):
        list(builder.objects(report))


def test_an_analyzed_image_that_has_changed_on_disk_is_refused(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    shutil.copy(report.images[0].path, report.images[1].path)
    with pytest.raises(ResultInvalid, match="another image"):
        list(builder.objects(report))


def test_an_image_of_another_study_is_refused(builder: OutputBuilder, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    with pytest.raises(ResultInvalid, match="study"):
        list(builder.objects(replace(report, study_instance_uid=derive_uid("another"))))


def test_an_image_that_nobody_can_name_is_refused(builder: OutputBuilder, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(0,))
    report.images[0].path.unlink()
    nameless = replace(report.images[0], sop_class_uid="", series_instance_uid="")
    with pytest.raises(ResultInvalid, match="cannot be referenced"):
        list(builder.objects(replace(report, images=(nameless, *report.images[1:]))))


@pytest.mark.parametrize("make", [*DOCUMENTS, Gsps, Segmentation])
def test_a_finding_outside_its_image_is_refused(make: Make, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=((), (finding(column=78.0),), (), ()))
    with pytest.raises(ResultInvalid, match="outside"):
        list(make(EQUIPMENT).objects(report))


def test_each_analyzed_image_has_an_object_that_refers_to_it_alone(
    image_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(2,))
    report.images[2].path.unlink()
    referred = [
        {
            str(element.value)
            for element in dataset.iterall()
            if element.keyword == "ReferencedSOPInstanceUID"
        }
        for dataset in all_built(image_builder, report)
    ]
    assert referred == [{report.images[index].sop_instance_uid} for index in (0, 1, 3)]


def test_an_exam_in_which_every_image_failed_has_no_object_of_an_image(
    image_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(0, 1, 2, 3))
    assert all_built(image_builder, report) == []
