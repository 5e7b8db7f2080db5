"""C-FIND: what an archive holds (PS3.4 annex C, Study Root)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext, build_context

from cadnode.core.errors import CadnodeError, Refused, TooManyMatches, Unreachable
from cadnode.dimse.contexts import UNCOMPRESSED_TRANSFER_SYNTAXES
from cadnode.dimse.destination import Destination, Line, Timeouts, within
from cadnode.dimse.identifiers import UNPARSABLE
from cadnode.dimse.transport import MOST_BYTES, AskingProvider

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"

PENDING = (0xFF00, 0xFF01)

IDENTIFIER_SYNTAX = str(ImplicitVRLittleEndian)

MOST_ANSWERS = 100_000
"""Answers to one query within a study; more are no study."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def find_context() -> PresentationContext:
    """The presentation context of every query, in the uncompressed transfer syntaxes."""
    return build_context(STUDY_ROOT_FIND, list(UNCOMPRESSED_TRANSFER_SYNTAXES))


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One object that an archive says it holds; None for what it does not tell."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str | None
    sop_class_uid: str | None


@dataclass(frozen=True, slots=True)
class StudyQuery:
    """Which studies are looked for; an empty key matches every study."""

    study_instance_uid: str = ""
    accession_number: str = ""
    first_date: date | None = None
    last_date: date | None = None
    modality: str = ""

    @property
    def date_range(self) -> str:
        """The Study Dates as a DICOM range (PS3.4 C.2.2.2.5), both ends included."""
        if self.first_date is None and self.last_date is None:
            return ""
        first, last = (f"{d:%Y%m%d}" if d else "" for d in (self.first_date, self.last_date))
        return first if first == last else f"{first}-{last}"


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """One study that an archive says it holds; None and () for what it does not tell."""

    study_instance_uid: str
    study_date: str | None
    modalities: tuple[str, ...]


def find_studies(
    destination: Destination,
    own_ae_title: str,
    query: StudyQuery,
    limit: int,
    timeouts: Timeouts | None = None,
) -> list[FoundStudy]:
    """The studies that match, the newest first, each once.

    An archive may ignore a key it does not know, so what it tells is held against the query once
    more. Raises Unreachable, Refused, and TooManyMatches beyond `limit` answers.
    """
    timeouts = timeouts or Timeouts()
    line = Line(destination, own_ae_title, timeouts)
    found = within(timeouts.delivery, lambda: _find_studies(line, query, limit), line.cut)
    if found is None:
        raise Unreachable(f"{destination.name}: C-FIND was not answered in time")
    return found


def encoded(query: StudyQuery) -> bytes:
    """The keys of the query in `IDENTIFIER_SYNTAX`, for the audit trail."""
    return encode(_study_level(query), True, True) or b""


def _study_level(query: StudyQuery) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = query.study_instance_uid
    asked.AccessionNumber = query.accession_number
    asked.StudyDate = query.date_range
    asked.ModalitiesInStudy = query.modality
    return asked


def _find_studies(line: Line, query: StudyQuery, limit: int) -> list[FoundStudy]:
    _open(line)
    found: dict[str, FoundStudy] = {}
    for answer in _ask(line, _study_level(query), limit):
        study = FoundStudy(
            _uid(answer, "StudyInstanceUID"),
            _text(answer, "StudyDate") or None,
            _values(answer, "ModalitiesInStudy"),
        )
        if study.study_instance_uid and _matches(query, study):
            found[study.study_instance_uid] = study
    line.close()
    return sorted(
        found.values(), key=lambda s: (s.study_date or "", s.study_instance_uid), reverse=True
    )


def _matches(query: StudyQuery, study: FoundStudy) -> bool:
    if query.study_instance_uid not in ("", study.study_instance_uid):
        return False
    if query.modality and study.modalities and query.modality not in study.modalities:
        return False
    day = study.study_date or ""
    if not (day.isdigit() and len(day) == 8):
        return True
    first, last = (f"{d:%Y%m%d}" if d else "" for d in (query.first_date, query.last_date))
    return (not first or first <= day) and (not last or day <= last)


