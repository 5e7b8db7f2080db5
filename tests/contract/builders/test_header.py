"""What every result object says of patient, study, request, device and time."""

from __future__ import annotations

from datetime import timedelta, timezone
from pathlib import Path

import pytest
from pydicom import Dataset

from cadnode.core.ports import OutputBuilder
from cadnode.dicom.object_header import Equipment
from cadnode.dicom.sr_reader import read_report
from tests.contract.builders.kinds import Make, built
from tests.objects import code, four_views
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, report_of

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
