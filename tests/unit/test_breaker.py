"""The line to a destination: when it opens, how it is probed, when it closes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.breaker import (
    BreakerRules,
    LineEvent,
    LineState,
    LineStatus,
    after,
    heard,
    needs_note,
)
from cadnode.core.retry import RetryRules, SendCause, SendOutcome

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RULES = BreakerRules()
ANSWERED, SILENT, ECHOED = LineEvent.ANSWERED, LineEvent.SILENT, LineEvent.ECHOED
EVENTS = st.lists(st.tuples(st.sampled_from(LineEvent), st.floats(0, 1)), max_size=60)

CLOSED = LineStatus()
ONE_FAILURE_LEFT = LineStatus(failures=RULES.open_after - 1, since=T0)
OPEN = LineStatus(LineState.OPEN, RULES.open_after, 1, T0, T0 + SECOND, "no connection")
ON_TRIAL = after(OPEN, ECHOED, error="", now=T0, jitter=1.0, rules=RULES)


def step(line: LineStatus, event: LineEvent, now: datetime = T0, jitter: float = 1.0) -> LineStatus:
    return after(line, event, error="no connection", now=now, jitter=jitter, rules=RULES)


def named(line: LineStatus, before: LineStatus) -> str:
    """The next state in the words of the table."""
    if line.state is LineState.OPEN:
        again = line.probes > before.probes and before.probes > 0
        return "open, next probe after twice that" if again else "open, a probe in 1 s"
    if not line.failures:
        return "closed, failures forgotten"
    if before.state is LineState.OPEN:
        return "closed on trial"
    return "closed, one failure more"


@pytest.mark.parametrize("source", ["cadnode/core/breaker.py", "docs/operations.md"])
def test_the_table_of_the_line_says_what_the_function_does(source: str):
    text = (Path(__file__).parents[2] / source).read_text()
    cells = re.findall(r"^\| (closed|open|closed on trial) +\| (.+?) +\| (.+?) +\|$", text, re.M)
    steps = [
        (CLOSED, ANSWERED),
        (CLOSED, SILENT),
        (ONE_FAILURE_LEFT, SILENT),
        (OPEN, ECHOED),
        (OPEN, SILENT),
        (ON_TRIAL, ANSWERED),
        (ON_TRIAL, SILENT),
    ]
    assert len(cells) == len(steps)
    for (_, _, expected), (line, event) in zip(cells, steps, strict=True):
        assert named(step(line, event), line) == expected


def test_a_line_opens_after_three_associations_in_a_row_without_an_answer():
    line = step(step(CLOSED, SILENT), SILENT)
    assert line.state is LineState.CLOSED
    assert step(step(line, ANSWERED), SILENT).state is LineState.CLOSED
    assert step(line, SILENT).state is LineState.OPEN


def test_probes_come_more_and_more_rarely_but_at_least_once_a_minute():
    line, waits = OPEN, []
    for _ in range(10):
        line = step(line, SILENT)
        assert line.probe_at is not None
        waits.append((line.probe_at - T0).total_seconds())
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_a_site_that_tries_often_probes_often_and_never_more_rarely_than_every_minute():
    often = BreakerRules.beside(RetryRules(SECOND, 5 * SECOND))
    assert often.delays.longest_delay == 5 * SECOND
    assert BreakerRules.beside(RetryRules()) == RULES


def test_a_destination_that_answers_echo_but_takes_nothing_is_not_hammered():
    line, waits = OPEN, []
    for _ in range(4):
        line = step(step(line, ECHOED), SILENT)
        assert line.probe_at is not None
        waits.append((line.probe_at - T0).total_seconds())
    assert waits == [2, 4, 8, 16]


def test_the_state_began_when_it_began_and_not_at_the_last_probe():
    line = step(OPEN, SILENT, T0 + 60 * SECOND)
    assert line.since == T0
    assert step(line, ECHOED, T0 + 90 * SECOND).since == T0 + 90 * SECOND


@pytest.mark.parametrize(
    ("causes", "event"),
    [
        ([SendCause.ANSWERED], ANSWERED),
        ([SendCause.CONTEXT_REJECTED], ANSWERED),
        ([SendCause.ANSWERED, SendCause.ABORTED], ANSWERED),
        ([SendCause.UNREACHABLE, SendCause.UNREACHABLE], SILENT),
        ([SendCause.REJECTED_FOR_NOW], SILENT),
        ([SendCause.REJECTED_PERMANENTLY], SILENT),
        ([SendCause.ABORTED], SILENT),
        ([SendCause.NO_ANSWER, SendCause.ABORTED], SILENT),
        ([SendCause.FILE_LOST], None),
        ([SendCause.BROKE_OFF], None),
        ([], None),
    ],
)
def test_only_what_the_destination_does_says_something_about_its_line(
    causes: list[SendCause], event: LineEvent | None
):
    assert heard([SendOutcome("1.2", cause) for cause in causes]) is event


@given(EVENTS)
def test_in_any_order_of_events_an_open_line_has_a_probe_ahead_and_a_closed_one_none(events):
    line, now = CLOSED, T0
    for event, jitter in events:
        line = step(line, event, now, jitter)
        if line.state is LineState.OPEN:
            assert line.probe_at is not None
            assert line.failures >= RULES.open_after or line.probes
            wait = line.probe_at - now
            # A probe that was answered on a closed line, or set before, may be due by now.
            assert wait <= RULES.delays.longest_delay
        else:
            assert line.probe_at is None
            assert line.failures < RULES.open_after
        now += SECOND


@given(EVENTS)
def test_in_any_order_of_events_an_answer_closes_the_line_and_forgets_the_trouble(events):
    line = CLOSED
    for event, jitter in events:
        line = step(line, event, jitter=jitter)
    line = step(line, ANSWERED)
    assert (line.state, line.failures, line.probes) == (LineState.CLOSED, 0, 0)


@given(EVENTS)
def test_in_any_order_of_events_enough_silence_opens_the_line_and_an_echo_closes_it(events):
    line = CLOSED
    for event, jitter in events:
        line = step(line, event, jitter=jitter)
    for _ in range(RULES.open_after):
        line = step(line, SILENT)
    assert line.state is LineState.OPEN
    line = step(line, ECHOED)
    assert line.state is LineState.CLOSED
    assert step(line, SILENT).state is LineState.OPEN


@given(EVENTS)
def test_an_event_that_need_not_be_noted_changes_nothing(events):
    line = CLOSED
    for event, jitter in events:
        following = step(line, event, jitter=jitter)
        if not needs_note(line, event):
            assert (following.state, following.failures) == (line.state, line.failures)
        line = following
