"""What follows from what a destination proves, as pure values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.commitment import CommitmentItem, KeptImage, report_on
from cadnode.core.jobs import StoredResult
from cadnode.core.proof import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_INSTANCE,
    OPEN_PROOFS,
    PROVED,
    AskAnswer,
    AskOutcome,
    FindAnswer,
    FindOutcome,
    Proof,
    ProofDecision,
    ProofRules,
    ProofState,
    ProofVerdict,
    ProofWish,
    after_asking,
    after_finding,
    before_asking,
    is_proved,
    wants_find,
)

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
RULES = ProofRules()
RESULT = StoredResult("mammography-cad-sr", "1.1", "1.2.3", "1.2", "results/1", "a", 1)
PROOF = Proof(
    delivery_id=1,
    exam_id=1,
    destination="pacs",
    owner="w",
    study_instance_uid="1.9",
    result=RESULT,
    state=ProofState.WANTED,
    tries=1,
    asks=0,
    failures=0,
    delivered_at=T0,
)
HELD = FindOutcome(FindAnswer.LOOKED, frozenset({"1.2.3"}))
MISSING = FindOutcome(FindAnswer.LOOKED)


def before(
    proof: Proof, wish: ProofWish = ProofWish.AUTO, *, finds: bool = True, now: datetime = T0
) -> ProofDecision | None:
    return before_asking(proof, wish, finds=finds, now=now, jitter=1.0, rules=RULES)


def asked(
    answer: AskAnswer, wish: ProofWish = ProofWish.AUTO, proof: Proof = PROOF, now: datetime = T0
) -> ProofDecision | None:
    return after_asking(proof, AskOutcome(answer, "why"), wish, now=now, jitter=1.0, rules=RULES)


def found(
    outcome: FindOutcome, proof: Proof = PROOF, *, commits: bool = False, now: datetime = T0
) -> ProofDecision:
    return after_finding(proof, outcome, commits=commits, now=now, jitter=1.0, rules=RULES)


class TestStates:
    def test_every_state_is_open_or_an_end(self):
        assert not OPEN_PROOFS & PROVED
        ends = set(ProofState) - OPEN_PROOFS - PROVED
        assert ends == {ProofState.UNPROVABLE, ProofState.GIVEN_UP}

    @pytest.mark.parametrize("proofs", [[], [None], [None, None]])
    def test_where_no_proof_is_wanted_none_is_there(self, proofs: list[ProofState | None]):
        assert not is_proved(proofs)

    @given(st.lists(st.sampled_from([None, *ProofState])))
    def test_one_proof_that_is_missing_spoils_it(self, proofs: list[ProofState | None]):
        wanted = {proof for proof in proofs if proof is not None}
        assert is_proved(proofs) == bool(wanted and wanted <= PROVED)


class TestBeforeAsking:
    def test_a_fresh_proof_is_asked_for(self):
        assert before(PROOF) is None

    def test_switched_off_it_is_given_up_whatever_it_was(self):
        for state in OPEN_PROOFS:
            decision = before(replace(PROOF, state=state), ProofWish.OFF)
            assert decision is not None
            assert decision.verdict is ProofVerdict.GIVE_UP

    def test_a_refused_one_is_delivered_again_so_often_and_then_fails(self):
        refused = replace(PROOF, state=ProofState.REFUSED, text="0x0112")
        verdicts = []
        for failures in range(RULES.most_failures + 2):
            decision = before(replace(refused, failures=failures))
            assert decision is not None
            verdicts.append(decision.verdict)
        assert verdicts == [ProofVerdict.DELIVER_AGAIN] * 3 + [ProofVerdict.FAIL] * 2

    @pytest.mark.parametrize(
        ("wish", "finds", "verdict"),
        [
            (ProofWish.AUTO, True, None),
            (ProofWish.AUTO, False, ProofVerdict.UNPROVABLE),
            (ProofWish.REQUIRE, True, ProofVerdict.FAIL),
        ],
    )
    def test_silence_ends_with_the_give_up_time(
        self, wish: ProofWish, finds: bool, verdict: ProofVerdict | None
    ):
        silent = replace(PROOF, state=ProofState.ASKED, asks=9)
        over = T0 + RULES.give_up_after
        assert before(silent, wish, finds=finds, now=over - TICK) is None
        decision = before(silent, wish, finds=finds, now=over)
        assert (decision and decision.verdict) == verdict

    def test_nothing_is_asked_for_ever(self):
        for state in OPEN_PROOFS:
            for wish in (ProofWish.AUTO, ProofWish.REQUIRE):
                proof = replace(PROOF, state=state, failures=9, tries=99)
                decision = before(proof, wish, now=T0 + 2 * RULES.give_up_after)
                assert decision is not None
                assert decision.verdict is ProofVerdict.FAIL

    def test_a_node_that_was_switched_off_for_a_week_asks_before_it_gives_up(self):
        back = T0 + timedelta(days=7)
        asked_once = replace(PROOF, state=ProofState.ASKED, asks=1, tries=2)
        for proof in (PROOF, asked_once):
            for finds in (True, False):
                assert before(proof, ProofWish.AUTO, finds=finds, now=back) is None
            assert before(proof, ProofWish.REQUIRE, now=back) is None


class TestAsking:
    def test_only_auto_ever_looks_with_c_find(self):
        many = replace(PROOF, asks=99)
        assert wants_find(many, ProofWish.AUTO, commits=True, finds=True, rules=RULES)
        assert not wants_find(many, ProofWish.REQUIRE, commits=False, finds=True, rules=RULES)

    @pytest.mark.parametrize(("asks", "finds"), [(0, False), (1, False), (2, True), (3, True)])
    def test_two_silent_requests_are_enough(self, asks: int, finds: bool):
        proof = replace(PROOF, asks=asks)
        assert wants_find(proof, ProofWish.AUTO, commits=True, finds=True, rules=RULES) == finds
        assert not wants_find(proof, ProofWish.AUTO, commits=True, finds=False, rules=RULES)
        assert wants_find(proof, ProofWish.AUTO, commits=False, finds=True, rules=RULES)

    def test_accepted_means_to_wait_for_the_report(self):
        decision = asked(AskAnswer.ACCEPTED)
        assert decision is not None
        assert decision.verdict is ProofVerdict.AWAIT
        assert decision.at == T0 + RULES.report_within

    def test_not_offered_means_c_find_or_failure(self):
        assert asked(AskAnswer.NOT_OFFERED) is None
        decision = asked(AskAnswer.NOT_OFFERED, ProofWish.REQUIRE)
        assert decision is not None
        assert decision.verdict is ProofVerdict.FAIL
        assert decision.text == "the destination does not offer storage commitment (why)"

    @pytest.mark.parametrize("answer", [AskAnswer.REFUSED, AskAnswer.NO_ANSWER])
    @pytest.mark.parametrize("wish", [ProofWish.AUTO, ProofWish.REQUIRE])
    def test_trouble_is_waited_out_until_patience_ends(self, answer: AskAnswer, wish: ProofWish):
        over = T0 + RULES.give_up_after
        late = asked(answer, wish, now=over - TICK)
        assert late is not None
        assert (late.verdict, late.at) == (ProofVerdict.LATER, over - TICK + RULES.delay)
        ended = asked(answer, wish, now=over)
        assert ended is not None
        assert ended.verdict is ProofVerdict.FAIL

    def test_delays_double_up_to_the_longest(self):
        decisions = [
            asked(AskAnswer.NO_ANSWER, proof=replace(PROOF, tries=tries)) for tries in (1, 2, 3, 99)
        ]
        delays = [(d.at - T0).total_seconds() for d in decisions if d is not None and d.at]
        assert delays == [5, 10, 20, 900]


class TestFinding:
    def test_what_is_named_is_verified_whatever_else_happened(self):
        for answer in FindAnswer:
            outcome = FindOutcome(answer, frozenset({"1.2.3"}))
            assert found(outcome).verdict is ProofVerdict.VERIFIED

    def test_an_object_that_is_not_named_is_looked_for_three_times(self):
        verdicts = [found(MISSING, replace(PROOF, tries=tries)).verdict for tries in (1, 2, 3)]
        assert verdicts == [ProofVerdict.LATER, ProofVerdict.LATER, ProofVerdict.DELIVER_AGAIN]

    def test_one_that_is_never_named_fails_in_the_end(self):
        decision = found(MISSING, replace(PROOF, tries=3, failures=RULES.most_failures))
        assert decision.verdict is ProofVerdict.FAIL
        assert decision.text == "C-FIND does not name it; delivered 4 times"

    def test_who_offers_neither_proves_nothing(self):
        neither = FindOutcome(FindAnswer.NOT_OFFERED)
        assert found(neither).verdict is ProofVerdict.UNPROVABLE
        assert found(neither, commits=True).verdict is ProofVerdict.LATER
        late = found(neither, commits=True, now=T0 + RULES.give_up_after)
        assert late.verdict is ProofVerdict.UNPROVABLE

    def test_no_answer_is_waited_out_until_patience_ends(self):
        silent = FindOutcome(FindAnswer.NO_ANSWER, detail="aborted")
        assert found(silent).verdict is ProofVerdict.LATER
        assert found(silent, now=T0 + RULES.give_up_after).verdict is ProofVerdict.FAIL

    @given(
        st.sampled_from(FindAnswer),
        st.booleans(),
        st.booleans(),
        st.integers(1, 9),
        st.integers(0, 9),
        st.integers(0, 100),
    )
    def test_only_what_is_named_is_ever_called_verified(
        self, answer: FindAnswer, held: bool, commits: bool, tries: int, failures: int, hours: int
    ):
        outcome = FindOutcome(answer, frozenset({"1.2.3"} if held else {"1.2.4"}))
        proof = replace(PROOF, tries=tries, failures=failures)
        decision = found(outcome, proof, commits=commits, now=T0 + timedelta(hours=hours))
        assert (decision.verdict is ProofVerdict.VERIFIED) == held
        assert decision.verdict is not ProofVerdict.COMMITTED


IMAGE = KeptImage("1.2.3", "1.1", "images/1", 10)


class TestReporting:
    def test_only_a_whole_image_of_the_same_class_is_committed(self):
        kept = {image.sop_instance_uid: image for image in (IMAGE, replace(IMAGE, path="half"))}
        kept["1.2.4"] = replace(IMAGE, sop_instance_uid="1.2.4", path="half")
        kept["1.2.3"] = IMAGE
        items = [
            CommitmentItem("1.1", "1.2.3"),
            CommitmentItem("1.1", "1.2.4"),
            CommitmentItem("1.1", "1.2.5"),
        ]
        report = report_on("9.1", items, kept, lambda image: image.path != "half")
        assert report.committed == ("1.2.3",)
        assert report.failed == {"1.2.4": NO_SUCH_INSTANCE, "1.2.5": NO_SUCH_INSTANCE}

    def test_an_object_named_twice_is_reported_once_and_for_the_worse(self):
        items = [CommitmentItem("1.1", "1.2.3"), CommitmentItem("1.8", "1.2.3")]
        kept = {"1.2.3": IMAGE}
        for order in (items, items[::-1]):
            report = report_on("9.1", order, kept, lambda _image: True)
            assert (report.committed, dict(report.failed)) == (
                (),
                {"1.2.3": CLASS_INSTANCE_CONFLICT},
            )
        report = report_on("9.1", [items[0], items[0]], kept, lambda _image: True)
        assert report.committed == ("1.2.3",)

    @given(st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("3456"))))
    def test_every_object_gets_exactly_one_answer(self, named: list[tuple[str, str]]):
        items = [CommitmentItem(sop_class, uid) for sop_class, uid in named]
        kept = {uid: KeptImage(uid, "1", uid, 1) for uid in "345"}
        report = report_on("9.1", items, kept, lambda image: image.path != "5")
        answered = [*report.committed, *report.failed]
        assert sorted(answered) == sorted({uid for _, uid in named})
