"""Proof that a destination holds what it said it stored: the states, and what to do next.

An object stored at a destination whose `commitment` is not `off` waits for a proof: the archive
commits to it (PS3.4 annex J) or, where it does not offer that, answers C-FIND with it.

| what was learnt                              | auto                    | require               |
| -------------------------------------------- | ----------------------- | --------------------- |
| it commits to the object                     | committed               | committed             |
| it reports the object as failed              | delivered again         | delivered again       |
| the same, more often than `most_failures`    | failed, E604            | failed, E604          |
| it does not offer commitment                 | C-FIND                  | failed, E604          |
| it never reported, asked `asks_before_find`  | C-FIND                  | asked again           |
| C-FIND: it holds the object                  | verified                |                       |
| C-FIND: it does not, looked `looks` times    | delivered again         |                       |
| it offers neither                            | not provable here       |                       |
| no connection, no answer, any other failure  | later, with back-off    | later, with back-off  |
| the same, longer than the give-up time       | failed, E604            | failed, E604          |
| commitment is `off` by now                   | given up                |                       |

"Asked again" is always with a new Transaction UID. An object of an exam that a newer revision has
superseded is not delivered again: its proof is given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cadnode.core.jobs import StoredResult
from cadnode.core.retry import RetryRules, backoff

NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
PROCESSING_FAILURE = 0x0110

FAILURE_REASONS: Mapping[int, str] = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "no such object instance",
    0x0213: "resource limitation",
    0x0122: "referenced SOP class not supported",
    CLASS_INSTANCE_CONFLICT: "class/instance conflict",
    0x0131: "duplicate transaction UID",
}
"""Failure Reason (0008,1197) of storage commitment, PS3.3 C.14.1.1."""


class ProofWish(StrEnum):
    """What the site asks of a destination."""

    AUTO = "auto"
    REQUIRE = "require"
    OFF = "off"


class ProofState(StrEnum):
    """Where the proof of one delivered object stands."""

    WANTED = "wanted"
    """Stored; the destination is to be asked."""
    ASKED = "asked"
    """The destination was asked to commit; its report is due."""
    REFUSED = "refused"
    """The destination reported that it does not hold the object."""
    COMMITTED = "committed"
    """The destination has committed to keep the object."""
    VERIFIED = "verified"
    """The destination was asked what it holds, and named the object."""
    UNPROVABLE = "not provable here"
    """The destination offers neither commitment nor C-FIND."""
    GIVEN_UP = "given up"
    """A person, or a newer revision of the exam, needs it no longer."""


OPEN_PROOFS = frozenset({ProofState.WANTED, ProofState.ASKED, ProofState.REFUSED})
"""The file is kept until these have ended."""

PROVED = frozenset({ProofState.COMMITTED, ProofState.VERIFIED})


def is_proved(proofs: Iterable[ProofState | None]) -> bool:
    """True when there is a proof for each delivery that wants one, and one wants one at all."""
    wanted = [proof for proof in proofs if proof is not None]
    return bool(wanted) and all(proof in PROVED for proof in wanted)


@dataclass(frozen=True, slots=True)
class Proof:
    """One delivered object whose proof is due, as claimed by a worker."""

    delivery_id: int
    exam_id: int
    destination: str
    owner: str
    study_instance_uid: str
    result: StoredResult
    state: ProofState
    tries: int
    """Claims since the proof became due, this one included."""
    asks: int
    """Requests to commit since the delivery that the destination has not reported on."""
    failures: int
    """How often it turned out that the destination did not hold the object."""
    delivered_at: datetime
    text: str | None = None
    """What was last learnt."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What the other side reports about one transaction."""

    transaction_uid: str
    committed: tuple[str, ...] = ()
    """SOP Instance UIDs."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Failure Reason by SOP Instance UID."""


class ReportTaken(StrEnum):
    """What became of a report."""

    TAKEN = "taken"
    AGAIN = "this transaction was reported before"
    UNKNOWN = "this node has not asked for this transaction"


class AskAnswer(StrEnum):
    """How a request to commit ended."""

    ACCEPTED = "the destination will report"
    NOT_OFFERED = "the destination does not offer storage commitment"
    REFUSED = "the destination refused the request"
    NO_ANSWER = "the destination did not answer"


@dataclass(frozen=True, slots=True)
class AskOutcome:
    """The answer to one N-ACTION."""

    answer: AskAnswer
    detail: str = ""


class FindAnswer(StrEnum):
    """How a look at what the destination holds ended."""

    LOOKED = "the destination said what it holds"
    NOT_OFFERED = "the destination does not offer C-FIND"
    NO_ANSWER = "the destination did not answer"


@dataclass(frozen=True, slots=True)
class FindOutcome:
    """What a destination says it holds of what was asked for."""

    answer: FindAnswer
    held: frozenset[str] = frozenset()
    """SOP Instance UIDs."""
    detail: str = ""


class ProofVerdict(StrEnum):
    """What follows for one proof."""

    COMMITTED = "committed"
    VERIFIED = "verified"
    UNPROVABLE = "unprovable"
    GIVE_UP = "give up"
    AWAIT = "await the report"
    LATER = "later"
    DELIVER_AGAIN = "deliver again"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ProofDecision:
    """What to do next with one proof, why, and when."""

    verdict: ProofVerdict
    text: str
    at: datetime | None = None
    """When it is due again: LATER, AWAIT and DELIVER_AGAIN."""


