"""What a person looks for an exam by: the only patient data that leave the files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, repr=False)
class ExamIdentifiers:
    """As an image of the exam has them; None for what it lacks or what cannot be read.

    They have no text form, so that no log line or error shows them by accident.
    """

    patient_id: str | None = None
    accession_number: str | None = None
    study_date: date | None = None

    def __bool__(self) -> bool:
        """False when there is nothing to look for."""
        return any((self.patient_id, self.accession_number, self.study_date))


NO_IDENTIFIERS = ExamIdentifiers()
