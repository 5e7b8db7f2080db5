"""Statuses of DIMSE answers: what the node does on each, asked of the functions that decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cadnode.conformance.names import hexadecimal
from cadnode.core.proof import (
    CLASS_INSTANCE_CONFLICT,
    FAILURE_REASONS,
    NO_SUCH_INSTANCE,
    AskAnswer,
)
from cadnode.core.retry import Decision, RetryRules, SendCause, SendOutcome, Verdict, decide
from cadnode.dimse import commitment_events, commitment_scp, storing
from cadnode.dimse.commitment_reporter import TAKEN
from cadnode.dimse.commitment_scu import DONE, NOT_OFFERED
from cadnode.dimse.incoming import NOT_AUTHORIZED, OUT_OF_RESOURCES, TOO_LARGE
from cadnode.dimse.sub_operations import COULD_NOT_SEND, RETRIEVE_STATUSES

OTHER: Final = "any other"


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One line of a status table."""

    codes: str
    """`0x0000`, several with commas, `0xA7xx` for a range, or `any other`."""
    meaning: str
    behaviour: str


_STORE_STATUSES: Sequence[tuple[str, str]] = (
    ("0x0000", "success"),
    ("0xBxxx", "warning: coerced, elements discarded, does not match its class"),
    ("0x0001, 0x0107, 0x0116", "warning"),
    ("0x0111", "duplicate SOP instance"),
    ("0x0122", "SOP class not supported"),
    ("0xA7xx", "out of resources"),
    ("0xA9xx", "data set does not match SOP class"),
    ("0xCxxx", "cannot understand"),
    (OTHER, "any other failure, 0x0110 and 0x0124 among them"),
)


def store_answers() -> Iterator[StatusRow]:
    """What follows from each status with which a destination answers C-STORE."""
    for codes, meaning in _STORE_STATUSES:
        outcome = SendOutcome("", SendCause.ANSWERED, example_of(codes))
        yield StatusRow(codes, meaning, behaviour(decision_on(outcome)))


def store_troubles() -> Iterator[StatusRow]:
    """What follows when there is no answer to C-STORE."""
    for cause in SendCause:
        if cause is not SendCause.ANSWERED:
            yield StatusRow(str(cause), "", behaviour(decision_on(SendOutcome("", cause))))


