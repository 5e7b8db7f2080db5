"""The header that both SR documents share: what it is evidence of, and who observed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from highdicom import SOPClass
from pydicom import Dataset
from pydicom import Sequence as DicomSequence

from cadnode.core.exam import DocumentReference, ExamReport
from cadnode.dicom.image_library import SourceImage, value_of
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    best_header,
    copy_attributes,
    new_object,
)

# Referenced Request Sequence (PS3.3 C.17.2): all type 2 but the Study Instance UID.
_REQUESTED: Final = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)


def sr_document(
    kind: DocumentKind,
    report: ExamReport,
    sources: Sequence[SourceImage],
    predecessors: Sequence[DocumentReference],
    content: Dataset,
    equipment: Equipment,
) -> SOPClass:
    """The finished object: `content` is the root content item with its tree.

    Patient and study are those of the first analyzed image, if none was, of the first readable one.
    """
    first = best_header(sources)
    document = new_object(kind, report, first, equipment)
    _write_document_general(document, equipment)
    requests = tuple(_requests(first, report.study_instance_uid))
    if requests:
        document.ReferencedRequestSequence = DicomSequence(requests)
    document.CurrentRequestedProcedureEvidenceSequence = _references(
        DocumentReference(
            report.study_instance_uid,
            source.series_instance_uid,
            source.sop_class_uid,
            source.image.sop_instance_uid,
            "image",
        )
        for source in sources
    )
    if predecessors:
        document.PredecessorDocumentsSequence = _references(predecessors)
    document.update(content)
    return document


def _write_document_general(document: Dataset, equipment: Equipment) -> None:
    document.CompletionFlag = "COMPLETE"
    document.VerificationFlag = "UNVERIFIED"
    document.PreliminaryFlag = "FINAL"
    document.PerformedProcedureCodeSequence = DicomSequence()
    document.ReferencedPerformedProcedureStepSequence = DicomSequence()
    author = Dataset()
    author.ObserverType = "DEV"
    author.DeviceUID = equipment.device_uid
    author.Manufacturer = equipment.manufacturer
    author.ManufacturerModelName = equipment.model_name
    author.StationName = equipment.station_name
    author.InstitutionName = ""
    author.InstitutionCodeSequence = DicomSequence()
    document.AuthorObserverSequence = DicomSequence([author])


def _requests(header: Dataset, study_instance_uid: str) -> Iterator[Dataset]:
    for request in value_of(header, "RequestAttributesSequence") or ():
        item = Dataset()
        item.StudyInstanceUID = value_of(request, "StudyInstanceUID") or study_instance_uid
        item.ReferencedStudySequence = DicomSequence()
        copy_attributes(request, item, _REQUESTED, required=_REQUESTED)
        if not item.AccessionNumber:
            copy_attributes(header, item, ("AccessionNumber",))
        yield item


def _references(documents: Iterable[DocumentReference]) -> DicomSequence:
    """Hierarchical SOP Instance References (PS3.3 table C.17-3): by study, then series."""
    ordered = sorted(
        documents,
        key=lambda one: (
            one.study_instance_uid,
            one.series_instance_uid,
            one.sop_instance_uid,
        ),
    )
    studies = []
    for study_uid, of_study in groupby(ordered, key=lambda one: one.study_instance_uid):
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = DicomSequence()
        for series_uid, of_series in groupby(of_study, key=lambda one: one.series_instance_uid):
            series = Dataset()
            series.SeriesInstanceUID = series_uid
            series.ReferencedSOPSequence = DicomSequence(_reference(one) for one in of_series)
            study.ReferencedSeriesSequence.append(series)
        studies.append(study)
    return DicomSequence(studies)


def _reference(document: DocumentReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = document.sop_class_uid
    item.ReferencedSOPInstanceUID = document.sop_instance_uid
    return item
