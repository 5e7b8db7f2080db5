"""What a person may have done with exams: when, in which words, and how each ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cadnode.core.errors import IllegalMove, NotFound
from cadnode.core.jobs import ANALYSIS_LANE, ExamStatus, Priority
from cadnode.core.search import FoundExam
from cadnode.web.exams.ports import Exams


class Action(StrEnum):
    """One thing that can be done with an exam."""

    RETRY = "retry"
    CANCEL = "cancel"
    REANALYZE = "reanalyze"
    RESEND = "resend"
    URGENT = "urgent"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Words:
    """How an action is told."""

    title: str
    happens: str
    """What will happen, in one or two plain sentences."""


WORDS: dict[Action, Words] = {
    Action.RETRY: Words(
        "Try again",
        "A failed exam starts again at the step that failed, with all its tries. What still waits"
        " to be delivered or proved is tried at once.",
    ),
    Action.CANCEL: Words(
        "Give up",
        "The exam is given up for good: nothing of it is analyzed or sent any more. Of a delivered"
        " exam only the missing proofs are given up. Its images stay until its retention is over.",
    ),
    Action.REANALYZE: Words(
        "Analyze again",
        "Every image of the study is read again with the model now in the settings, as a new"
        " revision. Its results take the place of those of now, at every destination.",
    ),
    Action.RESEND: Words(
        "Send again",
        "The stored result objects are sent again as they are. Nothing is analyzed or built anew.",
    ),
    Action.URGENT: Words(
        "Make urgent",
        "The exam is analyzed before all that are not urgent, and its results are sent before"
        " theirs. Later revisions of its study are urgent too.",
    ),
    Action.NORMAL: Words("Make normal", "The exam waits for its turn like all others."),
}

_UNFINISHED = frozenset({*ANALYSIS_LANE, ExamStatus.REPORTED, ExamStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one action on one exam ended."""

    exam_id: int
    done: bool
    text: str
    new_exam_id: int | None = None
    """The exam that a new revision is."""


def possible(found: FoundExam) -> Sequence[Action]:
    """What may be tried with an exam as it stands; the node may still refuse it."""
    status = found.exam.status
    proofs = status is ExamStatus.DELIVERED and found.exam.proofs_pending > 0
    priority = Action.NORMAL if found.priority > Priority.NORMAL else Action.URGENT
    fits = {
        Action.RETRY: status in (ExamStatus.FAILED, ExamStatus.REPORTED) or proofs,
        Action.RESEND: status in (ExamStatus.DELIVERED, ExamStatus.COMMITTED),
        Action.REANALYZE: status not in (*ANALYSIS_LANE, ExamStatus.PURGED),
        priority: status in _UNFINISHED,
        Action.CANCEL: status in _UNFINISHED or proofs,
    }
    return [action for action, fit in fits.items() if fit]


def perform(
    exams: Exams, action: Action, exam_id: int, *, by: str, why: str = "", to: str | None = None
) -> Outcome:
    """Do it. Raises what the port raises."""
    match action:
        case Action.RETRY:
            status = exams.retry(exam_id, by=by)
            if status is ExamStatus.DELIVERED:
                return Outcome(exam_id, True, "the missing proofs are asked for at once")
            return Outcome(exam_id, True, f"it is {status} again")
        case Action.CANCEL:
            status = exams.cancel(exam_id, why=why, by=by)
            if status is ExamStatus.CANCELLED:
                return Outcome(exam_id, True, "it is cancelled")
            return Outcome(exam_id, True, "the missing proofs are given up")
        case Action.REANALYZE:
            new = exams.reanalyze(exam_id, by=by)
            return Outcome(exam_id, True, f"its study is read again as exam {new}", new)
        case Action.RESEND:
            count = exams.resend(exam_id, to, by=by)
            return Outcome(
                exam_id, True, "1 object is sent again" if count == 1 else f"{count} objects are"
            )
        case Action.URGENT:
            exams.set_priority(exam_id, Priority.URGENT, by=by)
            return Outcome(exam_id, True, "it is urgent now")
        case Action.NORMAL:
            exams.set_priority(exam_id, Priority.NORMAL, by=by)
            return Outcome(exam_id, True, "it waits for its turn")


def perform_all(
    exams: Exams,
    action: Action,
    exam_ids: Iterable[int],
    *,
    by: str,
    why: str = "",
    to: str | None = None,
) -> Sequence[Outcome]:
    """Do it with each; one that refuses does not keep the others from it."""
    outcomes = []
    for exam_id in exam_ids:
        try:
            outcomes.append(perform(exams, action, exam_id, by=by, why=why, to=to))
        except (IllegalMove, NotFound) as error:
            outcomes.append(Outcome(exam_id, False, error.detail))
    return outcomes
