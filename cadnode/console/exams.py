"""The exams over this node: the search of the job database, and what persons decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cadnode.app import App, utc_now
from cadnode.core.jobs import ExamStatus, Priority
from cadnode.core.search import Count, Cursor, ExamSearch, FoundExam, Guess, SearchPage
from cadnode.store import Store

MOST_OTHERS = 20
"""Exams of other studies that are named under one accession number."""


class NodeExams:
    """`Exams` of cadnode.web.exams.ports."""

    def __init__(self, app: App, store: Store) -> None:
        self._app = app
        self._store = store

    @property
    def keeps_identifiers(self) -> bool:
        """As the settings say."""
        return self._app.settings.node.keep_identifiers

    def find(self, search: ExamSearch, *, limit: int, cursor: Cursor | None = None) -> SearchPage:
        """See Exams.find."""
        return self._store.search.find(search, limit=limit, cursor=cursor)

    def count(self, search: ExamSearch) -> Count:
        """See Exams.count."""
        return self._store.search.count(search)

    def first_that_finds(self, guesses: Sequence[Guess]) -> Guess | None:
        """See Exams.first_that_finds."""
        return self._store.search.first_that_finds(guesses)

    def stream(self, search: ExamSearch) -> Iterator[FoundExam]:
        """See Exams.stream."""
        return self._store.search.stream(search)

    def senders(self) -> Sequence[str]:
        """See Exams.senders."""
        return self._store.search.senders()

    def destinations(self) -> Sequence[str]:
        """See Exams.destinations."""
        return [d.name for d in self._app.settings.destinations if d.enabled]

    def others_of_accession(self, exam_id: int) -> Sequence[FoundExam]:
        """See Exams.others_of_accession; at most `MOST_OTHERS`."""
        return self._store.search.others_of_accession(exam_id, limit=MOST_OTHERS)

    def failed_with(self, code: str) -> Iterator[int]:
        """See Exams.failed_with."""
        search = ExamSearch(statuses=frozenset({ExamStatus.FAILED}), error_code=code)
        return (found.exam.id for found in self._store.search.stream(search))

    def retry(self, exam_id: int, *, by: str) -> ExamStatus:
        """See Exams.retry."""
        return self._store.exams.retry(exam_id, by=by, now=utc_now())

    def cancel(self, exam_id: int, *, why: str, by: str) -> ExamStatus:
        """See Exams.cancel."""
        self._store.exams.cancel(exam_id, why=why, by=by, now=utc_now())
        return self._store.records.exam_detail(exam_id).exam.status

    def reanalyze(self, exam_id: int, *, by: str) -> int:
        """See Exams.reanalyze."""
        return self._store.exams.reanalyze(exam_id, by=by, now=utc_now())

    def resend(self, exam_id: int, destination: str | None, *, by: str) -> int:
        """See Exams.resend."""
        wanted = self._app.wanted_objects(destination)
        return self._store.exams.resend(exam_id, wanted, by=by, now=utc_now())

    def set_priority(self, exam_id: int, to: Priority, *, by: str) -> None:
        """See Exams.set_priority."""
        self._store.exams.set_priority(exam_id, to, by=by, now=utc_now())