def decision_on(outcome: SendOutcome) -> Decision:
    """What the node decides on an outcome at the first try."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return decide(outcome, tries=1, first_try_at=now, now=now, jitter=1.0, rules=RetryRules())


def behaviour(decision: Decision) -> str:
    """The decision in the words of the tables."""
    match decision.verdict:
        case Verdict.DONE:
            return "The object is delivered."
        case Verdict.GIVE_UP:
            return f"The object is not sent again to this destination ({decision.code})."
        case Verdict.RETRY:
            return f"Sent again later ({decision.code})."


def example_of(codes: str) -> int:
    """A status that a row of a table stands for."""
    if codes == OTHER:
        return 0x0110
    return int(codes.split(",")[0].replace("x", "0").removeprefix("00"), 16)


def row_of(status: int, rows: Sequence[StatusRow]) -> StatusRow:
    """The line that stands for a status."""
    text = f"0x{status:04X}"
    for row in rows:
        for pattern in row.codes.split(", "):
            digits = zip(pattern[2:], text[2:], strict=False)
            if pattern != OTHER and all(wanted in ("x", digit) for wanted, digit in digits):
                return row
    return next(row for row in rows if row.codes == OTHER)


STORE_STATUSES: Mapping[int, tuple[str, str]] = {
    storing.SUCCESS: (
        "success",
        "The file is synced and its row committed; also when the same bytes are kept already.",
    ),
    storing.PROCESSING_FAILURE: (
        "processing failure",
        "The object could not be kept for a reason of the node's own (its database, for one);"
        " sending it again may succeed.",
    ),
    storing.DUPLICATE_INSTANCE: (
        "duplicate SOP instance",
        "The SOP Instance UID is kept already, in another study.",
    ),
    storing.SOP_CLASS_NOT_SUPPORTED: (
        "SOP class not supported",
        "The data set is of a SOP class that is not accepted, sent over the context of another.",
    ),
    NOT_AUTHORIZED: ("not authorized", "The calling AE may associate, but not store."),
    OUT_OF_RESOURCES: (
        "out of resources",
        "Too little room on the disk; nothing was kept, sending it again may succeed.",
    ),
    storing.DOES_NOT_MATCH: (
        "data set does not match SOP class",
        "SOP Class or SOP Instance UID differ between command and data set.",
    ),
    storing.CANNOT_UNDERSTAND: (
        "cannot understand",
        "One of SOP Class, SOP Instance, Study and Series Instance UID is missing or no UID, the"
        " data set cannot be parsed up to them, or there is none.",
    ),
    TOO_LARGE: ("cannot understand", "The object is larger than the sender's limit."),
}
"""What the node answers to C-STORE, and when."""

ACTION_STATUSES: Mapping[int, str] = {
    commitment_events.SUCCESS: "The request is kept; a report follows.",
    commitment_events.PROCESSING_FAILURE: "The request could not be kept.",
    commitment_events.NO_SUCH_INSTANCE: "The Requested SOP Instance UID is not the well-known one.",
    commitment_events.INVALID_ARGUMENT_VALUE: "The Action Information cannot be read, names no"
    " object, or too many.",
    commitment_scp.NO_SUCH_ACTION: "The Action Type ID is not 1.",
    commitment_scp.RESOURCE_LIMITATION: "Too many objects wait for reports that the sender does"
    " not take.",
}
"""What the node answers to an N-ACTION request."""

EVENT_STATUSES: Mapping[int, str] = {
    commitment_events.SUCCESS: "The report is taken, known before, or about no transaction of ours.",
    commitment_events.PROCESSING_FAILURE: "The report could not be written down.",
    commitment_events.NO_SUCH_INSTANCE: "The Affected SOP Instance UID is not the well-known one.",
    commitment_events.NO_SUCH_EVENT_TYPE: "The Event Type ID is neither 1 nor 2.",
    commitment_events.INVALID_ARGUMENT_VALUE: "The Event Information cannot be read.",
}
"""What the node answers to an N-EVENT-REPORT request."""

COMMITTED_REASONS: Mapping[int, str] = {
    NO_SUCH_INSTANCE: "the node does not hold the object, or no longer",
    CLASS_INSTANCE_CONFLICT: "it holds it under another SOP class",
}
"""Failure Reason (0008,1197) in the node's own reports."""


def action_answers() -> Iterator[StatusRow]:
    """What follows from an archive's answer to our N-ACTION."""
    yield StatusRow(_list(DONE), "success or warning", "Its report is awaited.")
    yield StatusRow(
        _list(NOT_OFFERED),
        str(AskAnswer.NOT_OFFERED),
        "`auto`: C-FIND is used instead; `require`: the delivery has failed (E604).",
    )
    yield StatusRow(OTHER, "failure", "Asked again later, with a new Transaction UID.")


def report_answers() -> Iterator[StatusRow]:
    """What follows from a sender's answer to our N-EVENT-REPORT."""
    yield StatusRow(_list(TAKEN), "success or warning", "The report is delivered.")
    yield StatusRow(OTHER, "failure", "Reported again later.")


def failure_reasons() -> Iterator[tuple[str, str]]:
    """Failure Reason (0008,1197) of an archive's report, in words."""
    for reason, meaning in FAILURE_REASONS.items():
        yield hexadecimal(reason), meaning


def retrieve_answers() -> Iterator[StatusRow]:
    """What follows from the final status of C-GET and C-MOVE."""
    yield StatusRow("0x0000", "success", "What came is looked up in the database.")
    for status, meaning in RETRIEVE_STATUSES.items():
        again = status in COULD_NOT_SEND
        yield StatusRow(hexadecimal(status), meaning, _retrieve(again))
    yield StatusRow("0xCxxx", "unable to process", _retrieve(0xC000 in COULD_NOT_SEND))
    yield StatusRow(OTHER, "failure", _retrieve(again=False))


def _retrieve(again: bool) -> str:
    failed = "What did not come is reported (E204)"
    if again:
        return f"{failed}; by C-GET it is first asked for once in each further transfer syntax."
    return f"{failed}."


def _list(statuses: frozenset[int]) -> str:
    return ", ".join(hexadecimal(status) for status in sorted(statuses))


def patience(rules: RetryRules) -> str:
    """When a transient trouble is tried again, in words."""
    return (
        f"after {_words(rules.first_delay)}, doubling up to {_words(rules.longest_delay)},"
        f" with jitter, until {_words(rules.give_up_after)} after the first try"
    )


def _words(delay: timedelta) -> str:
    seconds = delay.total_seconds()
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
