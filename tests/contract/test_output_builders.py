"""What every result object must do, whichever kind it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from cadnode.captures import drawing
from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import BuiltResult, DocumentReference, ExamReport
from cadnode.core.ports import OutputBuilder
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derive_uid
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.object_header import Equipment, from_bytes
from cadnode.dicom.reader import DicomReader
from cadnode.dicom.secondary_capture import SecondaryCapture
from cadnode.dicom.segmentation import Segmentation
from cadnode.dicom.sr_items import parsed
from cadnode.dicom.sr_reader import read_report
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.objects import LOSSLESS_SYNTAXES, code, four_views
from tests.unit.sr_reports import CREATED, EQUIPMENT, TWO_CLUSTERS, finding, report_of

# "Test^Object" in their languages, and the three-component examples of PS3.5 Annexes H to J.
NAMES = {
    "ISO_IR 100": "Prüfung^Objét",
    "ISO_IR 101": "Zkouška^Předmět",
    "ISO_IR 126": "Δοκιμή^Σώμα",
    "ISO_IR 144": "Проверка^Объект",
    "ISO_IR 127": "اختبار^كائن",
    "ISO_IR 138": "בדיקה^עצם",
    "ISO_IR 166": "ทดสอบ^วัตถุ",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Wang^XiaoDong=王^小東",
}


Make = Callable[[Equipment], OutputBuilder]


def _pictures(equipment: Equipment) -> OutputBuilder:
    return SecondaryCapture(equipment, drawing(DicomReader()))


DOCUMENTS: Sequence[Make] = (MammographyCadSr, Tid1500Sr)
OF_EACH_IMAGE: Sequence[Make] = (Gsps, _pictures)
EVERY_KIND: Sequence[Make] = (*DOCUMENTS, *OF_EACH_IMAGE, Segmentation)


@pytest.fixture(params=EVERY_KIND)
def make(request: pytest.FixtureRequest) -> Make:
    """The builders under contract."""
    made: Make = request.param
    return made


@pytest.fixture
def builder(make: Make) -> OutputBuilder:
    return make(EQUIPMENT)


@pytest.fixture(params=DOCUMENTS)
def document_builder(request: pytest.FixtureRequest) -> OutputBuilder:
    """Those that make one SR document."""
    made: OutputBuilder = request.param(EQUIPMENT)
    return made


@pytest.fixture(params=OF_EACH_IMAGE)
def image_builder(request: pytest.FixtureRequest) -> OutputBuilder:
    """Those that make one object for each image."""
    made: OutputBuilder = request.param(EQUIPMENT)
    return made


def all_built(builder: OutputBuilder, report: ExamReport) -> list[Dataset]:
    return [from_bytes(result.content) for result in builder.objects(report)]


def built(builder: OutputBuilder, report: ExamReport) -> tuple[BuiltResult, Dataset]:
    result = next(builder.objects(report))
    return result, from_bytes(result.content)


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


def test_the_header_is_that_of_a_complete_unverified_document_of_a_device(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    result, dataset = built(document_builder, report_of(tmp_path, findings=TWO_CLUSTERS))
    assert read_report(dataset).kind == result.kind
    assert dataset.Modality == "SR"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert dataset.PreliminaryFlag == "FINAL"
    assert dataset.InstanceNumber == 1
    assert dataset.SeriesNumber in (9001, 9002)
    assert "ReferencedRequestSequence" not in dataset
    assert "PredecessorDocumentsSequence" not in dataset
    author = dataset.AuthorObserverSequence[0]
    assert (author.ObserverType, author.DeviceUID) == ("DEV", EQUIPMENT.device_uid)
    assert author.Manufacturer == EQUIPMENT.manufacturer
    assert author.ManufacturerModelName == EQUIPMENT.model_name
    assert author.StationName == EQUIPMENT.station_name


def test_every_object_says_what_made_it(builder: OutputBuilder, tmp_path: Path) -> None:
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS))
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.Manufacturer == EQUIPMENT.manufacturer
    assert dataset.ManufacturerModelName == EQUIPMENT.model_name
    assert dataset.StationName == EQUIPMENT.station_name
    assert dataset.DeviceSerialNumber == EQUIPMENT.device_serial_number
    assert dataset.SoftwareVersions == EQUIPMENT.software_versions[0]


def test_patient_and_study_are_those_of_the_images(builder: OutputBuilder, tmp_path: Path) -> None:
    views = four_views()
    for view in views:
        view.IssuerOfPatientID = "HOSPITAL"
        view.ProcedureCodeSequence = [code("24623002", "SCT", "Screening mammography")]
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    for keyword in (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "ReferringPhysicianName",
        "ProcedureCodeSequence",
    ):
        assert dataset[keyword].value == views[0][keyword].value, keyword


@pytest.mark.parametrize("character_set", NAMES)
def test_text_of_every_character_set_survives(
    builder: OutputBuilder, tmp_path: Path, character_set: str
) -> None:
    name = NAMES[character_set]
    text = max(name.split("="), key=lambda part: len(part.encode())).replace("^", " ")
    views = four_views(character_set=character_set, patient_name=name)
    for view in views:
        view.StudyDescription = text
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == name
    assert dataset.StudyDescription == text


@pytest.mark.parametrize("character_set", NAMES)
def test_the_text_of_a_request_survives_in_every_character_set(
    document_builder: OutputBuilder, tmp_path: Path, character_set: str
) -> None:
    name = NAMES[character_set]
    text = max(name.split("="), key=lambda part: len(part.encode())).replace("^", " ")
    views = four_views(character_set=character_set, patient_name=name)
    for view in views:
        request = Dataset()
        request.RequestedProcedureDescription = text
        request.RequestedProcedureCodeSequence = [code("1", "99TEST", text)]
        request.RequestedProcedureID = "P1"
        view.RequestAttributesSequence = [request]
    _, dataset = built(document_builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    request = dataset.ReferencedRequestSequence[0]
    assert request.RequestedProcedureDescription == text
    assert request.RequestedProcedureCodeSequence[0].CodeMeaning == text


def test_a_request_is_repeated_with_all_its_attributes(
    document_builder: OutputBuilder, tmp_path: Path
) -> None:
    views = four_views()
    request = Dataset()
    request.RequestedProcedureID = "RP7"
    request.ScheduledProcedureStepID = "SP9"
    views[0].RequestAttributesSequence = [request]
    _, dataset = built(document_builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    item = dataset.ReferencedRequestSequence[0]
    assert item.StudyInstanceUID == views[0].StudyInstanceUID
    assert item.AccessionNumber == views[0].AccessionNumber
    assert item.RequestedProcedureID == "RP7"
    assert item.PlacerOrderNumberImagingServiceRequest == ""
    assert item.FillerOrderNumberImagingServiceRequest == ""
    assert item.RequestedProcedureDescription == ""
    assert len(item.ReferencedStudySequence) == len(item.RequestedProcedureCodeSequence) == 0
    assert "ScheduledProcedureStepID" not in item


def test_absent_patient_and_study_attributes_are_written_empty(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    views = four_views()
    absent = (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
        "SpecificCharacterSet",
        "PatientOrientation",
        "PositionerPrimaryAngle",
    )
    for view in views:
        for keyword in absent:
            del view[keyword]
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    for keyword in absent[:4] + absent[5:10]:
        assert keyword in dataset
        assert not dataset[keyword].value
    assert "PatientAge" not in dataset


@pytest.mark.filterwarnings("ignore:.*Invalid value for VR")
@pytest.mark.filterwarnings("ignore:The value length")
def test_values_that_break_the_rules_are_repeated_not_judged(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    views = four_views()
    for view in views:
        view.PatientSex = "f?"
        view.PatientBirthDate = "1960.01.01"
        view.StudyTime = "noon"
        view.PatientID = "x" * 70
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    assert dataset.PatientSex == "f?"
    assert dataset.PatientBirthDate == "1960.01.01"
    assert dataset.StudyTime == "noon"
    assert dataset.PatientID == "x" * 70


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


def test_times_are_those_of_the_report_in_the_time_zone_of_the_site(
    make: Make, tmp_path: Path
) -> None:
    site = Equipment(time_zone=timezone(timedelta(hours=-3, minutes=-30)))
    _, dataset = built(make(site), report_of(tmp_path, findings=TWO_CLUSTERS))
    assert dataset.TimezoneOffsetFromUTC == "-0330"
    made = "PresentationCreation" if dataset.Modality == "PR" else "Content"
    for what in (made, "Series", "InstanceCreation"):
        assert dataset[f"{what}Date"].value == "20240102"
        assert dataset[f"{what}Time"].value == "080015.250000"


def test_the_time_zone_of_the_images_goes_before_that_of_the_site(
    builder: OutputBuilder, tmp_path: Path
) -> None:
    views = four_views()
    for view in views:
        view.TimezoneOffsetFromUTC = "+1300"
    _, dataset = built(builder, report_of(tmp_path, findings=TWO_CLUSTERS, datasets=views))
    assert dataset.TimezoneOffsetFromUTC == "+1300"
    assert (dataset.SeriesDate, dataset.SeriesTime) == ("20240103", "003015.250000")


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


def test_objects_of_images_are_numbered_as_the_images_and_by_revision(
    image_builder: OutputBuilder, tmp_path: Path
) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS, fail=(1,))
    first = all_built(image_builder, report)
    second = all_built(image_builder, replace(report, revision=2))
    assert [dataset.InstanceNumber for dataset in first] == [1, 3, 4]
    assert all(9003 <= dataset.SeriesNumber <= 9005 for dataset in first)
    assert [d.SeriesNumber + 10 for d in first] == [d.SeriesNumber for d in second]


def test_the_series_of_a_later_revision_says_so(builder: OutputBuilder, tmp_path: Path) -> None:
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    _, first = built(builder, report)
    _, second = built(builder, replace(report, revision=2))
    assert second.SeriesDescription == f"{first.SeriesDescription}, revision 2"
    assert len(second.SeriesDescription) <= 64
