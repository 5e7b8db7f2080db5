"""A list of exams as a file for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

from cadnode.core.search import FoundExam

COLUMNS = (
    "exam",
    "status",
    "urgent",
    "received (UTC)",
    "last image (UTC)",
    "Patient ID",
    "accession number",
    "Study Date",
    "sender",
    "revision",
    "images",
    "images analyzed",
    "findings",
    "deliveries pending",
    "deliveries failed",
    "code",
    "waits for",
    "Study Instance UID",
)

# Some spreadsheets split at semicolons and tabs whatever stands between the cells.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r])")


def csv_lines(found: Iterable[FoundExam]) -> Iterator[str]:
    """One line for the columns and one for each exam (RFC 4180), as they come."""
    yield _line(COLUMNS)
    for one in found:
        exam, known = one.exam, one.identifiers
        yield _line(
            (
                exam.id,
                exam.status.value,
                "yes" if one.priority > 0 else "",
                exam.created_at.strftime("%Y-%m-%d %H:%M:%S"),
                exam.last_image_at.strftime("%Y-%m-%d %H:%M:%S"),
                known.patient_id or "",
                known.accession_number or "",
                known.study_date or "",
                one.calling_ae,
                exam.revision,
                exam.images,
                exam.images_analyzed,
                exam.findings,
                exam.deliveries_pending,
                exam.deliveries_failed,
                exam.error_code or "",
                exam.waits_for,
                exam.study_instance_uid,
            )
        )


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_plain(cell) for cell in cells])
    return text.getvalue()


def _plain(cell: object) -> object:
    # What a modality sent must not run as a formula in somebody's spreadsheet.
    return _FORMULA.sub(r"\1'", cell) if isinstance(cell, str) else cell
