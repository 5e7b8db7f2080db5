"""What an archive answers to C-FIND (`dimse.find`): statuses and identifiers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from cadnode.core.errors import CadnodeError
from cadnode.dimse.find import StudyQuery, _find, _find_studies

LONGEST = 1024


class _Archive:
    """Stands in for an open line: every query gets the same answers."""

    def __init__(self, answers: list[Dataset]) -> None:
        self._answers = answers
        self.association = self

    def send_c_find(self, _query: Dataset, _model: str) -> Iterator[tuple[Dataset, Dataset | None]]:
        for answer in self._answers:
            yield _status(0xFF00), answer
        yield _status(0x0000), None

    def open(self, _contexts: object, **_options: object) -> None:
        pass

    def close(self) -> None:
        pass


def _status(code: int) -> Dataset:
    status = Dataset()
    status.Status = code
    return status


def seeds() -> list[bytes]:
    """A byte that chooses implicit or explicit little endian, then a data set for each level."""
    study, series, image = Dataset(), Dataset(), Dataset()
    study.QueryRetrieveLevel, study.StudyInstanceUID = "STUDY", "1.2.3"
    study.StudyDate, study.ModalitiesInStudy = "20240102", ["MG", "SR"]
    study.SpecificCharacterSet, study.AccessionNumber = ["", "ISO 2022 IR 87"], "A1"
    series.QueryRetrieveLevel, series.SeriesInstanceUID, series.Modality = "SERIES", "1.2.4", "MG"
    image.QueryRetrieveLevel, image.SeriesInstanceUID = "IMAGE", "1.2.4"
    image.SOPInstanceUID, image.SOPClassUID = "1.2.5", "1.2.840.10008.5.1.4.1.1.1.2"
    return [
        bytes([implicit]) + (encode(each, bool(implicit), True) or b"")
        for implicit in (0, 1)
        for each in (study, series, image)
    ]


def one_input(data: bytes) -> None:
    # pynetdicom decodes an identifier before it hands it out, and says None where it cannot.
    try:
        answer = decode(BytesIO(data[1:]), bool(data[:1] > b"\0"), True)
    except Exception:  # noqa: BLE001  as pynetdicom does
        return
    line: Any = _Archive([answer])
    query = StudyQuery(first_date=date(2024, 1, 1), modality="MG")
    with contextlib.suppress(CadnodeError):
        _find_studies(line, query, 10)
    with contextlib.suppress(CadnodeError):
        _find(line, "1.2.3", "MG")
