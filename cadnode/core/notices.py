"""What persons are told by mail and webhook, and when: plain values and pure rules.

| kind             | begins                                                | ends                     |
| ---------------- | ----------------------------------------------------- | ------------------------ |
| exam-failed      | exams fail (one notice for each code, not each exam)  | with its message         |
| destination-down | a destination has not answered for so many minutes    | it has answered          |
| disk             | the disk of data_dir is so full                       | it is 2 % emptier        |
| certificate      | a certificate ends within so many days                | it was renewed           |
| drift            | the model's scores have moved against their reference | they are back            |
| process          | a process of the node is not seen                     | it is seen               |

A condition that begins is told once, and once when it is over. What cannot be judged at the
moment (the clock of a probe, a page that cannot be read) leaves things as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from cadnode.core.breaker import LineState, LineStatus
from cadnode.core.errors import meaning_of
from cadnode.core.processes import SEEN_WITHIN, ProcessRecord, seen
from cadnode.core.retry import RetryRules

DISK_BACK = 0.02
"""So much emptier, as a share of the disk, ends a notice about it."""

NAMED_EXAMS = 20
"""Exams of one notice that are named by their number; the rest is counted."""

MESSAGES_AT_ONCE = 500

MESSAGE_LEASE = timedelta(minutes=3)
"""How long a process may take to hand one message over."""

RETRIES = RetryRules(
    first_delay=timedelta(seconds=10),
    longest_delay=timedelta(minutes=30),
    give_up_after=timedelta(hours=24),
)
"""How a message is tried again; greylisting servers want a quarter of an hour."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    EXAM_FAILED = "exam-failed"
    DESTINATION_DOWN = "destination-down"
    DISK = "disk"
    CERTIFICATE = "certificate"
    DRIFT = "drift"
    PROCESS = "process"


class About(StrEnum):
    """Which half of a notice a message tells."""

    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be at this moment."""

    kind: NoticeKind
    subject: str
    """Which one: a destination, a certificate, a process."""
    since: datetime
    text: str
    """One plain sentence without patient data."""

    @property
    def key(self) -> str:
        """Two conditions with one key are one."""
        return key_of(self.kind, self.subject)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell, as the job database keeps it."""

    id: int
    kind: NoticeKind
    subject: str
    text: str
    since: datetime
    until: datetime | None
    """When it was over; None while it lasts, and for failed exams."""
    about: About
    count: int = 1
    exams: tuple[int, ...] = ()
    """Numbers of failed exams, `NAMED_EXAMS` at most."""

    @property
    def state(self) -> str:
        """`open`, `closed`, or `happened`: for programs."""
        if self.kind is NoticeKind.EXAM_FAILED:
            return "happened"
        return "closed" if self.about is About.END else "open"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message that is due on one channel, as claimed by a sender."""

    id: int
    notice: Notice
    tries: int
    """Claims so far, this one included."""
    due_since: datetime
    """When it first became due."""


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out: one or more notices in one message."""

    id: str
    """The same message tried again has the same."""
    station: str
    subject: str
    text: str
    notices: tuple[Notice, ...]
    sent_at: datetime
    link: str = ""
    """The console, where the settings say where it is."""


class Channel(Protocol):
    """A way to persons."""

    @property
    def name(self) -> str:
        """`mail` or `webhook`."""
        ...

    def send(self, message: Message) -> str:
        """Hand the message over, and say in a few words what happened. Raises NoticeNotSent."""
        ...


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """What the site wants to be told of."""

    kinds: frozenset[NoticeKind] = frozenset(NoticeKind)
    destination_down: timedelta = timedelta(minutes=15)
    disk_share: float = 0.9
    certificate: timedelta = timedelta(days=30)
    collect: timedelta = timedelta(minutes=1)
    """Wait for more of the same before the first message."""
    quiet: timedelta = timedelta(minutes=30)
    """Between two messages about the same thing."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found at one look."""

    kinds: frozenset[NoticeKind]
    """What was looked at: nothing follows for anything else."""
    conditions: tuple[Condition, ...] = ()
    undecided: frozenset[str] = field(default_factory=frozenset)
    """Keys of what can be called neither begun nor over."""


