"""What the search and its actions ask of the node, in plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from cadnode.core.jobs import ExamStatus, Priority
from cadnode.core.search import Count, Cursor, ExamSearch, FoundExam, Guess, SearchPage


class Exams(Protocol):
    """The exams of the node. Every call may raise DatabaseUnavailable.

    What changes an exam raises NotFound and IllegalMove, and leaves an event with the name `by`.
    """

    @property
    def keeps_identifiers(self) -> bool:
        """False when exams cannot be looked for by patient, accession number or Study Date."""
        ...

    def find(self, search: ExamSearch, *, limit: int, cursor: Cursor | None = None) -> SearchPage:
        """At most `limit` exams that fit, in order, from `cursor` on."""
        ...

    def count(self, search: ExamSearch) -> Count:
        """How many exams fit, as far as that is quickly said."""
        ...

    def first_that_finds(self, guesses: Sequence[Guess]) -> Guess | None:
        """The first of `guesses` that finds an exam."""
        ...

    def stream(self, search: ExamSearch) -> Iterator[FoundExam]:
        """Every exam that fits, in order, however many."""
        ...

    def senders(self) -> Sequence[str]:
        """Every AE title that an exam came from."""
        ...

    def destinations(self) -> Sequence[str]:
        """The names of the enabled destinations."""
        ...

    def others_of_accession(self, exam_id: int) -> Sequence[FoundExam]:
        """Exams of other studies under the accession number of this one, the newest first."""
        ...

    def failed_with(self, code: str) -> Iterator[int]:
        """The numbers of the exams that failed with this code, however many, as they are read."""
        ...

    def retry(self, exam_id: int, *, by: str) -> ExamStatus:
        """Start an exam again at the step that failed; returns its new status."""
        ...

    def cancel(self, exam_id: int, *, why: str, by: str) -> ExamStatus:
        """Give an exam up, or the proofs it waits for; returns its new status."""
        ...

    def reanalyze(self, exam_id: int, *, by: str) -> int:
        """Have every image of its study read again; returns the number of the new exam."""
        ...

    def resend(self, exam_id: int, destination: str | None, *, by: str) -> int:
        """Send its stored result objects again, to one destination or to all that are enabled;
        returns how many objects. Raises ConfigError for a destination that is not enabled."""
        ...

    def set_priority(self, exam_id: int, to: Priority, *, by: str) -> None:
        """Put it before others, or among them again."""
        ...
