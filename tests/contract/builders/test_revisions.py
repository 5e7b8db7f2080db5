"""What every result object is called, and what it names of earlier revisions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from cadnode.core.exam import DocumentReference
from cadnode.core.ports import OutputBuilder
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dicom.object_header import Equipment
from cadnode.dicom.sr_reader import read_report
from tests.contract.builders.kinds import EVERY_KIND, OF_EACH_IMAGE, Make, all_built, built
from tests.unit.sr_reports import CREATED, EQUIPMENT, TWO_CLUSTERS, finding, report_of


def test_equal_reports_give_equal_bytes(make: Make, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    first, second = (list(make(Equipment()).objects(one)) for one in (report, replace(report)))
    assert first == second
    assert first


def test_the_place_of_the_files_does_not_change_the_object(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    here = report_of(tmp_path / "here", findings=TWO_CLUSTERS)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = replace(
        here,
        images=tuple(
            replace(image, path=tmp_path / "there" / image.path.name) for image in here.images
        ),
    )
    assert list(builder.objects(here)) == list(builder.objects(there))


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 2},
        {"created_at": CREATED + timedelta(seconds=1)},
        {"findings": ((), (finding(score=0.5),), (), ())},
        {"fail": (0,)},
    ],
    ids=["revision", "time", "finding", "failure"],
)
def test_other_content_is_another_instance_in_another_series(
    builder: OutputBuilder, tmp_path: Path, change: dict[str, object]
) -> None:
    first, _ = built(builder, report_of(tmp_path / "a", findings=TWO_CLUSTERS))
    changed = report_of(tmp_path / "b", **{"findings": TWO_CLUSTERS, **change})  # type: ignore[arg-type]
    second, _ = built(builder, changed)
    assert first.sop_instance_uid != second.sop_instance_uid
    assert first.series_instance_uid != second.series_instance_uid


def test_no_two_objects_share_a_uid(tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    results = [result for make in EVERY_KIND for result in make(EQUIPMENT).objects(report)]
    assert len(results) == 1 + 1 + 4 + 4 + 2
    instances = {result.sop_instance_uid for result in results}
    of_kind: dict[str, set[str]] = {}
    for result in results:
        of_kind.setdefault(result.series_instance_uid, set()).add(result.kind)
    assert len(instances) == len(results)
    assert instances.isdisjoint(of_kind)
    assert all(len(kinds) == 1 for kinds in of_kind.values())
    assert len({(result.kind, result.part) for result in results}) == len(results)


def test_the_file_says_what_the_result_says(builder: OutputBuilder, tmp_path: Path) -> None:
    result, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS))
    assert result.kind == builder.kind
    assert result.sop_class_uid == dataset.SOPClassUID
    assert result.sop_instance_uid == dataset.SOPInstanceUID
    assert result.series_instance_uid == dataset.SeriesInstanceUID
    assert dataset.file_meta.MediaStorageSOPInstanceUID == result.sop_instance_uid
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert dataset.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert b"highdicom" not in result.content


def test_a_new_revision_names_its_predecessors(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    first, _ = built(document_builder, report)
    predecessor = DocumentReference(
        report.study_instance_uid,
        first.series_instance_uid,
        first.sop_class_uid,
        first.sop_instance_uid,
        first.kind,
    )
    revised = replace(report, revision=2, predecessors=(predecessor,))
    second, dataset = built(document_builder, revised)
    assert read_report(dataset).predecessor_uids == (first.sop_instance_uid,)
    assert second.sop_instance_uid != first.sop_instance_uid
    assert dataset.SeriesNumber in (9011, 9012)


def test_the_marks_keep_their_tracking_identity_over_revisions(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    _, first = built(document_builder, report)
    _, second = built(document_builder, replace(report, revision=2))
    tracked = [[one.tracking_uid for one in read_report(each).findings] for each in (first, second)]
    assert tracked[0] == tracked[1]
    assert len(set(tracked[0])) == len(tracked[0]) > 0


def test_a_document_has_no_picture_and_no_presentation_state_as_predecessor(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    earlier = [
        DocumentReference(
            report.study_instance_uid,
            result.series_instance_uid,
            result.sop_class_uid,
            result.sop_instance_uid,
            result.kind,
        )
        for builder in (document_builder, *(make(EQUIPMENT) for make in OF_EACH_IMAGE))
        for result in builder.objects(report)
    ]
    _, dataset = built(document_builder, replace(report, revision=2, predecessors=tuple(earlier)))
    assert read_report(dataset).predecessor_uids == (earlier[0].sop_instance_uid,)


def test_the_series_of_a_later_revision_says_so(builder: OutputBuilder, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    _, first = built(builder, report)
    _, second = built(builder, replace(report, revision=2))
    assert second.SeriesDescription == f"{first.SeriesDescription}, revision 2"
    assert len(second.SeriesDescription) <= 64


def test_objects_of_images_are_numbered_as_the_images_and_by_revision(
    image_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(1,))
    first = all_built(image_builder, report)
    second = all_built(image_builder, replace(report, revision=2))
    assert [dataset.InstanceNumber for dataset in first] == [1, 3, 4]
    assert all(9003 <= dataset.SeriesNumber <= 9005 for dataset in first)
    assert [d.SeriesNumber + 10 for d in first] == [d.SeriesNumber for d in second]
