"""The line to one destination: when to stop trying, how to ask whether it is back. Pure values.

| state  | event                                                   | next state                        |
| ------ | ------------------------------------------------------- | --------------------------------- |
| closed | an association brought an answer                        | closed, failures forgotten        |
| closed | no answer, fewer than 3 associations in a row           | closed, one failure more          |
| closed | no answer, 3 associations in a row                      | open, a probe in 1 s              |
| open   | the probe (one C-ECHO) is answered                      | closed on trial                   |
| open   | the probe is not answered                               | open, next probe after twice that |
| closed on trial | an association brought an answer               | closed, failures forgotten        |
| closed on trial | no answer, 1 association                       | open, next probe after twice that |

The time between probes doubles up to 60 s (or the longest delay between the tries of one object,
where that is shorter), with jitter. While a line is open nothing is claimed
for its destination, so no try is used up. What counts as no answer: no connection, a rejected or
aborted association, a time-out, before the destination has answered for any object. A refusal of
an object is an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cadnode.core.retry import RetryRules, SendCause, SendOutcome, backoff

LONGEST_DELAY = timedelta(seconds=60)
"""A destination that is back is noticed within this time."""


class LineState(StrEnum):
    """Whether anything is sent to a destination."""

    CLOSED = "closed"
    """As a switch is: results flow."""
    OPEN = "open"
    """The destination does not answer: nothing is sent but a probe from time to time."""


class LineEvent(StrEnum):
    """What was heard of a destination."""

    ANSWERED = "an association brought an answer"
    SILENT = "an association or a probe brought none"
    ECHOED = "a probe was answered"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a line opens, and how often it is probed."""

    open_after: int = 3
    """Associations in a row without an answer."""
    delays: RetryRules = field(default_factory=lambda: RetryRules(longest_delay=LONGEST_DELAY))
    """Between probes."""

    @classmethod
    def beside(cls, retry: RetryRules) -> BreakerRules:
        """Probes that come no more rarely than the tries of one object."""
        return cls(delays=replace(retry, longest_delay=min(retry.longest_delay, LONGEST_DELAY)))


@dataclass(frozen=True, slots=True)
class LineStatus:
    """Where the line to one destination stands."""

    state: LineState = LineState.CLOSED
    failures: int = 0
    """Associations in a row that brought no answer."""
    probes: int = 0
    """Times that the line opened or a probe failed since an association brought an answer."""
    since: datetime | None = None
    """Of the state; None for a line that was never in trouble."""
    probe_at: datetime | None = None
    """When the next probe is due; only while open."""
    error: str = ""
    """What was last wrong."""


_SILENCE = frozenset(
    {
        SendCause.UNREACHABLE,
        SendCause.REJECTED_FOR_NOW,
        SendCause.REJECTED_PERMANENTLY,
        SendCause.ABORTED,
        SendCause.NO_ANSWER,
    }
)


def heard(outcomes: Sequence[SendOutcome]) -> LineEvent | None:
    """What the outcomes of one association say of the line; None when they say nothing."""
    causes = {outcome.cause for outcome in outcomes}
    if causes & {SendCause.ANSWERED, SendCause.CONTEXT_REJECTED}:
        return LineEvent.ANSWERED
    return LineEvent.SILENT if causes & _SILENCE else None


def after(
    line: LineStatus,
    event: LineEvent,
    *,
    error: str,
    now: datetime,
    jitter: float,
    rules: BreakerRules,
) -> LineStatus:
    """The line after `event`; `error` says what was wrong, `jitter` in 0..1 spreads the probes."""
    closed = line.state is LineState.CLOSED
    if event is LineEvent.ANSWERED:
        return LineStatus(since=line.since if closed else now, error=line.error)
    if event is LineEvent.ECHOED:
        if closed:
            return line
        # On trial: a destination may answer C-ECHO and still take nothing.
        return replace(
            line, state=LineState.CLOSED, failures=rules.open_after - 1, since=now, probe_at=None
        )
    failures = line.failures + 1
    if closed and failures < rules.open_after:
        return replace(line, failures=failures, since=line.since or now, error=error)
    probes = line.probes + 1
    return LineStatus(
        state=LineState.OPEN,
        failures=failures,
        probes=probes,
        since=now if closed else line.since,
        probe_at=now + backoff(probes, jitter, rules.delays),
        error=error,
    )


def needs_note(line: LineStatus, event: LineEvent) -> bool:
    """False when `event` changes nothing about `line`: an answer on a line without trouble."""
    return event is not LineEvent.ANSWERED or line.failures > 0 or line.state is LineState.OPEN
