"""The lane to one destination: what it does when nobody answers there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadnode.core.breaker import LineState
from cadnode.core.errors import LeaseLost
from cadnode.core.ports import PeerCheck
from cadnode.core.retry import SendCause
from cadnode.worker import DeliveryLane
from tests.unit.bench import LEASE, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lane_of(bench: Bench, destination: str = "pacs", owner: str = "w") -> DeliveryLane:
    return DeliveryLane(
        destination,
        bench.store,
        bench.pipeline,
        owner=owner,
        lease=LEASE,
        clock=lambda: bench.now,
        jitter=lambda: 1.0,
    )


def exam(bench: Bench, number: int = 1) -> None:
    """A reported exam of its own."""
    bench.send(f"image {number}", "RCC", study_instance_uid=f"1.2.{number}")
    bench.wait(60)
    bench.analyze()


def go_silent(bench: Bench, lane: DeliveryLane) -> None:
    """The destination stops answering, until its line is open."""
    bench.senders["pacs"].trouble = SendCause.UNREACHABLE
    for _ in range(3):
        assert lane.run_once()
        bench.wait(4)
    assert bench.store.line("pacs").state is LineState.OPEN


def tries(bench: Bench) -> list[int]:
    return [delivery.tries for delivery in bench.store.deliveries.values()]


def test_a_destination_that_answers_costs_no_note(bench):
    exam(bench)
    assert lane_of(bench).run_once()
    assert bench.store.lines == {}


def test_after_three_silent_associations_nothing_more_is_claimed(bench):
    exam(bench)
    lane = lane_of(bench)
    go_silent(bench, lane)
    exam(bench, 2)
    calls = len(bench.senders["pacs"].calls)
    for _ in range(100):
        lane.run_once()
        bench.wait(1)
    assert len(bench.senders["pacs"].calls) == calls
    assert tries(bench) == [3, 0]


def test_probes_are_asked_one_at_a_time_by_any_number_of_workers(bench, monkeypatch):
    exam(bench)
    lanes = [lane_of(bench), lane_of(bench, owner="w2")]
    go_silent(bench, lanes[0])
    asked = []

    def ask(_classes):
        asked.append(bench.now)
        assert not lanes[1].run_once(), "a second probe while the first one runs"
        return PeerCheck(False, {}, "no connection")

    monkeypatch.setattr(bench.senders["pacs"], "check", ask)
    assert lanes[0].run_once()
    assert len(asked) == 1
    assert not any(lane.run_once() for lane in lanes)


def test_a_probe_is_held_while_it_runs_and_asked_again_soon_when_its_worker_dies(
    bench, monkeypatch
):
    exam(bench)
    lane = lane_of(bench)
    go_silent(bench, lane)

    def die(_classes):
        raise SystemExit

    monkeypatch.setattr(bench.senders["pacs"], "check", die)
    with pytest.raises(SystemExit):
        lane.run_once()
    monkeypatch.undo()
    bench.senders["pacs"].trouble = None
    assert not lane.run_once()
    bench.wait(LEASE.total_seconds())
    assert lane.run_once()
    assert bench.store.line("pacs").state is LineState.CLOSED


def test_when_the_probe_is_answered_everything_goes_out_at_once(bench):
    exam(bench)
    lane = lane_of(bench)
    go_silent(bench, lane)
    exam(bench, 2)
    bench.senders["pacs"].trouble = None
    bench.wait(60)
    assert lane.run_once()
    assert lane.run_once()
    assert bench.statuses() == ["delivered", "delivered"]
    line = bench.store.line("pacs")
    assert (line.state, line.failures, line.probes) == (LineState.CLOSED, 0, 0)


def test_one_more_silent_association_opens_a_line_on_trial(bench):
    exam(bench)
    lane = lane_of(bench)
    go_silent(bench, lane)
    bench.wait(60)
    sender = bench.senders["pacs"]
    sender.trouble = None
    assert lane.run_once()
    assert bench.store.line("pacs").state is LineState.CLOSED
    sender.trouble = SendCause.ABORTED
    assert lane.run_once()
    assert bench.store.line("pacs").state is LineState.OPEN


def test_an_object_that_is_refused_says_nothing_against_its_destination(bench):
    lane = lane_of(bench)
    bench.senders["pacs"].refused_classes = frozenset({"1.2.88.50"})
    for number in range(5):
        exam(bench, number)
        lane.run_once()
    assert bench.store.line("pacs").state is LineState.CLOSED
    assert set(bench.statuses()) == {"failed"}


def test_a_destination_that_stays_away_ends_in_a_failure_that_a_person_sees(bench):
    lane = lane_of(bench)
    exam(bench)
    go_silent(bench, lane)
    exam(bench, 2)
    for _ in range(71):
        bench.wait(3600)
        lane.run_once()
    assert bench.statuses() == ["reported", "reported"]
    for _ in range(3):
        bench.wait(3600)
        lane.run_once()
    assert bench.statuses() == ["failed", "failed"]
    assert {delivery.code for delivery in bench.store.deliveries.values()} == {"E603"}


def test_one_lost_lease_leaves_the_others_renewed(bench):
    for number in (1, 2):
        exam(bench, number)
    held = bench.store.claim_deliveries("pacs", "w", now=bench.now, lease=LEASE, limit=9)
    bench.store.cancel(held[0].exam_id, why="a test", by="anna", now=bench.now)
    bench.wait(30)
    bench.store.renew_deliveries(held, now=bench.now, lease=LEASE)
    assert bench.store.deliveries[held[1].id].until == bench.now + LEASE
    bench.store.cancel(held[1].exam_id, why="a test", by="anna", now=bench.now)
    with pytest.raises(LeaseLost):
        bench.store.renew_deliveries(held, now=bench.now, lease=LEASE)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["exam", "run", "run", "run", "down", "up", "wait"]),
            st.sampled_from([SendCause.UNREACHABLE, SendCause.NO_ANSWER, SendCause.ABORTED]),
        ),
        max_size=30,
    )
)
def test_whatever_the_destination_does_all_is_delivered_once_it_answers(tmp_path, steps):
    bench = Bench(tmp_path)
    lane, sender, exams = lane_of(bench), bench.senders["pacs"], 0
    for step, cause in steps:
        match step:
            case "exam":
                exams += 1
                exam(bench, exams)
            case "run":
                lane.run_once()
            case "down":
                sender.trouble = cause
            case "up":
                sender.trouble = None
            case "wait":
                bench.wait(20)
    sender.trouble = None
    begun = bench.now
    while set(bench.statuses()) - {"delivered"}:
        bench.wait(1)
        lane.run_once()
        assert bench.now - begun <= timedelta(seconds=65), "a probe comes at least once a minute"
    assert len(sender.held) == exams