@dataclass(frozen=True, slots=True)
class ProofRules:
    """Times and bounds of proving."""

    delay: timedelta = timedelta(seconds=5)
    """From the delivery to the first question: objects are asked about together, and an archive
    may need a moment until it can find what it stored."""
    report_within: timedelta = timedelta(minutes=30)
    """For the report of a transaction; then it is asked again, with a new Transaction UID."""
    most_failures: int = 3
    """How often an object that is not held is delivered again."""
    asks_before_find: int = 2
    """Requests without a report after which `auto` looks with C-FIND."""
    looks: int = 3
    """Times that C-FIND must miss an object before it counts as not held."""
    longest_delay: timedelta = timedelta(minutes=15)
    give_up_after: timedelta = timedelta(hours=72)

    def again_at(self, tries: int, now: datetime, jitter: float) -> datetime:
        """When to try again after the `tries`-th time."""
        delays = RetryRules(first_delay=self.delay, longest_delay=self.longest_delay)
        return now + backoff(tries, jitter, delays)


def before_asking(
    proof: Proof,
    wish: ProofWish,
    *,
    finds: bool,
    now: datetime,
    jitter: float,
    rules: ProofRules,
) -> ProofDecision | None:
    """What follows without asking anybody; None: ask. `finds`: is C-FIND offered, as far as known?"""
    if wish is ProofWish.OFF:
        return ProofDecision(ProofVerdict.GIVE_UP, "commitment is off for this destination now")
    if proof.state is ProofState.REFUSED:
        return after_refusal(proof, now=now, jitter=jitter, rules=rules)
    waited = now - proof.delivered_at
    if waited >= 2 * rules.give_up_after and proof.tries > rules.looks:
        # Every look should have ended in a decision by now; none did.
        return ProofDecision(ProofVerdict.FAIL, proof.text or "no question came to an end")
    # A node that was switched off meanwhile has not heard the report: it asks once more.
    overdue = waited >= rules.give_up_after and proof.asks >= rules.asks_before_find
    if proof.state is ProofState.ASKED and overdue and not (finds and wish is ProofWish.AUTO):
        text = "the destination never reported on its commitment"
        fails = wish is ProofWish.REQUIRE
        return ProofDecision(ProofVerdict.FAIL if fails else ProofVerdict.UNPROVABLE, text)
    return None


def wants_find(
    proof: Proof, wish: ProofWish, *, commits: bool, finds: bool, rules: ProofRules
) -> bool:
    """True when the next question is C-FIND and not commitment. `commits`, `finds`: what the
    destination offers, as far as known."""
    if wish is not ProofWish.AUTO:
        return False
    return not commits or (finds and proof.asks >= rules.asks_before_find)


def after_refusal(
    proof: Proof, *, now: datetime, jitter: float, rules: ProofRules
) -> ProofDecision:
    """What follows when the destination does not hold the object."""
    text = proof.text or "the destination does not hold the object"
    if proof.failures >= rules.most_failures:
        times = f"delivered {proof.failures + 1} times"
        return ProofDecision(ProofVerdict.FAIL, f"{text}; {times}")
    at = rules.again_at(proof.failures + 1, now, jitter)
    return ProofDecision(ProofVerdict.DELIVER_AGAIN, text, at)


def after_asking(
    proof: Proof,
    outcome: AskOutcome,
    wish: ProofWish,
    *,
    now: datetime,
    jitter: float,
    rules: ProofRules,
) -> ProofDecision | None:
    """What follows from the answer to a request to commit; None: look with C-FIND."""
    text = _said(outcome.answer, outcome.detail)
    match outcome.answer:
        case AskAnswer.ACCEPTED:
            return ProofDecision(ProofVerdict.AWAIT, text, now + rules.report_within)
        case AskAnswer.NOT_OFFERED:
            return None if wish is ProofWish.AUTO else ProofDecision(ProofVerdict.FAIL, text)
        case AskAnswer.REFUSED | AskAnswer.NO_ANSWER:
            return _later(proof, text, now=now, jitter=jitter, rules=rules)


def after_finding(
    proof: Proof,
    outcome: FindOutcome,
    *,
    commits: bool,
    now: datetime,
    jitter: float,
    rules: ProofRules,
) -> ProofDecision:
    """What follows from a look with C-FIND."""
    if proof.result.sop_instance_uid in outcome.held:
        return ProofDecision(ProofVerdict.VERIFIED, "C-FIND names it")
    if outcome.answer is FindAnswer.NOT_OFFERED and not commits:
        text = "the destination offers neither storage commitment nor C-FIND"
        return ProofDecision(ProofVerdict.UNPROVABLE, text)
    if outcome.answer is FindAnswer.LOOKED:
        missing = replace(proof, text="C-FIND does not name it")
        if proof.tries >= rules.looks:
            return after_refusal(missing, now=now, jitter=jitter, rules=rules)
        return _later(proof, "C-FIND does not name it yet", now=now, jitter=jitter, rules=rules)
    if outcome.answer is FindAnswer.NOT_OFFERED and now - proof.delivered_at >= rules.give_up_after:
        text = "the destination never reported on its commitment and does not offer C-FIND"
        return ProofDecision(ProofVerdict.UNPROVABLE, text)
    text = _said(outcome.answer, outcome.detail)
    return _later(proof, text, now=now, jitter=jitter, rules=rules)


def _later(
    proof: Proof, text: str, *, now: datetime, jitter: float, rules: ProofRules
) -> ProofDecision:
    if now - proof.delivered_at >= rules.give_up_after:
        return ProofDecision(ProofVerdict.FAIL, text)
    return ProofDecision(ProofVerdict.LATER, text, rules.again_at(proof.tries, now, jitter))


def _said(answer: AskAnswer | FindAnswer, detail: str) -> str:
    return f"{answer} ({detail})" if detail else str(answer)