def key_of(kind: NoticeKind, subject: str) -> str:
    """How a condition is told from others."""
    return f"{kind}:{subject}"


def failed_text(code: str) -> str:
    """What a failure with this code means, and what follows."""
    return f"{meaning_of(code)} They wait for a person; docs/operations.md says what to do."


def lines_down(lines: Mapping[str, LineStatus], rules: NoticeRules, now: datetime) -> Surveyed:
    """The destinations that have not answered for long, from the lines to them by name."""
    found, undecided = [], set()
    for name, line in lines.items():
        if line.state is LineState.OPEN and line.since is not None:
            if now - line.since >= rules.destination_down:
                why = f" ({line.error})" if line.error else ""
                text = f"{name} does not answer{why}. Results wait and go out when it is back."
                found.append(Condition(NoticeKind.DESTINATION_DOWN, name, line.since, text))
        elif line.failures:
            # A line on trial: it answered a probe and has taken nothing yet.
            undecided.add(key_of(NoticeKind.DESTINATION_DOWN, name))
    looked_at = frozenset({NoticeKind.DESTINATION_DOWN})
    return Surveyed(looked_at, tuple(found), frozenset(undecided))


def disk_low(free: int, size: int, rules: NoticeRules, now: datetime) -> Surveyed:
    """The disk of the data folder."""
    used = 1 - free / size
    looked_at = frozenset({NoticeKind.DISK})
    if used >= rules.disk_share:
        text = (
            f"The disk of data_dir is {used:.0%} full, {free >> 20} MB are free."
            " When it is full, senders get 0xA700 and try again."
        )
        return Surveyed(looked_at, (Condition(NoticeKind.DISK, "data_dir", now, text),))
    if used >= rules.disk_share - DISK_BACK:
        undecided = frozenset({key_of(NoticeKind.DISK, "data_dir")})
        return Surveyed(looked_at, undecided=undecided)
    return Surveyed(looked_at)


def certificates_ending(
    ends: Mapping[str, datetime | None], rules: NoticeRules, now: datetime
) -> Surveyed:
    """Certificates by name, with their end; None where it could not be seen."""
    found, undecided = [], set()
    for name, end in ends.items():
        if end is None:
            undecided.add(key_of(NoticeKind.CERTIFICATE, name))
        elif end - now < rules.certificate:
            days = max(0, (end - now).days)
            when = f"ends on {end:%Y-%m-%d}, in {days} days" if end > now else "has expired"
            text = f"The certificate of {name} {when}. Renew it; nothing has to be restarted."
            found.append(Condition(NoticeKind.CERTIFICATE, name, now, text))
    return Surveyed(frozenset({NoticeKind.CERTIFICATE}), tuple(found), frozenset(undecided))


def processes_missing(
    records: Sequence[ProcessRecord],
    expected: Iterable[str],
    started: datetime,
    now: datetime,
    *,
    before: Mapping[str, datetime] = MappingProxyType({}),
) -> Surveyed:
    """Processes that should run and are not seen; nobody is missed in the first moments.

    `before` says when a process was seen earlier: one that was stopped leaves no record, and is
    missed when it does not come back.
    """
    found, undecided = [], set()
    for name in expected:
        if seen(records, name, now):
            continue
        beats = [record.beat_at for record in records if record.name == name]
        # One from the future is of before the clock was set back.
        known = [at for at in (started, before.get(name, started), *beats) if at <= now]
        last = max(known, default=now)
        if now - last <= SEEN_WITHIN:
            undecided.add(key_of(NoticeKind.PROCESS, name))
            continue
        text = f"`cadnode {name}` is not seen since {last:%Y-%m-%d %H:%M} UTC. Read its log."
        found.append(Condition(NoticeKind.PROCESS, name, last, text))
    return Surveyed(frozenset({NoticeKind.PROCESS}), tuple(found), frozenset(undecided))


def together(looks: Iterable[Surveyed]) -> Surveyed:
    """Several looks as one."""
    all_of = list(looks)
    return Surveyed(
        frozenset(kind for look in all_of for kind in look.kinds),
        tuple(condition for look in all_of for condition in look.conditions),
        frozenset(key for look in all_of for key in look.undecided),
    )


# ---- what a person reads -------------------------------------------------------------------

