"""What every ExamStore does with the results of earlier revisions."""

from __future__ import annotations

import pytest

from cadnode.core.errors import IllegalMove, LeaseLost, StaleExam
from cadnode.core.jobs import ExamStatus
from cadnode.core.ports import ExamStore
from cadnode.core.retry import Decision
from tests.contract.exams import (
    DAY,
    DONE,
    GONE,
    LEASE,
    SECOND,
    T0,
    claim,
    close,
    current_sets,
    delivery_statuses,
    new_image,
    record,
    report,
    result,
    retry_at,
    sent,
    snapshot,
    statuses,
    take,
)


class TestSuperseding:
    def test_a_first_revision_has_no_predecessor(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        assert tuple(store.predecessors(close(store))) == ()

    def test_what_was_never_sent_is_withdrawn_and_not_named(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A", "B")
        store.accept(new_image(2), now=T0)
        second = close(store)
        assert tuple(store.predecessors(second)) == ()
        record(store, second, "A")
        assert delivery_statuses(store) == ["superseded", "superseded", "pending"]
        assert statuses(store) == ["superseded", "reported"]
        assert current_sets(store) == [second.id]
        assert take(store, "A", now=T0 + DAY).exam_id == second.id

    def test_until_the_newer_revision_is_reported_the_older_one_is_delivered(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        store.predecessors(second)
        store.move_exam(second, ExamStatus.FAILED, text="No object could be built.", now=T0)
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered", "failed"]
        assert current_sets(store) == [1]

    def test_what_was_sent_anywhere_is_named_and_its_rest_withdrawn(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = report(store, "A", "B")
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        store.accept(new_image(2), now=T0)
        second = close(store)
        (named,) = store.predecessors(second)
        assert named.sop_instance_uid == result(first.id).sop_instance_uid
        assert named.study_instance_uid == "1.2.3"
        record(store, second, "A", "B")
        assert statuses(store) == ["delivered", "reported"]
        assert current_sets(store) == [second.id]

    def test_what_is_on_its_way_is_named_and_may_still_end_well(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        assert len(store.predecessors(second)) == 1
        record(store, second)
        assert statuses(store) == ["reported", "delivered"]
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered", "delivered"]

    @pytest.mark.parametrize("decision", [GONE, retry_at(T0 + SECOND)])
    def test_what_was_on_its_way_and_did_not_arrive_is_not_sent_after_the_newer_one(
        self, store: ExamStore, decision: Decision
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        report(store)
        store.record_delivery(delivery, sent(delivery, None), decision, now=T0)
        assert statuses(store) == ["superseded", "delivered"]
        assert not store.claim_deliveries("A", "s1", now=T0 + DAY, lease=LEASE, limit=9)

    @pytest.mark.parametrize("handed_back", [True, False], ids=["handed back", "sender died"])
    def test_a_superseded_delivery_that_nobody_holds_any_more_is_not_claimed_again(
        self, store: ExamStore, handed_back: bool
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        delivery = take(store, "A")
        store.accept(new_image(2), now=T0)
        report(store)
        if handed_back:
            store.release_deliveries([delivery], now=T0)
        assert not store.claim_deliveries("A", "s2", now=T0 + LEASE, lease=LEASE, limit=9)
        assert statuses(store) == ["superseded", "delivered"]

    def test_a_result_that_names_too_few_predecessors_is_built_again(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0)
        second = close(store)
        named = store.predecessors(second)
        take(store, "A")
        before = snapshot(store)
        with pytest.raises(StaleExam):
            store.record_results(second, [result(2)], {}, predecessors=named, now=T0)
        assert snapshot(store) == before
        record(store, second)
        assert current_sets(store) == [second.id]

    def test_only_the_newest_set_that_was_sent_is_named(self, store: ExamStore):
        for number in (1, 2):
            store.accept(new_image(number), now=T0)
            report(store, "A")
            delivery = take(store)
            store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        store.accept(new_image(3), now=T0)
        (named,) = store.predecessors(close(store))
        assert named.sop_instance_uid == result(2).sop_instance_uid

    def test_an_earlier_revision_closed_but_not_reported_never_reports(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        first = close(store)
        store.accept(new_image(2), now=T0)
        report(store)
        with pytest.raises(LeaseLost):
            store.record_results(first, [result(1)], {"A": ["mammography-cad-sr"]}, now=T0)
        assert statuses(store) == ["superseded", "delivered"]

    def test_an_earlier_revision_that_failed_waits_for_nobody_any_more(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        store.accept(new_image(2), now=T0)
        report(store)
        assert statuses(store) == ["superseded", "delivered"]
        with pytest.raises(IllegalMove):
            store.retry(1, by="anna", now=T0)

    @pytest.mark.parametrize(("at_b", "end"), [(DONE, "delivered"), (GONE, "superseded")])
    def test_an_earlier_delivery_that_failed_waits_for_nobody_any_more(
        self, store: ExamStore, at_b: Decision, end: str
    ):
        store.accept(new_image(1), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", at_b)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        store.accept(new_image(2), now=T0)
        report(store)
        assert statuses(store) == [end, "delivered"]
        assert snapshot(store)["jobs"][0][10:13] == (None, None, None)
