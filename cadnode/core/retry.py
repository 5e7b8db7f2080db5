"""What to do after an attempt to send one object: a pure decision from the cause.

| cause                                   | decision                                        |
| --------------------------------------- | ----------------------------------------------- |
| stored, stored with a warning (Bxxx)    | done; a warning is kept, never sent again       |
| presentation context rejected           | permanent for this object at this destination   |
| 0x0111, it holds this UID already       | done: an earlier attempt's answer was lost      |
| 0x0122, A9xx, Cxxx                      | permanent                                       |
| A7xx, any other failure status          | transient                                       |
| association rejected, for now or not    | transient: an AE title unknown today may be set |
|                                         | up tomorrow, and other exams wait for it too    |
| no connection (refused, DNS), aborted   | transient                                       |
| no answer, time-out                     | transient (the same stored file is sent again)  |
| sending broke off in this program       | transient, so that no error is tried for ever   |
| our stored file is gone                 | permanent: a person has to look at the disk     |

Transient trouble is tried again after 1 s, doubling up to 15 min, with jitter, until the give-up
time has passed since the first attempt. `docs/operations.md` has this table for administrators; a
test compares each row of it with what `decide` answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class SendCause(StrEnum):
    """How one attempt to send one object ended."""

    ANSWERED = "the destination answered"
    CONTEXT_REJECTED = "the destination does not accept this kind of object as it is encoded"
    REJECTED_PERMANENTLY = "the destination rejected the association for good"
    REJECTED_FOR_NOW = "the destination rejected the association for now"
    UNREACHABLE = "no connection"
    ABORTED = "the association was aborted"
    NO_ANSWER = "no answer came in time"
    BROKE_OFF = "sending broke off in this node"
    FILE_LOST = "the stored file is gone or damaged"


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """The outcome of one attempt for one object."""

    sop_instance_uid: str
    cause: SendCause
    status: int | None = None
    """The DICOM status when the destination answered."""
    detail: str = ""


class Verdict(StrEnum):
    """What follows from an outcome."""

    DONE = "done"
    RETRY = "retry"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, why, and when."""

    verdict: Verdict
    code: str | None
    """Error code (`E601`...), None when all went well."""
    text: str
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Delays between attempts and the time after which to stop."""

    first_delay: timedelta = timedelta(seconds=1)
    longest_delay: timedelta = timedelta(minutes=15)
    give_up_after: timedelta = timedelta(hours=72)


DUPLICATE_INSTANCE = 0x0111
"""The UID of a result object derives from its content: whoever holds the one holds the other."""


def is_success(status: int) -> bool:
    """True for 0x0000 and for warnings, where the object is stored (PS3.4 B.2.3)."""
    return status == 0x0000 or 0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116)


def is_permanent(status: int) -> bool:
    """True for failure statuses that the same object would meet again (PS3.4 table B.2-1)."""
    return status == 0x0122 or 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF


def backoff(tries: int, jitter: float, rules: RetryRules) -> timedelta:
    """The delay after the `tries`-th attempt; `jitter` in 0..1 spreads it over half to whole."""
    doubled = rules.first_delay * float(2 ** min(tries - 1, 32))
    return min(doubled, rules.longest_delay) * (0.5 + 0.5 * jitter)


def decide(
    outcome: SendOutcome,
    *,
    tries: int,
    first_try_at: datetime,
    now: datetime,
    jitter: float,
    rules: RetryRules,
) -> Decision:
    """What follows from `outcome` of the `tries`-th attempt (counted from 1)."""
    text = str(outcome.cause)
    if outcome.status is not None:
        text += f" 0x{outcome.status:04X}"
    if outcome.detail:
        text += f" ({outcome.detail})"
    if outcome.cause is SendCause.ANSWERED and outcome.status is not None:
        if is_success(outcome.status) or outcome.status == DUPLICATE_INSTANCE:
            return Decision(Verdict.DONE, None, text)
        if is_permanent(outcome.status):
            return Decision(Verdict.GIVE_UP, "E602", text)
    elif outcome.cause is SendCause.FILE_LOST:
        return Decision(Verdict.GIVE_UP, "E703", text)
    elif outcome.cause is SendCause.CONTEXT_REJECTED:
        return Decision(Verdict.GIVE_UP, "E602", text)
    if now - first_try_at >= rules.give_up_after:
        return Decision(Verdict.GIVE_UP, "E603", text)
    code = "E000" if outcome.cause is SendCause.BROKE_OFF else "E601"
    return Decision(Verdict.RETRY, code, text, now + backoff(tries, jitter, rules))
