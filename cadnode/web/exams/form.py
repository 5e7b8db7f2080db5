"""The search form: what was typed, what it means, and the part of it that an address may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict

from cadnode.core.jobs import ExamStatus
from cadnode.core.search import ExamSearch, Guess, Order, received_on

LONGEST = 200
"""Characters of one field that are looked at."""

Fields = ImmutableMultiDict[str, Any]
"""Of an address, or of the body of a form."""

T = TypeVar("T")

_PRIVATE = ("q", "accession", "patient", "beginning")


@dataclass(frozen=True)
class Asked:
    """The fields of the form as they were sent."""

    q: str = field(default="", repr=False)
    uid: str = ""
    exam: str = ""
    accession: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    beginning: str = ""
    received_from: str = ""
    received_to: str = ""
    studied_from: str = ""
    studied_to: str = ""
    sender: str = ""
    code: str = ""
    order: str = ""
    status: tuple[str, ...] = ()

    @property
    def is_private(self) -> bool:
        """True when an address must not hold it."""
        return any(getattr(self, name) for name in _PRIVATE)

    @property
    def narrows(self) -> bool:
        """True when more than the one box is filled in."""
        return any(name not in ("q", "order") for name, _ in self.pairs())

    @property
    def filled(self) -> Sequence[str]:
        """The fields besides the one box that are filled in, with what names nobody."""
        shown = {"received_from": "received from", "received_to": "received until"}
        shown |= {"studied_from": "Study Date from", "studied_to": "Study Date until"}
        words = [f"{shown.get(name, name)} {value}" for name, value in self._public()]
        private = {"accession": "accession number", "patient": "Patient ID"}
        return [*(text for name, text in private.items() if getattr(self, name)), *words]

    def _public(self) -> Sequence[tuple[str, str]]:
        return [pair for pair in self.pairs() if pair[0] not in _PRIVATE]

    def without_private(self) -> Asked:
        """What an address may hold."""
        return replace(self, q="", accession="", patient="", beginning="")

    def pairs(self) -> Sequence[tuple[str, str]]:
        """What is filled in, as fields of a form."""
        single = [
            (one.name, getattr(self, one.name))
            for one in fields(self)
            if one.name != "status" and getattr(self, one.name)
        ]
        return [*single, *(("status", status) for status in self.status)]

    def address(self, **more: str) -> str:
        """Where a browser finds the same again, without what names a patient."""
        pairs = [*self._public()]
        pairs += [(name, value) for name, value in more.items() if value]
        return "/exams" + (f"?{urlencode(pairs)}" if pairs else "")


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that cannot be understood."""

    name: str
    text: str


def text_of(sent: Fields, name: str, longest: int = LONGEST) -> str:
    """One field as it was typed, without what no database need take (PostgreSQL has no NUL)."""
    value = sent.get(name, "")
    return value.replace("\0", "").strip()[:longest] if isinstance(value, str) else ""


def asked_of(sent: Fields) -> Asked:
    """The form out of what was sent; fields nobody knows are left out."""
    single = {one.name: text_of(sent, one.name) for one in fields(Asked) if one.name != "status"}
    if single["order"] == Order.NEWEST:
        # What everybody sees who asks for no order.
        single["order"] = ""
    statuses = [value for value in sent.getlist("status") if isinstance(value, str) and value]
    return Asked(**single, status=tuple(dict.fromkeys(statuses)))


def search_of(asked: Asked) -> tuple[ExamSearch, Sequence[Problem]]:
    """The search, and the fields that are left out of it because they cannot be understood."""
    read = _Reading(asked)
    number = read.field("exam", _number, "an exam number is a whole number")
    first = read.field("received_from", date.fromisoformat, "a date is written as 2026-01-31")
    last = read.field("received_to", date.fromisoformat, "a date is written as 2026-01-31")
    start, end = received_on(first, last)
    studied = [
        read.field(name, date.fromisoformat, "a date is written as 2026-01-31")
        for name in ("studied_from", "studied_to")
    ]
    order = read.field("order", Order, "no such order") or Order.NEWEST
    statuses = {
        read.value(status, "status", ExamStatus, "no such status") for status in asked.status
    }
    search = ExamSearch(
        uid=asked.uid or None,
        exam_id=number,
        accession_number=asked.accession or None,
        patient_id=asked.patient or None,
        received_from=start,
        received_before=end,
        studied_from=studied[0],
        studied_to=studied[1],
        statuses=frozenset(status for status in statuses if status is not None),
        calling_ae=asked.sender or None,
        error_code=asked.code or None,
        order=order,
    )
    if asked.patient and asked.beginning:
        try:
            search = replace(search, by_beginning=True)
        except ValueError as error:
            read.problems.append(Problem("patient", str(error)))
    return search, read.problems


def understood_as(asked: Asked, guess: Guess) -> Asked:
    """The form with what was typed into the one box where it belongs."""
    search = guess.search
    start, before = search.received_from, search.received_before
    return replace(
        asked,
        q="",
        uid=search.uid or asked.uid,
        exam=str(search.exam_id or asked.exam),
        accession=search.accession_number or asked.accession,
        patient=search.patient_id or asked.patient,
        beginning="yes" if search.by_beginning else asked.beginning,
        sender=search.calling_ae or asked.sender,
        received_from=start.astimezone().date().isoformat() if start else asked.received_from,
        received_to=(before - timedelta(microseconds=1)).astimezone().date().isoformat()
        if before
        else asked.received_to,
        status=tuple(search.statuses) or asked.status,
    )


class _Reading:
    """Reads fields, and remembers which could not be."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.problems: list[Problem] = []

    def field(self, name: str, read: Callable[[str], T], says: str) -> T | None:
        return self.value(getattr(self._asked, name), name, read, says)

    def value(self, text: str, name: str, read: Callable[[str], T], says: str) -> T | None:
        if not text:
            return None
        try:
            return read(text)
        except ValueError:
            self.problems.append(Problem(name, says))
            return None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError
    return int(text)
