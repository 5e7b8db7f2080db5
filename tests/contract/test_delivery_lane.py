"""What every ExamStore does for those who deliver, and with a destination that is dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cadnode.core.errors import LeaseLost
from cadnode.core.ports import ExamStore
from tests.contract.exams import (
    DAY,
    DONE,
    GONE,
    LEASE,
    SECOND,
    T0,
    TICK,
    close,
    delivery_statuses,
    kinds,
    new_image,
    report,
    result,
    retry_at,
    sent,
    snapshot,
    statuses,
    take,
)


class TestDelivering:
    def test_each_destination_gets_the_kinds_it_wants(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        exam = close(store)
        cad, twin = result(exam.id), result(exam.id, "tid1500-sr")
        wanted = {"A": [cad.kind, twin.kind], "B": [twin.kind], "C": ["gsps"]}
        store.record_results(exam, [cad, twin], wanted, now=T0)
        to_a = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        to_b = store.claim_deliveries("B", "s1", now=T0, lease=LEASE, limit=9)
        assert [delivery.result for delivery in to_a] == [cad, twin]
        assert [delivery.result for delivery in to_b] == [twin]
        assert {(d.exam_id, d.tries, d.first_try_at) for d in (*to_a, *to_b)} == {(exam.id, 1, T0)}
        assert not store.claim_deliveries("C", "s1", now=T0, lease=LEASE, limit=9)

    def test_a_kind_of_several_objects_is_delivered_when_the_last_of_them_is(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        exam = close(store)
        views = [
            replace(
                result(exam.id, "gsps"),
                sop_instance_uid=f"2.25.{view}",
                path=f"results/2.25.{view}",
            )
            for view in (1, 2, 3, 4)
        ]
        store.record_results(exam, views, {"A": ["gsps"]}, now=T0)
        due = store.claim_deliveries("A", "s1", now=T0, lease=LEASE, limit=9)
        assert [delivery.result for delivery in due] == views
        for delivery in due:
            assert statuses(store) == ["reported"]
            store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert statuses(store) == ["delivered"]

    def test_with_nothing_to_deliver_the_exam_is_delivered_at_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store)
        assert statuses(store) == ["delivered"]
        assert kinds(store)[-2:] == ["reported", "delivered"]

    def test_the_exam_is_delivered_with_its_last_delivery(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        first = take(store, "A")
        store.record_delivery(first, sent(first), DONE, now=T0)
        assert statuses(store) == ["reported"]
        second = take(store, "B")
        store.record_delivery(second, sent(second, 0xB000), DONE, now=T0)
        assert statuses(store) == ["delivered"]
        assert [d[10] for d in snapshot(store)["deliveries"]] == [0, 0xB000]

    def test_a_refused_delivery_fails_the_exam_but_not_before_the_others_end(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        refused = take(store, "A")
        store.record_delivery(refused, sent(refused, 0xC000), GONE, now=T0)
        assert statuses(store) == ["reported"]
        other = take(store, "B")
        store.record_delivery(other, sent(other), DONE, now=T0)
        job = snapshot(store)["jobs"][0]
        assert job[3] == "failed"
        assert job[10:13] == ("reported", "E602", f"delivery to A: {GONE.text}")

    def test_a_delivery_is_tried_again_when_it_is_due_and_keeps_its_first_try(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        first, later = take(store), T0 + SECOND
        store.record_delivery(first, sent(first, None), retry_at(later), now=T0)
        assert not store.claim_deliveries("A", "s1", now=later - TICK, lease=LEASE, limit=9)
        second = take(store, now=later)
        assert (second.tries, second.first_try_at) == (2, T0)

    def test_the_same_trouble_again_leaves_one_event_until_its_cause_changes(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        texts = ["no connection", "no connection", "no answer", "no answer"]
        for text in texts:
            delivery = take(store)
            store.record_delivery(delivery, sent(delivery, None), retry_at(T0, text), now=T0)
        assert kinds(store).count("delivery-retry") == 2
        delivery = take(store)
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert kinds(store)[-2:] == ["delivery-done", "delivered"]

    def test_a_lost_delivery_cannot_be_recorded_nor_renewed(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        lost = take(store)
        assert not store.claim_deliveries("A", "s2", now=T0 + LEASE - TICK, lease=LEASE, limit=9)
        take(store, now=T0 + LEASE, owner="s2")
        before = snapshot(store)
        with pytest.raises(LeaseLost):
            store.record_delivery(lost, sent(lost), DONE, now=T0 + LEASE)
        with pytest.raises(LeaseLost):
            store.renew_deliveries([lost], now=T0 + LEASE, lease=LEASE)
        store.release_deliveries([lost], now=T0 + LEASE)
        assert snapshot(store) == before

    def test_a_renewed_delivery_stays_with_its_sender(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        store.renew_deliveries([take(store)], now=T0 + 50 * SECOND, lease=LEASE)
        due = T0 + 110 * SECOND
        assert not store.claim_deliveries("A", "s2", now=due - TICK, lease=LEASE, limit=9)
        assert store.claim_deliveries("A", "s2", now=due, lease=LEASE, limit=9)

    def test_a_delivery_handed_back_counts_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        store.release_deliveries([take(store)], now=T0 + SECOND)
        again = take(store, now=T0 + SECOND)
        assert (again.tries, again.first_try_at) == (1, T0 + SECOND)

    def test_no_more_than_the_limit_are_claimed_and_the_oldest_first(self, store: ExamStore):
        for number in (1, 2, 3):
            store.accept(new_image(1, f"1.{number}"), now=T0)
            report(store, "A", now=T0 + number * SECOND)
        claimed = store.claim_deliveries("A", "s1", now=T0 + DAY, lease=LEASE, limit=2)
        assert [delivery.exam_id for delivery in claimed] == [1, 2]


class TestDroppedDestinations:
    def test_what_waits_there_is_cancelled_and_the_exam_moves_on(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        delivery = take(store, "A")
        store.record_delivery(delivery, sent(delivery), DONE, now=T0)
        assert store.drop_destination("B", why="replaced", by="anna", now=T0) == 1
        assert delivery_statuses(store) == ["delivered", "cancelled"]
        assert statuses(store) == ["delivered"]
        assert store.drop_destination("B", why="replaced", by="anna", now=T0) == 0

    def test_an_exam_that_nobody_got_is_not_called_delivered(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        on_its_way = take(store)
        store.drop_destination("A", why="gone", by="anna", now=T0)
        assert statuses(store) == ["cancelled"]
        with pytest.raises(LeaseLost):
            store.record_delivery(on_its_way, sent(on_its_way), DONE, now=T0)

    def test_a_failure_there_waits_for_nobody_any_more(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name, decision in (("A", GONE), ("B", DONE)):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery), decision, now=T0)
        assert statuses(store) == ["failed"]
        store.drop_destination("A", why="gone", by="anna", now=T0)
        assert statuses(store) == ["delivered"]
