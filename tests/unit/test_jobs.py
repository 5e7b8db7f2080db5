"""The states, the decisions and the names of the core, as pure values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.exam import (
    CompletedBy,
    ExamImage,
    ExamRules,
    ImageState,
    completed_by,
    superseded_by_presentation,
)
from cadnode.core.jobs import (
    ANALYSIS_LANE,
    FINISHED,
    MOVES,
    DeliveryStatus,
    ExamStatus,
    status_after_deliveries,
)
from cadnode.core.mammogram import Intent, Laterality
from cadnode.core.retry import (
    RetryRules,
    SendCause,
    SendOutcome,
    Verdict,
    backoff,
    decide,
    is_permanent,
    is_success,
)
from cadnode.core.uids import derive_uid

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
S = ExamStatus
D = DeliveryStatus


class TestMoves:
    def test_every_status_has_its_line_in_the_table(self):
        assert set(MOVES) == set(ExamStatus)

    def test_the_way_of_an_exam_that_goes_well(self):
        way = [S.RECEIVING, S.ANALYZED, S.REPORTED, S.DELIVERED, S.COMMITTED, S.PURGED]
        assert all(after in MOVES[before] for before, after in pairwise(way))

    def test_every_status_is_reached_from_receiving(self):
        reached, new = {S.RECEIVING}, {S.RECEIVING}
        while new:
            new = {to for status in new for to in MOVES[status]} - reached
            reached |= new
        assert reached == set(ExamStatus)

    def test_every_status_comes_to_an_end(self):
        ending = {S.PURGED}
        for _ in ExamStatus:
            ending |= {status for status in ExamStatus if MOVES[status] & ending}
        assert ending == set(ExamStatus)

    def test_nothing_leads_out_of_purged(self):
        assert not MOVES[S.PURGED]

    def test_only_what_is_finished_is_purged(self):
        assert {status for status in ExamStatus if S.PURGED in MOVES[status]} < FINISHED

    def test_a_finished_exam_never_goes_back_to_work(self):
        # What was sent may have to be sent again, never to be analyzed again.
        sent = {S.DELIVERED, S.COMMITTED}
        for status in FINISHED:
            assert MOVES[status] <= FINISHED | ({S.REPORTED} if status in sent else set())

    def test_all_that_is_not_finished_can_be_given_up(self):
        for status in set(ExamStatus) - FINISHED:
            assert S.CANCELLED in MOVES[status]

    def test_a_failed_exam_goes_back_exactly_to_where_exams_fail(self):
        failing = {status for status in ExamStatus if S.FAILED in MOVES[status]}
        assert MOVES[S.FAILED] - {S.CANCELLED, S.SUPERSEDED} == failing

    def test_the_analysis_lane_holds_nothing_finished(self):
        assert not ANALYSIS_LANE & FINISHED


class TestDeliveries:
    @pytest.mark.parametrize("others", [set(), {D.DELIVERED}, {D.FAILED}, {D.FAILED, D.CANCELLED}])
    def test_while_one_is_pending_the_exam_stays(self, others: set[DeliveryStatus]):
        assert status_after_deliveries({D.PENDING, *others}) is None

    def test_one_failure_fails_the_exam_when_all_have_ended(self):
        assert status_after_deliveries([D.DELIVERED, D.FAILED]) is S.FAILED

    @pytest.mark.parametrize(
        "ended", [[], [D.DELIVERED], [D.DELIVERED, D.SUPERSEDED], [D.DELIVERED, D.CANCELLED]]
    )
    def test_without_a_failure_it_is_delivered(self, ended: list[DeliveryStatus]):
        assert status_after_deliveries(ended) is S.DELIVERED

    def test_what_nobody_got_is_not_called_delivered(self):
        assert status_after_deliveries([D.SUPERSEDED, D.CANCELLED]) is S.SUPERSEDED
        assert status_after_deliveries([D.CANCELLED]) is S.CANCELLED

    @given(st.lists(st.sampled_from(DeliveryStatus)))
    def test_neither_order_nor_number_matters(self, statuses: list[DeliveryStatus]):
        expected = status_after_deliveries(statuses)
        assert status_after_deliveries(reversed(statuses * 2)) is expected
        assert expected in (None, S.DELIVERED, S.FAILED, S.SUPERSEDED, S.CANCELLED)


RULES = ExamRules(frozenset({"RCC", "LCC", "RMLO", "LMLO"}), quiet_seconds=60)


def image(
    view_name: str = "RCC",
    *,
    number: int = 1,
    state: ImageState = ImageState.ANALYZED,
    intent: Intent | None = Intent.PRESENTATION,
    source_uids: tuple[str, ...] = (),
) -> ExamImage:
    return ExamImage(
        id=number,
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.1",
        series_instance_uid="1.3",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path="images/1",
        size=1,
        sha256="a",
        revision=1,
        received_at=T0,
        calling_ae="MODALITY",
        state=state,
        laterality=Laterality(view_name[0]),
        view=view_name[1:],
        intent=intent,
        source_uids=source_uids,
    )


def four_views() -> list[ExamImage]:
    return [image(name, number=n) for n, name in enumerate(sorted(RULES.expected_views))]


def complete(
    images: list[ExamImage], seconds: float = 0, rules: ExamRules = RULES
) -> CompletedBy | None:
    now = T0 + timedelta(seconds=seconds)
    return completed_by(images, rules, last_image_at=T0, now=now)


class TestCompleteness:
    def test_four_analyzed_views_complete_an_exam_at_once(self):
        assert complete(four_views()) is CompletedBy.VIEWS

    def test_three_views_wait_for_the_quiet_time_and_not_a_tick_longer(self):
        views = four_views()[:3]
        last = 60 - TICK.total_seconds()
        assert complete(views, last) is None
        assert complete(views, 60) is CompletedBy.QUIET

    def test_a_failed_view_counts_as_there(self):
        views = four_views()
        views[0] = image("LCC", state=ImageState.FAILED)
        assert complete(views) is CompletedBy.VIEWS

    def test_a_view_set_aside_does_not_count(self):
        views = four_views()
        views[0] = image("LCC", state=ImageState.SET_ASIDE)
        assert complete(views) is None

    def test_a_fifth_image_not_looked_at_yet_holds_the_exam_open(self):
        fifth = image("RCC", number=5, state=ImageState.RECEIVED, intent=None)
        assert complete([*four_views(), fifth]) is None
        assert complete([*four_views(), fifth], 60) is CompletedBy.QUIET

    def test_a_held_for_processing_image_does_not_hold_the_exam_open(self):
        held = image("RCC", number=5, state=ImageState.RECEIVED, intent=Intent.PROCESSING)
        assert complete([*four_views(), held]) is CompletedBy.VIEWS

    def test_for_processing_views_complete_only_by_the_quiet_time(self):
        views = four_views()
        views[0] = image("LCC", intent=Intent.PROCESSING)
        assert complete(views) is None
        assert complete(views, 60) is CompletedBy.QUIET

    def test_without_expected_views_only_the_quiet_time_counts(self):
        rules = ExamRules(frozenset(), quiet_seconds=60)
        assert complete(four_views(), rules=rules) is None
        assert complete(four_views(), 60, rules) is CompletedBy.QUIET

    def test_an_image_that_does_not_say_what_it_is_has_a_question_mark(self):
        unknown = ExamImage(1, "1.2.1", "1.1", "1.3", "1.2", "images/1", 1, "a", 1, T0, "MODALITY")
        assert unknown.view_name == "??"


class TestForProcessing:
    raw = image("RCC", number=1, state=ImageState.RECEIVED, intent=Intent.PROCESSING)

    def test_it_gives_way_to_the_presentation_made_from_it(self):
        made = image("RCC", number=2, source_uids=(self.raw.sop_instance_uid,))
        assert superseded_by_presentation(self.raw, [self.raw, made])

    def test_it_gives_way_to_the_same_view_when_nobody_names_a_source(self):
        assert superseded_by_presentation(self.raw, [self.raw, image("RCC", number=2)])

    @pytest.mark.parametrize(
        "other",
        [
            image("RCC", number=2, source_uids=("1.2.99",)),
            image("LCC", number=2),
            image("RCC", number=2, state=ImageState.FAILED),
            image("RCC", number=2, intent=Intent.PROCESSING),
        ],
        ids=["another source", "another view", "a failed one", "another raw one"],
    )
    def test_it_does_not_give_way_to(self, other: ExamImage):
        assert not superseded_by_presentation(self.raw, [self.raw, other])

    def test_a_presentation_image_never_gives_way(self):
        shown = image("RCC", number=1)
        assert not superseded_by_presentation(shown, [shown, image("RCC", number=2)])


PATIENCE = RetryRules()


def verdict(
    cause: SendCause, status: int | None = None, after: timedelta = timedelta(0)
) -> tuple[Verdict, str | None]:
    decision = decide(
        SendOutcome("1.2.3", cause, status),
        tries=1,
        first_try_at=T0,
        now=T0 + after,
        jitter=0.5,
        rules=PATIENCE,
    )
    return decision.verdict, decision.code


class TestRetry:
    @pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0xBFFF, 0x0107, 0x0116])
    def test_success_and_warnings_mean_stored(self, status: int):
        assert verdict(SendCause.ANSWERED, status) == (Verdict.DONE, None)

    def test_an_object_that_lies_there_already_is_delivered(self):
        assert verdict(SendCause.ANSWERED, 0x0111) == (Verdict.DONE, None)

    def test_an_error_nobody_planned_for_is_tried_again_until_the_give_up_time(self):
        assert verdict(SendCause.BROKE_OFF) == (Verdict.RETRY, "E000")
        after = PATIENCE.give_up_after
        assert verdict(SendCause.BROKE_OFF, after=after) == (Verdict.GIVE_UP, "E603")

    @pytest.mark.parametrize("status", [0x0122, 0xA900, 0xA9FF, 0xC000, 0xC211, 0xCFFF])
    def test_a_refusal_of_this_object_is_final(self, status: int):
        assert verdict(SendCause.ANSWERED, status) == (Verdict.GIVE_UP, "E602")

    @pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0124, 0xA8FF, 0xAA00, 0xD000])
    def test_other_failures_are_tried_again(self, status: int):
        assert verdict(SendCause.ANSWERED, status) == (Verdict.RETRY, "E601")

    def test_a_kind_of_object_that_is_not_accepted_is_not_sent_again(self):
        assert verdict(SendCause.CONTEXT_REJECTED) == (Verdict.GIVE_UP, "E602")

    def test_a_result_file_that_is_gone_is_not_looked_for_again(self):
        assert verdict(SendCause.FILE_LOST) == (Verdict.GIVE_UP, "E703")

    @pytest.mark.parametrize(
        "cause",
        [
            SendCause.UNREACHABLE,
            SendCause.ABORTED,
            SendCause.NO_ANSWER,
            SendCause.REJECTED_FOR_NOW,
            SendCause.REJECTED_PERMANENTLY,
        ],
    )
    def test_a_broken_line_is_tried_again_until_patience_ends(self, cause: SendCause):
        assert verdict(cause, after=PATIENCE.give_up_after - TICK) == (Verdict.RETRY, "E601")
        assert verdict(cause, after=PATIENCE.give_up_after) == (Verdict.GIVE_UP, "E603")

    def test_a_stored_object_is_done_even_after_the_end_of_patience(self):
        late = 2 * PATIENCE.give_up_after
        assert verdict(SendCause.ANSWERED, 0x0000, late) == (Verdict.DONE, None)

    def test_the_text_names_the_status_and_the_detail(self):
        outcome = SendOutcome("1.2.3", SendCause.ANSWERED, 0xA700, "out of resources")
        decision = decide(outcome, tries=1, first_try_at=T0, now=T0, jitter=1.0, rules=PATIENCE)
        assert decision.text == "the destination answered 0xA700 (out of resources)"
        assert decision.retry_at == T0 + timedelta(seconds=1)

    @pytest.mark.parametrize(
        ("tries", "seconds"), [(1, 1), (2, 2), (3, 4), (10, 512), (11, 900), (5000, 900)]
    )
    def test_delays_double_up_to_the_longest(self, tries: int, seconds: int):
        assert backoff(tries, 1.0, PATIENCE) == timedelta(seconds=seconds)

    @given(st.integers(1, 10_000), st.floats(0, 1))
    def test_jitter_spreads_a_delay_over_its_upper_half(self, tries: int, jitter: float):
        whole = backoff(tries, 1.0, PATIENCE)
        assert whole / 2 <= backoff(tries, jitter, PATIENCE) <= whole <= PATIENCE.longest_delay

    @given(st.integers(0, 0xFFFF))
    def test_no_status_is_both_stored_and_refused(self, status: int):
        assert not (is_success(status) and is_permanent(status))


OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
ANSWERED = SendCause.ANSWERED
ROWS: dict[str, list[tuple[SendCause, int | None]]] = {
    "stored (0x0000)": [(ANSWERED, 0)],
    "stored with a warning (Bxxx, 0x0001, 0x0107, 0x0116)": [
        (ANSWERED, status) for status in (*range(0xB000, 0xC000), 0x0001, 0x0107, 0x0116)
    ],
    "it is there already (0x0111)": [(ANSWERED, 0x0111)],
    "its presentation context is rejected": [(SendCause.CONTEXT_REJECTED, None)],
    "its SOP class is not supported (0x0122)": [(ANSWERED, 0x0122)],
    "it does not match its SOP class (A9xx)": [(ANSWERED, s) for s in range(0xA900, 0xAA00)],
    "it cannot be understood (Cxxx)": [(ANSWERED, s) for s in range(0xC000, 0xD000)],
    "out of resources (A7xx)": [(ANSWERED, s) for s in range(0xA700, 0xA800)],
    "the association is rejected for now": [(SendCause.REJECTED_FOR_NOW, None)],
    "the association is rejected for good (AE title not known)": [
        (SendCause.REJECTED_PERMANENTLY, None)
    ],
    "no connection (refused, host name not found)": [(SendCause.UNREACHABLE, None)],
    "the association is aborted": [(SendCause.ABORTED, None)],
    "no answer in time": [(SendCause.NO_ANSWER, None), (ANSWERED, None)],
    "sending breaks off in this node": [(SendCause.BROKE_OFF, None)],
    "the stored result file is gone": [(SendCause.FILE_LOST, None)],
}
_SAID = {status for outcomes in ROWS.values() for cause, status in outcomes if cause is ANSWERED}
ROWS["any other failure status"] = [(ANSWERED, s) for s in range(0x10000) if s not in _SAID]
VERDICTS = {
    "has delivered it": Verdict.DONE,
    "gives up for this object and destination": Verdict.GIVE_UP,
    "tries again": Verdict.RETRY,
}


class TestTheTableInTheGuide:
    rows = re.findall(
        r"^\| ([^|]+) \| (" + "|".join(VERDICTS) + r") \| (E\d{3} )?\|$", OPERATIONS, re.MULTILINE
    )

    def test_it_has_every_cause_once(self):
        assert sorted(name for name, _, _ in self.rows) == sorted(ROWS)
        assert {cause for outcomes in ROWS.values() for cause, _ in outcomes} == set(SendCause)

    @pytest.mark.parametrize("name", ROWS)
    def test_each_row_says_what_is_decided(self, name: str):
        ((says, code),) = [(says, code) for row, says, code in self.rows if row == name]
        expected = (VERDICTS[says], code.strip() or None)
        assert {verdict(cause, status) for cause, status in ROWS[name]} == {expected}


class TestUids:
    @given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
    def test_a_derived_uid_is_a_valid_one_and_always_the_same(self, parts: list[str]):
        uid = derive_uid(*parts)
        root, arc, number = uid.split(".")
        assert (root, arc) == ("2", "25")
        assert number == str(int(number))
        assert len(uid) <= 64
        assert derive_uid(*parts) == uid

    def test_parts_do_not_run_together(self):
        pairs = list(product(["1", "12", "2", "23", "123", ""], repeat=2))
        assert len({derive_uid(*pair) for pair in pairs}) == len(pairs)

    def test_the_derivation_never_changes(self):
        assert derive_uid("cadnode") == "2.25.63807536398492180632491740213614293314"
