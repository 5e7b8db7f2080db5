"""How a person asks for exams, and what the answer looks like: pages of exams in order of time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum

from cadnode.core.dates import date_range
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus
from cadnode.core.records import ExamSummary

WAITING = frozenset(
    {ExamStatus.RECEIVING, ExamStatus.ANALYZED, ExamStatus.REPORTED, ExamStatus.FAILED}
)
"""Something has still to happen to these, and the search for who waits longest looks at them."""

SHORTEST_PREFIX = 3
"""Characters; a shorter beginning of a Patient ID names nobody."""

MOST_COUNTED = 10_000
"""More exams than this are "at least 10,000"."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_MOMENT = "%Y%m%dT%H%M%S%f"
_CURSOR = re.compile(r"([bf])([0-9]{8}T[0-9]{12})-([0-9]{1,18})", re.ASCII)
_NUMBER = re.compile(r"#?([0-9]{1,9})")


class Order(StrEnum):
    """Which exams come first."""

    NEWEST = "newest"
    WAITING_LONGEST = "waiting"
    """Those that wait (`WAITING`, or of the statuses asked for), the oldest first."""


@dataclass(frozen=True, slots=True)
class ExamSearch:
    """What to look for; all that is given must fit."""

    uid: str | None = None
    """Of a study, a series, an image or a result object."""
    exam_id: int | None = None
    accession_number: str | None = field(default=None, repr=False)
    patient_id: str | None = field(default=None, repr=False)
    by_beginning: bool = False
    """`patient_id` is only how it begins."""
    received_from: datetime | None = None
    """Of the first image of the exam; timezone-aware."""
    received_before: datetime | None = None
    studied_from: date | None = None
    """First Study Date."""
    studied_to: date | None = None
    """Last Study Date."""
    statuses: frozenset[ExamStatus] = frozenset()
    """Any of these; empty: whatever the status."""
    calling_ae: str | None = None
    error_code: str | None = None
    """Of exams that wait, unless statuses are given."""
    order: Order = Order.NEWEST

    def __post_init__(self) -> None:
        """Raises ValueError for a beginning that is too short to look for."""
        if self.by_beginning and len(self.patient_id or "") < SHORTEST_PREFIX:
            raise ValueError(f"at least {SHORTEST_PREFIX} characters of a Patient ID")

    def names_a_patient(self) -> bool:
        """True when the question itself must not stand in a log or an address."""
        return bool(self.patient_id or self.accession_number)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two exams in the order of a search."""

    at: datetime
    exam_id: int
    backwards: bool = False
    """The page that ends here, in place of the one that begins here."""

    def __str__(self) -> str:
        """As it stands in an address; nothing in it names anybody."""
        at = self.at.astimezone(UTC).strftime(_MOMENT)
        return f"{'b' if self.backwards else 'f'}{at}-{self.exam_id}"

    @staticmethod
    def of(text: str) -> Cursor:
        """The cursor that was written as `text`. Raises ValueError."""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("not a place in a list of exams")
        moment = datetime.strptime(found[2], _MOMENT).replace(tzinfo=UTC)
        return Cursor(moment, int(found[3]), backwards=found[1] == "b")


@dataclass(frozen=True, slots=True)
class FoundExam:
    """One line of a list of exams."""

    exam: ExamSummary
    calling_ae: str
    priority: int
    identifiers: ExamIdentifiers


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of what was found."""

    exams: tuple[FoundExam, ...]
    later: Cursor | None = None
    """Where the next page begins; None on the last one."""
    earlier: Cursor | None = None
    """Where the page before this one ends; None on the first one."""
    looked_until: datetime | None = None
    """Set when the search stopped before its page was full, to answer in time: exams beyond this
    moment were not looked at, and `later` goes on there."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many exams fit."""

    number: int
    exact: bool
    """False: there may be more."""

    def __str__(self) -> str:
        return f"{self.number:,}" if self.exact else f"at least {self.number:,}"


@dataclass(frozen=True, slots=True)
class Guess:
    """One way to understand what was typed into the one box."""

    meaning: str
    """In words, without what was typed: "Patient ID"."""
    search: ExamSearch


def guesses(text: str, *, today: date, zone: tzinfo | None = None) -> tuple[Guess, ...]:
    """What `text` may mean, the likeliest first; the first that finds something is what it means.

    `zone`: the time zone in which a day begins; None for the system's.
    """
    text = text.strip()
    if not text:
        return ()
    return tuple(_guesses(text, today, zone))


def received_on(
    first: date | None, last: date | None, zone: tzinfo | None = None
) -> tuple[datetime | None, datetime | None]:
    """From the beginning of the first day until before the end of the last, open where None.

    A day so far away that no time can be told of it is as good as none.
    """

    def midnight(day: date | None, later: timedelta = timedelta(0)) -> datetime | None:
        if day is None:
            return None
        try:
            day += later
            naive = datetime(day.year, day.month, day.day)  # noqa: DTZ001  the zone comes next
            moment = naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
            moment.astimezone(UTC)
        except (OverflowError, ValueError):
            return None
        return moment

    return midnight(first), midnight(last, timedelta(days=1))


def _guesses(text: str, today: date, zone: tzinfo | None) -> Iterable[Guess]:
    if _UID.fullmatch(text):
        yield Guess("UID", ExamSearch(uid=text))
    if text.lower() in set(ExamStatus):
        yield Guess("status", ExamSearch(statuses=frozenset({ExamStatus(text.lower())})))
    number = _NUMBER.fullmatch(text)
    if number is not None and text.startswith("#"):
        yield Guess("exam number", ExamSearch(exam_id=int(number[1])))
        return
    for written in dict.fromkeys((text, text.upper())):
        yield Guess("accession number", ExamSearch(accession_number=written))
        yield Guess("Patient ID", ExamSearch(patient_id=written))
    for written in dict.fromkeys((text, text.upper())):
        yield Guess("sender", ExamSearch(calling_ae=written))
    day = _days(text, today)
    if day is not None:
        start, end = received_on(*day, zone)
        yield Guess("day received", ExamSearch(received_from=start, received_before=end))
    for written in dict.fromkeys((text, text.upper())):
        if len(written) >= SHORTEST_PREFIX:
            search = ExamSearch(patient_id=written, by_beginning=True)
            yield Guess("beginning of a Patient ID", search)
    if number is not None:
        yield Guess("exam number", ExamSearch(exam_id=int(number[1])))


def _days(text: str, today: date) -> tuple[date | None, date | None] | None:
    dashed = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text)
    try:
        return date_range("".join(dashed.groups()) if dashed else text.lower(), today)
    except ValueError:
        return None
