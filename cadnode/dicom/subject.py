"""Whose file it is, for the audit trail and for nothing else."""

from __future__ import annotations

from pathlib import Path

from pydicom.sequence import Sequence

from cadnode.core.audit import Subject
from cadnode.dicom.files import PARSE_ERRORS, ReadLimits, opened, quiet


def subject_of(path: Path) -> Subject:
    """Study Instance UID and Patient ID of a kept file; empty where it has none.

    Raises ImageFailed when it is no DICOM file or gone, ImageUnreachable when the system refuses.
    """
    with opened(path, ReadLimits()) as found, quiet():
        texts = []
        for keyword in ("StudyInstanceUID", "PatientID"):
            try:
                value = found.dataset.get(keyword)
            except PARSE_ERRORS:
                value = None
            texts.append("" if value is None or isinstance(value, Sequence) else str(value).strip())
    return Subject(*texts)
