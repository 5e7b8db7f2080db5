"""What all result objects have in common: patient, study, series, equipment, UIDs, and their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from io import BytesIO
from typing import Any, Final

from highdicom import SOPClass
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom import Sequence as DicomSequence
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, MammographyCADSRStorage

from cadnode import __version__
from cadnode.core.exam import BuiltResult, ExamReport
from cadnode.core.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    derive_uid,
)
from cadnode.dicom.image_library import SourceImage, value_of

# Type 2 attributes of the Patient and General Study modules: written empty when the image has none.
_REQUIRED: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)

# Patient, Clinical Trial Subject, General Study, Patient Study, Clinical Trial Study modules
# (PS3.3 C.7.1, C.7.2).
_COPIED: Final = (
    *_REQUIRED,
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthTime",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "QualityControlSubject",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "ReferringPhysicianIdentificationSequence",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "Occupation",
    "AdditionalPatientHistory",
    "PatientSexNeutered",
)


@dataclass(frozen=True, slots=True)
class Equipment:
    """What this node says about itself in its result objects."""

    station_name: str = "CADNODE"
    device_serial_number: str = "cadnode"
    device_uid: str = derive_uid("cadnode", "device")
    """One node, one device UID: give each installation its own."""
    manufacturer: str = "cadnode project"
    model_name: str = "cadnode"
    software_versions: tuple[str, ...] = (__version__,)
    time_zone: tzinfo = UTC
    """The site's time zone; an image that names its own offset from UTC goes before it."""


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """What tells the kinds of result object apart in their header."""

    kind: str
    sop_class_uid: str
    series_number: int
    """Of the first revision; later revisions count on in steps of ten."""
    series_description: str
    modality: str = "SR"


def document_uid(
    role: str, kind: DocumentKind, report: ExamReport, equipment: Equipment, *of: str
) -> str:
    """The UID for `role` that this report gives, always the same one.

    `of` names the image, where a kind has an object for each.

    The content goes in, not only what names the exam: an exam that a person starts again may end
    with other findings at the same revision, and other content is another SOP Instance (PS3.4 O.3).
    """
    said = asdict(report)
    for image in said["images"]:
        del image["path"]
    said["created_at"] = report.created_at.astimezone(UTC).isoformat()
    content = json.dumps([said, asdict(equipment)], default=str, sort_keys=True)
    return derive_uid(
        role,
        kind.kind,
        report.study_instance_uid,
        str(report.revision),
        *sorted(image.sop_instance_uid for image in report.images),
        report.algorithm.name,
        report.algorithm.version,
        hashlib.sha256(content.encode()).hexdigest(),
        *of,
    )


def new_object(
    kind: DocumentKind,
    report: ExamReport,
    header: Dataset,
    equipment: Equipment,
    *of: str,
    number: int = 1,
    side: str = "",
) -> SOPClass:
    """An object with its patient, study, series and equipment, and nothing else yet.

    Patient and study are those of the image with this `header`, in its words whatever its character
    set. Times are `report.created_at` in the offset of that image, or in the site's time zone. All
    objects of one kind, report and `side` are one series; `of` and `number` tell them apart.
    """
    created = report.created_at.astimezone(_time_zone(header) or equipment.time_zone)
    made = SOPClass(
        study_instance_uid=report.study_instance_uid,
        series_instance_uid=document_uid("series", kind, report, equipment, *side),
        series_number=kind.series_number + 10 * max(report.revision - 1, 0),
        sop_instance_uid=document_uid("instance", kind, report, equipment, *of),
        sop_class_uid=kind.sop_class_uid,
        instance_number=number,
        modality=kind.modality,
        manufacturer=equipment.manufacturer,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=kind.series_description + revised(report),
        manufacturer_model_name=equipment.model_name,
        device_serial_number=equipment.device_serial_number,
        specific_character_set="ISO_IR 192",
    )
    made.StationName = equipment.station_name
    made["SoftwareVersions"] = DataElement(
        Tag("SoftwareVersions"), "LO", list(equipment.software_versions)
    )
    _write_times(made, created)
    copy_attributes(header, made, _COPIED, required=_REQUIRED)
    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return made


def read_tables() -> None:
    """Have highdicom read its tables of attributes, which it does with the first object: half a
    second that no exam shall wait."""
    uid = derive_uid("no object")
    SOPClass(
        study_instance_uid=uid,
        series_instance_uid=uid,
        series_number=1,
        sop_instance_uid=uid,
        sop_class_uid=MammographyCADSRStorage,
        instance_number=1,
        modality="SR",
        manufacturer="",
    )


def revised(report: ExamReport) -> str:
    """What is added to a text so that the objects of a later revision are known by it."""
    return f", revision {report.revision}" if report.revision > 1 else ""


def built(made: Dataset, kind: DocumentKind, content: bytes, part: str = "") -> BuiltResult:
    """The finished object under the UIDs that stand in it."""
    return BuiltResult(
        kind=kind.kind,
        sop_class_uid=kind.sop_class_uid,
        sop_instance_uid=made.SOPInstanceUID,
        series_instance_uid=made.SeriesInstanceUID,
        content=content,
        part=part,
    )


def file_bytes(document: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10)."""
    with BytesIO() as buffer:
        dcmwrite(buffer, document, enforce_file_format=True)
        return buffer.getvalue()


def from_bytes(content: bytes) -> Dataset:
    """The object that a DICOM file holds."""
    return dcmread(BytesIO(content))


def best_header(sources: Sequence[SourceImage]) -> Dataset:
    """That of the first analyzed image, if none was, of the first readable one."""
    # The header of a failed image may be cut short.
    readable = [source for source in sources if source.readable]
    return next((one for one in readable if one.analyzed), readable[0]).header


def _write_times(document: Dataset, created: datetime) -> None:
    # Every date and time of the object is in this one offset (PS3.3 C.12.1.1.8).
    document.TimezoneOffsetFromUTC = created.strftime("%z")[:5]
    for keyword in ("InstanceCreation", "Series", "Content"):
        setattr(document, f"{keyword}Date", created.strftime("%Y%m%d"))
        setattr(document, f"{keyword}Time", created.strftime("%H%M%S.%f"))


def _time_zone(header: Dataset) -> timezone | None:
    text = str(value_of(header, "TimezoneOffsetFromUTC") or "").strip()
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isdecimal():
        return None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    if offset >= timedelta(hours=24):
        return None
    return timezone(-offset if text[0] == "-" else offset)


def copy_attributes(
    source: Dataset, target: Dataset, keywords: Iterable[str], *, required: Iterable[str] = ()
) -> None:
    """Copy attributes as text, so that they are encoded anew in the target's character set."""
    for keyword in keywords:
        value = value_of(source, keyword)
        if value is not None:
            target[keyword] = _element(source[keyword], value)
        elif keyword in required:
            empty = DicomSequence() if dictionary_VR(keyword) == "SQ" else ""
            target[keyword] = DataElement(Tag(keyword), dictionary_VR(keyword), empty)


def _element(element: DataElement, value: Any) -> DataElement:
    if element.VR == "SQ":
        value = DicomSequence([_item(item) for item in value])
    elif element.VR == "PN":
        value = str(value) if element.VM == 1 else [str(name) for name in value]
    # Without validation: what the image says about the patient is repeated, not judged.
    return DataElement(element.tag, element.VR, value, validation_mode=IGNORE)


def _item(item: Dataset) -> Dataset:
    copied = Dataset()
    for element in item:
        if element.keyword not in ("", "SpecificCharacterSet") and element.VR != "UN":
            copied[element.tag] = _element(element, element.value)
    return copied