_TITLES = {
    NoticeKind.EXAM_FAILED: "exams failed",
    NoticeKind.DESTINATION_DOWN: "does not answer",
    NoticeKind.DISK: "disk nearly full",
    NoticeKind.CERTIFICATE: "certificate ends soon",
    NoticeKind.DRIFT: "model scores have moved",
    NoticeKind.PROCESS: "is not seen",
}
_OVER = {
    NoticeKind.EXAM_FAILED: "exams failed",
    NoticeKind.DESTINATION_DOWN: "answers again",
    NoticeKind.DISK: "disk has room again",
    NoticeKind.CERTIFICATE: "certificate renewed",
    NoticeKind.DRIFT: "model scores are back",
    NoticeKind.PROCESS: "is seen again",
}


def headline(notice: Notice) -> str:
    """A few words that a telephone shows whole."""
    words = (_OVER if notice.about is About.END else _TITLES)[notice.kind]
    match notice.kind:
        case NoticeKind.EXAM_FAILED:
            exams = "1 exam" if notice.count == 1 else f"{notice.count} exams"
            return f"{exams} failed ({notice.subject})"
        case NoticeKind.DESTINATION_DOWN | NoticeKind.PROCESS:
            return f"{notice.subject} {words}"
        case NoticeKind.CERTIFICATE:
            return f"{notice.subject}: {words}"
        case _:
            return words


def compose(
    notices: Sequence[Notice], *, message_id: str, station: str, link: str, now: datetime
) -> Message:
    """One message about one or more notices, the most urgent first."""
    ordered = sorted(notices, key=lambda n: (n.about is About.END, n.id))
    first = headline(ordered[0])
    more = f" (+{len(ordered) - 1} more)" if len(ordered) > 1 else ""
    body = "\n\n".join(_paragraph(notice, link) for notice in ordered)
    where = f"\n\n{link}" if link else ""
    return Message(
        id=message_id,
        station=station,
        subject=f"{station}: {first}{more}",
        text=f"{body}{where}\n\n-- \ncadnode at {station}, {_when(now)}\n",
        notices=tuple(ordered),
        sent_at=now,
        link=link,
    )


def trial(*, message_id: str, station: str, link: str, now: datetime) -> Message:
    """The message of `cadnode notify test`."""
    text = "This is a test: messages of this node reach you. Nothing is wrong."
    where = f"\n\n{link}" if link else ""
    return Message(
        id=message_id,
        station=station,
        subject=f"{station}: test message",
        text=f"{text}{where}\n\n-- \ncadnode at {station}, {_when(now)}\n",
        notices=(),
        sent_at=now,
        link=link,
    )


def as_json(message: Message) -> dict[str, Any]:
    """The body of a webhook; `docs/operations.md` describes it."""
    return {
        "version": 1,
        "id": message.id,
        "station": message.station,
        "sent_at": message.sent_at.isoformat(),
        "subject": message.subject,
        "text": message.text,
        "url": message.link or None,
        "notices": [
            {
                "id": notice.id,
                "kind": str(notice.kind),
                "subject": notice.subject,
                "state": notice.state,
                "since": notice.since.isoformat(),
                "until": notice.until.isoformat() if notice.until else None,
                "count": notice.count,
                "exams": list(notice.exams),
                "text": notice.text,
            }
            for notice in message.notices
        ],
    }


def _paragraph(notice: Notice, link: str) -> str:
    lines = [headline(notice)]
    if notice.kind is NoticeKind.EXAM_FAILED:
        numbers = ", ".join(str(number) for number in notice.exams)
        more = notice.count - len(notice.exams)
        lines.append(notice.text)
        lines.append(f"Exams: {numbers}" + (f" and {more} more" if more > 0 else ""))
        lines.append(f"Mend the cause, then: cadnode jobs retry --code {notice.subject}")
        if link:
            lines.append(f"{link}/exams?status=failed")
    elif notice.about is About.END:
        until = f" until {_when(notice.until)}" if notice.until else ""
        lines.append(f"It was so from {_when(notice.since)}{until}.")
    else:
        lines.append(notice.text)
        lines.append(f"Since {_when(notice.since)}.")
    return "\n".join(lines)


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
