"""Lanes: what is done with a step that goes well, badly, or is interrupted."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from cadnode import worker
from cadnode.core.errors import (
    DatabaseUnavailable,
    ImageUnreachable,
    LeaseLost,
    ModelUnfit,
    ResultInvalid,
    SpoolFull,
    unexpected,
)
from cadnode.core.retry import RetryRules
from cadnode.worker import UNFIT_PAUSE, AnalysisLane, DeliveryLane, run_lane
from tests.contract.fake_classifier import FakeClassifier
from tests.unit.bench import LEASE, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lane_of(bench: Bench, stopping: threading.Event | None = None) -> AnalysisLane:
    return AnalysisLane(
        bench.store,
        bench.pipeline,
        owner="worker",
        lease=LEASE,
        retry=RetryRules(),
        clock=lambda: bench.now,
        stopping=stopping or threading.Event(),
    )


def job_of(bench: Bench):
    (job,) = bench.store.jobs.values()
    return job


def test_a_lane_says_whether_there_was_work(bench):
    lane = lane_of(bench)
    assert lane.run_once() is False
    bench.send_four()
    assert lane.run_once() is True


def test_a_lane_takes_an_exam_from_first_image_to_delivery(bench):
    bench.send_four()
    lane = lane_of(bench)
    while lane.run_once():
        pass
    delivery = DeliveryLane(
        "pacs", bench.store, bench.pipeline, owner="w", lease=LEASE, clock=lambda: bench.now
    )
    assert delivery.run_once() is True
    assert delivery.run_once() is False
    assert bench.statuses() == ["delivered"]


def test_a_stop_hands_the_exam_back_at_once_and_counts_no_try(bench):
    bench.send_four()
    stopping = threading.Event()
    stopping.set()
    lane_of(bench, stopping).run_once()
    assert job_of(bench).owner is None
    assert job_of(bench).tries == 0
    assert bench.claim() is not None


def test_a_problem_nobody_planned_for_is_tried_again_later_without_its_message(bench, monkeypatch):
    def explode(*_args):
        raise RuntimeError("Test^Patient")

    monkeypatch.setattr(bench.pipeline, "advance", explode)
    bench.send_four()
    lane_of(bench).run_once()
    assert job_of(bench).problem.code == "E000"
    assert "Patient" not in job_of(bench).problem.text
    assert bench.claim() is None
    bench.wait(1)
    assert bench.claim() is not None


def test_a_step_that_keeps_failing_waits_longer_each_time_and_then_for_a_person(bench, monkeypatch):
    advance = bench.pipeline.advance

    def explode(exam, pulse):
        if exam.tries <= 4:
            raise OSError("no space")
        advance(exam, pulse)

    monkeypatch.setattr(bench.pipeline, "advance", explode)
    bench.send_four()
    lane = lane_of(bench)
    for delay in (1, 2, 4, 8):
        assert lane.run_once()
        bench.wait(delay - 0.001)
        assert not lane.run_once()
        bench.wait(0.001)
    lane.run_once()
    assert bench.statuses() == ["failed"]


def test_an_error_that_cannot_pass_fails_the_exam_at_once(bench, monkeypatch):
    def explode(*_args):
        raise ResultInvalid("an outline is open")

    monkeypatch.setattr(bench.pipeline, "advance", explode)
    bench.send_four()
    lane_of(bench).run_once()
    assert bench.statuses() == ["failed"]
    assert job_of(bench).problem.code == "E501"


@pytest.mark.parametrize(
    "trouble", [ModelUnfit("a hash differs"), SpoolFull("disk"), ImageUnreachable("disk")]
)
def test_an_unfit_node_makes_exams_wait_and_never_fails_them(bench, monkeypatch, trouble):
    def explode(*_args):
        raise trouble

    monkeypatch.setattr(bench.pipeline, "advance", explode)
    bench.send_four()
    lane = lane_of(bench)
    for _ in range(20):
        assert lane.run_once()
        bench.wait(UNFIT_PAUSE.total_seconds())
    assert bench.statuses() == ["receiving"]
    assert job_of(bench).problem.code == trouble.code


def test_what_is_being_sent_at_a_stop_is_handed_back_for_the_next_process(bench, monkeypatch):
    bench.send_four()
    bench.analyze()
    lane = DeliveryLane(
        "pacs", bench.store, bench.pipeline, owner="w", lease=LEASE, clock=lambda: bench.now
    )

    def stop_in_between(*_args):
        lane.hand_back()
        raise LeaseLost("handed back")

    monkeypatch.setattr(bench.pipeline, "deliver", stop_in_between)
    with pytest.raises(LeaseLost):
        lane.run_once()
    monkeypatch.undo()
    bench.deliver()
    assert bench.statuses() == ["delivered"]


def test_a_model_that_cannot_be_loaded_leaves_no_image_failed(bench, monkeypatch):
    def unfit():
        raise ModelUnfit("the folder is empty")

    bench.send_four()
    lane = lane_of(bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.pipeline, "_classifier", unfit)
        for _ in range(20):
            assert lane.run_once()
            bench.wait(UNFIT_PAUSE.total_seconds())
    while lane.run_once():
        pass
    assert set(bench.reasons().values()) == {"analyzed"}


def test_an_image_that_was_being_read_at_every_stop_is_not_given_up(bench):
    bench.send_four()
    stopping = threading.Event()
    for _ in range(10):
        classify = FakeClassifier.classify
        stopping.clear()

        def stop_meanwhile(self, patches, classify=classify):
            stopping.set()
            return classify(self, patches)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeClassifier, "classify", stop_meanwhile)
            lane_of(bench, stopping).run_once()
    bench.analyze()
    assert set(bench.reasons().values()) == {"analyzed"}


def test_a_full_disk_makes_exams_wait_and_never_fails_them(bench, monkeypatch):
    def full(*_args):
        raise SpoolFull("the data disk is full")

    bench.send_four()
    lane = lane_of(bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.files, "keep_result", full)
        for _ in range(20):
            lane.run_once()
            bench.wait(UNFIT_PAUSE.total_seconds())
    assert job_of(bench).problem.code == "E201"
    lane.run_once()
    assert bench.statuses() == ["reported"]


def test_an_object_that_cannot_be_sent_for_no_known_reason_holds_up_no_other(bench, monkeypatch):
    bench.send_four()
    bench.send("another", "RCC", study_instance_uid="1.2.4")
    bench.wait(60)
    bench.analyze()
    sender = bench.senders["pacs"]
    send, poison = sender.send, next(iter(bench.files.kept))

    def explode(objects):
        if any(item.sop_instance_uid == poison for item in objects):
            raise ValueError("Test^Patient")
        return send(objects)

    monkeypatch.setattr(sender, "send", explode)
    delivery = DeliveryLane(
        "pacs", bench.store, bench.pipeline, owner="w", lease=LEASE, clock=lambda: bench.now
    )
    assert delivery.run_once()
    assert sorted(bench.statuses()) == ["delivered", "reported"]
    (waiting,) = [d for d in bench.store.deliveries.values() if d.status == "pending"]
    assert waiting.code == "E000"
    assert "Patient" not in waiting.text
    bench.wait(72 * 3600)
    assert delivery.run_once()
    assert sorted(bench.statuses()) == ["delivered", "failed"]


def test_a_worker_that_lost_its_lease_writes_nothing(bench, monkeypatch):
    bench.send_four()
    lane = lane_of(bench)
    advance = bench.pipeline.advance

    def too_slow(exam, pulse):
        bench.wait(LEASE.total_seconds())
        assert bench.store.claim_exam("another", now=bench.now, lease=LEASE)
        advance(exam, pulse)

    monkeypatch.setattr(bench.pipeline, "advance", too_slow)
    lane.run_once()
    assert job_of(bench).owner == "another"
    assert bench.reasons() == dict.fromkeys(("rcc", "lcc", "rmlo", "lmlo"), "received")


def test_the_lease_is_renewed_while_a_step_runs(bench, monkeypatch):
    renewed = threading.Event()
    monkeypatch.setattr(bench.store, "renew_exam", lambda *_a, **_k: renewed.set())
    monkeypatch.setattr(bench.pipeline, "advance", lambda *_: renewed.wait(10))
    bench.send_four()
    lane = AnalysisLane(
        bench.store,
        bench.pipeline,
        owner="worker",
        lease=timedelta(milliseconds=3),
        retry=RetryRules(),
        clock=lambda: bench.now,
        stopping=threading.Event(),
    )
    lane.run_once()
    assert renewed.is_set()


def test_a_step_is_interrupted_once_its_lease_could_not_be_renewed(bench, monkeypatch):
    tried = threading.Event()
    seen = []

    def refuse(*_args, **_kwargs):
        tried.set()
        raise LeaseLost("gone")

    def step(_exam, pulse):
        tried.wait(10)
        for _ in range(1000):
            pulse()
            threading.Event().wait(0.01)
        seen.append("never interrupted")

    monkeypatch.setattr(bench.store, "renew_exam", refuse)
    monkeypatch.setattr(bench.pipeline, "advance", step)
    bench.send_four()
    AnalysisLane(
        bench.store,
        bench.pipeline,
        owner="worker",
        lease=timedelta(milliseconds=3),
        retry=RetryRules(),
        clock=lambda: bench.now,
        stopping=threading.Event(),
    ).run_once()
    assert not seen


def test_a_lane_survives_a_database_that_is_gone_for_a_while():
    stopping = threading.Event()
    calls = []

    class Flaky:
        name = "flaky"

        def run_once(self) -> bool:
            calls.append(1)
            if len(calls) == 1:
                raise DatabaseUnavailable("gone")
            if len(calls) == 2:
                raise RuntimeError("anything")
            stopping.set()
            return True

    run_lane(Flaky(), stopping=stopping, poll_seconds=0.001)
    assert len(calls) == 3


def test_what_keeps_a_lane_from_working_is_not_repeated_at_every_try(monkeypatch):
    stopping = threading.Event()
    lines: list[str] = []
    monkeypatch.setattr(worker.log, "error", lambda event, **fields: lines.append(fields["detail"]))
    troubles = ["gone", "gone", "gone", "locked", "locked"]

    class Broken:
        name = "broken"

        def run_once(self) -> bool:
            if not troubles:
                stopping.set()
                return False
            raise DatabaseUnavailable(troubles.pop(0))

    run_lane(Broken(), stopping=stopping, poll_seconds=0.001)
    assert lines == ["E704 gone", "E704 locked"]


def test_an_unexpected_error_is_described_by_its_kind_and_place_only():
    try:
        raise ValueError("Test^Patient")
    except ValueError as error:
        text = unexpected(error)
    assert text.startswith("unexpected ValueError at test_worker.py:")
    assert "Patient" not in text
