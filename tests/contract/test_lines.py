"""What every ExamStore knows of the line to a destination."""

from __future__ import annotations

from datetime import datetime, timedelta

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus
from cadnode.core.jobs import ExamStatus
from cadnode.core.ports import ExamStore
from cadnode.core.retry import RetryRules
from tests.contract.exams import (
    DAY,
    LEASE,
    SECOND,
    T0,
    TICK,
    new_image,
    report,
    retry_at,
    sent,
    snapshot,
    statuses,
    take,
)

RULES = BreakerRules(delays=RetryRules(SECOND, 60 * SECOND))
PATIENCE = timedelta(hours=72)


def note(
    store: ExamStore, event: LineEvent, now: datetime = T0, destination: str = "A"
) -> LineStatus:
    return store.note_line(
        destination,
        event,
        error="no connection",
        jitter=1.0,
        rules=RULES,
        give_up_after=PATIENCE,
        now=now,
    )


def open_line(store: ExamStore, now: datetime = T0) -> None:
    for _ in range(RULES.open_after):
        note(store, LineEvent.SILENT, now)


class TestLines:
    def test_a_destination_never_in_trouble_has_a_closed_line(self, store: ExamStore):
        assert store.line("A") == LineStatus()
        assert not store.hold_probe("A", now=T0, lease=LEASE)

    def test_what_was_noted_comes_back(self, store: ExamStore):
        open_line(store)
        line = store.line("A")
        assert (line.state, line.failures, line.since) == (LineState.OPEN, 3, T0)
        assert (line.probe_at, line.error) == (T0 + SECOND, "no connection")
        assert store.line("B") == LineStatus()

    def test_one_caller_at_a_time_may_probe(self, store: ExamStore):
        open_line(store)
        assert not store.hold_probe("A", now=T0 + SECOND - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + SECOND + LEASE - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + SECOND + LEASE, lease=LEASE)

    def test_a_probe_that_takes_long_is_held_until_a_lease_after_its_last_renewal(
        self, store: ExamStore
    ):
        open_line(store)
        assert store.hold_probe("A", now=T0 + SECOND, lease=LEASE)
        store.renew_probe("A", now=T0 + LEASE, lease=LEASE)
        store.renew_probe("B", now=T0 + LEASE, lease=LEASE)
        assert not store.hold_probe("A", now=T0 + 2 * LEASE - TICK, lease=LEASE)
        assert store.hold_probe("A", now=T0 + 2 * LEASE, lease=LEASE)
        note(store, LineEvent.ECHOED)
        store.renew_probe("A", now=T0 + LEASE, lease=LEASE)
        assert store.line("A").probe_at is None

    def test_a_clock_that_was_put_back_does_not_hold_up_the_probe(self, store: ExamStore):
        open_line(store)
        assert store.hold_probe("A", now=T0 - timedelta(hours=1), lease=LEASE)

    def test_a_person_who_starts_an_exam_again_has_its_destination_asked_at_once(
        self, store: ExamStore
    ):
        store.accept(new_image(), now=T0)
        report(store, "A")
        open_line(store)
        assert not store.hold_probe("A", now=T0, lease=LEASE)
        store.retry(1, by="anna", now=T0)
        assert store.hold_probe("A", now=T0, lease=LEASE)

    def test_when_the_line_closes_what_waits_is_due_at_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A", "B")
        for name in ("A", "B"):
            delivery = take(store, name)
            store.record_delivery(delivery, sent(delivery, None), retry_at(T0 + DAY), now=T0)
        open_line(store)
        note(store, LineEvent.ECHOED, T0 + SECOND)
        assert take(store, "A", T0 + SECOND).tries == 2
        assert not store.claim_deliveries("B", "s1", now=T0 + SECOND, lease=LEASE, limit=9)

    def test_silence_starts_the_clock_of_what_waits_and_uses_up_no_try(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        open_line(store)
        report(store, "A")
        for hours in (1, 72):
            note(store, LineEvent.SILENT, T0 + timedelta(hours=hours))
            assert statuses(store) == ["reported"]
        assert [d[7:10] for d in snapshot(store)["deliveries"]] == [(0, 0, T0 + SECOND * 3600)]
        note(store, LineEvent.SILENT, T0 + timedelta(hours=73))
        assert statuses(store) == ["failed"]
        assert snapshot(store)["jobs"][0][11] == "E603"
        assert store.retry(1, by="anna", now=T0 + timedelta(hours=73)) is ExamStatus.REPORTED

    def test_what_is_on_its_way_is_not_given_up_by_a_probe(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        report(store, "A")
        take(store)
        store.renew_deliveries([], now=T0, lease=LEASE)
        for _ in range(RULES.open_after):
            store.note_line(
                "A",
                LineEvent.SILENT,
                error="",
                jitter=1.0,
                rules=RULES,
                give_up_after=timedelta(0),
                now=T0,
            )
        assert statuses(store) == ["reported"]
