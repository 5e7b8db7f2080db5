"""What happened to an exam: its stages with the time between them, and every event in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadnode.core.jobs import ExamStatus
from cadnode.core.records import EventRecord, ExamDetail

_PROCESS = re.compile(r"(?P<host>.+):(?P<process>\d+):[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage that the exam has reached."""

    name: str
    at: datetime
    took: timedelta | None
    """Since the stage before it."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event."""

    at: datetime
    after: timedelta | None
    """Since the event before it."""
    sentence: str
    code: str | None
    who: str


def stages(detail: ExamDetail) -> tuple[Stage, ...]:
    """From the first image on; what the exam has gone through several times counts at last."""
    last = {event.kind: event.at for event in detail.events}
    reached = [
        ("First image", detail.exam.created_at),
        ("Last image", detail.exam.last_image_at),
        ("All images looked at", detail.analyzed_at),
        *(
            (name, last.get(kind))
            for name, kind in (
                ("Results written", ExamStatus.REPORTED),
                ("Delivered", ExamStatus.DELIVERED),
                ("Committed", ExamStatus.COMMITTED),
                ("Files deleted", ExamStatus.PURGED),
            )
        ),
    ]
    found: list[Stage] = []
    for name, at in reached:
        if at is not None:
            before = found[-1].at if found else None
            # A second reading begins before the last image of the first one.
            took = None if before is None or at < before else at - before
            found.append(Stage(name, at, took))
    return tuple(found)


def happenings(events: Sequence[EventRecord], names: Mapping[str, str]) -> tuple[Happening, ...]:
    """The events as sentences; `names` are what to call images and results instead of their UID."""
    found: list[Happening] = []
    for event in events:
        after = event.at - found[-1].at if found else None
        sentence = _sentence(_named(event.text, names))
        found.append(Happening(event.at, after, sentence, event.code, who(event.actor)))
    return tuple(found)


def _named(text: str, names: Mapping[str, str]) -> str:
    # The longer first: one UID may be the beginning of another.
    for uid in sorted(names, key=len, reverse=True):
        text = text.replace(uid, names[uid])
    return text


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def who(actor: str) -> str:
    """Who did it, as a person says it."""
    process = _PROCESS.fullmatch(actor)
    return f"process {process['process']} on {process['host']}" if process else actor
