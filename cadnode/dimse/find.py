"""C-FIND: what an archive holds of a study (PS3.4 annex C, Study Root)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from cadnode.core.errors import Refused, Unreachable
from cadnode.dimse.contexts import UNCOMPRESSED_TRANSFER_SYNTAXES
from cadnode.dimse.destination import Destination, Line, Timeouts, within

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"

PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One object that an archive says it holds; None for what it does not tell."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str | None
    sop_class_uid: str | None


def find_instances(
    destination: Destination,
    own_ae_title: str,
    study_instance_uid: str,
    timeouts: Timeouts | None = None,
) -> list[FoundInstance]:
    """Every object of the study, series by series, as the hierarchical query must ask.

    Raises Unreachable without an association or an answer, Refused when the archive does not take
    C-FIND or answers with a failure.
    """
    timeouts = timeouts or Timeouts()
    line = Line(destination, own_ae_title, timeouts)
    found = within(timeouts.delivery, lambda: _find(line, study_instance_uid), line.cut)
    if found is None:
        raise Unreachable(f"{destination.name}: C-FIND was not answered in time")
    return found


def _find(line: Line, study_instance_uid: str) -> list[FoundInstance]:
    trouble = line.open([build_context(STUDY_ROOT_FIND, list(UNCOMPRESSED_TRANSFER_SYNTAXES))])
    if trouble is not None:
        raise Unreachable(f"{trouble.cause}: {trouble.detail}")
    found: list[FoundInstance] = []
    for series in _ask(line, _query("SERIES", study_instance_uid, ("Modality",))):
        uid = str(series.get("SeriesInstanceUID", ""))
        query = _query("IMAGE", study_instance_uid, ("SOPInstanceUID", "SOPClassUID"))
        query.SeriesInstanceUID = uid
        found.extend(
            FoundInstance(
                sop_instance_uid=str(image.SOPInstanceUID),
                series_instance_uid=uid,
                modality=str(series.get("Modality") or "") or None,
                sop_class_uid=str(image.get("SOPClassUID") or "") or None,
            )
            for image in _ask(line, query)
            if image.get("SOPInstanceUID")
        )
    line.close()
    return found


def _query(level: str, study_instance_uid: str, wanted: tuple[str, ...]) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = ""
    for keyword in wanted:
        setattr(query, keyword, "")
    return query


def _ask(line: Line, query: Dataset) -> list[Dataset]:
    answers = []
    try:
        for status, identifier in line.association.send_c_find(query, STUDY_ROOT_FIND):
            code = status.get("Status")
            if code is None:
                raise Unreachable(f"C-FIND: {line.after_silence().detail}")
            if code in PENDING and identifier is not None:
                answers.append(identifier)
            elif code not in (0x0000, *PENDING):
                raise Refused(f"C-FIND answered 0x{int(code):04X}")
    except RuntimeError as error:
        raise Unreachable(f"C-FIND: {line.after_silence().detail}") from error
    return answers