def find_instances(
    destination: Destination,
    own_ae_title: str,
    study_instance_uid: str,
    timeouts: Timeouts | None = None,
    *,
    modality: str = "",
) -> list[FoundInstance]:
    """Every object of the study, series by series, as the hierarchical query must ask; with
    `modality`, of the series that have it or do not tell.

    Raises Unreachable without an association or an answer, Refused when the archive does not take
    C-FIND or answers with a failure.
    """
    timeouts = timeouts or Timeouts()
    line = Line(destination, own_ae_title, timeouts)
    found = within(timeouts.delivery, lambda: _find(line, study_instance_uid, modality), line.cut)
    if found is None:
        raise Unreachable(f"{destination.name}: C-FIND was not answered in time")
    return found


def _find(line: Line, study_instance_uid: str, modality: str) -> list[FoundInstance]:
    _open(line)
    found: list[FoundInstance] = []
    for series in _ask(line, _query("SERIES", study_instance_uid, ("Modality",)), MOST_ANSWERS):
        uid, its_modality = _uid(series, "SeriesInstanceUID"), _text(series, "Modality")
        if not uid or (modality and its_modality not in ("", modality)):
            continue
        query = _query("IMAGE", study_instance_uid, ("SOPInstanceUID", "SOPClassUID"))
        query.SeriesInstanceUID = uid
        found.extend(
            FoundInstance(
                sop_instance_uid=_uid(image, "SOPInstanceUID"),
                series_instance_uid=uid,
                modality=its_modality or None,
                sop_class_uid=_uid(image, "SOPClassUID") or None,
            )
            for image in _ask(line, query, MOST_ANSWERS)
            if _uid(image, "SOPInstanceUID")
        )
    line.close()
    return found


def _open(line: Line) -> None:
    trouble = line.open([find_context()])
    if trouble is not None:
        raise Unreachable(f"{trouble.cause}: {trouble.detail}")


def _query(level: str, study_instance_uid: str, wanted: tuple[str, ...]) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = ""
    for keyword in wanted:
        setattr(query, keyword, "")
    return query


def _ask(line: Line, query: Dataset, limit: int) -> list[Dataset]:
    answers: list[Dataset] = []
    try:
        for status, identifier in line.association.send_c_find(query, STUDY_ROOT_FIND):
            code = status.get("Status")
            if code is None:
                raise _silence(line)
            if code in PENDING and identifier is not None:
                if len(answers) == limit:
                    _break_off(line)
                    raise TooManyMatches(f"more than {limit} answers to C-FIND; nothing was taken")
                answers.append(identifier)
            elif code not in (0x0000, *PENDING):
                raise Refused(f"C-FIND answered 0x{int(code):04X}")
    except RuntimeError as error:
        raise _silence(line) from error
    return answers


def _silence(line: Line) -> CadnodeError:
    if cast("AskingProvider", line.association.dimse).overrun:
        return TooManyMatches(f"more than {MOST_BYTES >> 20} MB of answers to C-FIND")
    return Unreachable(f"C-FIND: {line.after_silence().detail}")


def _break_off(line: Line) -> None:
    line.association.send_c_cancel(1, query_model=STUDY_ROOT_FIND)
    line.association.abort()


def _text(answer: Dataset, keyword: str) -> str:
    return str(_value(answer, keyword) or "").strip("\x00 ")


def _value(answer: Dataset, keyword: str) -> Any:
    """The value; None where it is absent or cannot be parsed, which is when it is first asked for."""
    try:
        value = answer.get(keyword)
    except UNPARSABLE:
        return None
    return None if isinstance(value, Sequence) else value


def _values(answer: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(answer, keyword)
    values = value if isinstance(value, MultiValue | list) else [value]
    return tuple(str(one).strip("\x00 ") for one in values if one)


def _uid(answer: Dataset, keyword: str) -> str:
    """The UID, or "" for what is none: it goes into further queries and into messages."""
    text = _text(answer, keyword)
    return text if len(text) <= 64 and _UID.fullmatch(text) else ""
