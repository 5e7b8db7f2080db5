"""Hints: "exam 17 is due", carried by a message broker so that a worker need not keep looking.

A hint is no order. The job database says what is due and who holds it; a hint that is lost is
given again by the sweep, and one that comes twice finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cadnode.core.jobs import Priority
from cadnode.core.processes import ANALYSIS, DELIVERY


@dataclass(frozen=True, slots=True)
class Line:
    """One queue of the broker: the analysis lane, or the delivery lane of one destination."""

    lane: str
    destination: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """Look at this exam: something of it is due."""

    line: Line
    exam_id: int
    priority: Priority = Priority.NORMAL


class Hints(Protocol):
    """Told after each commit which exam has changed. No method waits or raises."""

    def exam_changed(self, exam_id: int) -> None:
        """Something of this exam may be due by now."""
        ...

    def study_changed(self, study_instance_uid: str) -> None:
        """Something of the newest exam of this study may be due by now."""
        ...

    @property
    def trouble(self) -> str:
        """Why hints do not get through at the moment; empty when they do."""
        ...

    def close(self) -> None:
        """Pass on what is still there, for a second at most, and end."""
        ...


class NoHints:
    """The port of a node without a broker: its workers look by themselves."""

    trouble = ""

    def exam_changed(self, exam_id: int) -> None:
        """Nothing."""

    def study_changed(self, study_instance_uid: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def lines(destinations: Sequence[str]) -> Sequence[Line]:
    """Every queue of a node with these destinations."""
    return [Line(ANALYSIS), *(Line(DELIVERY, name) for name in destinations)]


def missing(due: Sequence[Hint], waiting: Mapping[Line, int]) -> Iterator[Hint]:
    """Those hints to give again so that every line has as many messages as it needs.

    `due` are in the order in which they are to be worked on, `waiting` how many messages a line
    has. Any message makes a worker take what is due there, so the number is all that counts. One
    is enough for a destination: whoever delivers sends everything that is due.
    """
    still = dict(waiting)
    given: set[Line] = set()
    for hint in due:
        line = hint.line
        if still.get(line, 0) > 0:
            if line.lane == ANALYSIS:
                still[line] -= 1
        elif line.lane == ANALYSIS or line not in given:
            given.add(line)
            yield hint
