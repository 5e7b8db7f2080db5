"""Hints: which are missing at the broker, and that nobody who commits waits for one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cadnode.core.errors import (
    BrokerUnavailable,
    CadnodeError,
    ConfigError,
    DatabaseUnavailable,
)
from cadnode.core.hints import Hint, Line, missing
from cadnode.core.metrics import HINTS, Counter, NoMetrics
from cadnode.core.processes import ANALYSIS, DELIVERY
from cadnode.core.retry import RetryRules
from cadnode.hinted import HintedLane
from cadnode.queueing import background
from cadnode.queueing.background import BackgroundHints
from cadnode.queueing.broker import Broker, BrokerSettings
from cadnode.sweeping import SweepLane
from cadnode.worker import AnalysisLane
from tests.unit.bench import LEASE, Bench

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EXAMS, PACS, MINI = Line(ANALYSIS), Line(DELIVERY, "pacs"), Line(DELIVERY, "mini")
FIVE = [Hint(EXAMS, number) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("waiting", "again"), [(0, [1, 2, 3, 4, 5]), (2, [3, 4, 5]), (5, []), (9, [])]
)
def test_as_many_exams_are_said_again_as_there_are_messages_too_few(waiting, again):
    assert [hint.exam_id for hint in missing(FIVE, {EXAMS: waiting})] == again


def test_one_message_is_enough_for_all_that_a_destination_is_to_get():
    due = [Hint(PACS, 1), Hint(PACS, 2), Hint(MINI, 1)]
    assert list(missing(due, {})) == [Hint(PACS, 1), Hint(MINI, 1)]
    assert list(missing(due, {PACS: 1})) == [Hint(MINI, 1)]


class Counted(NoMetrics):
    def __init__(self) -> None:
        self.hints = {"given": 0.0, "again": 0.0, "lost": 0.0}

    def add(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        if counter is HINTS:
            self.hints[labels[0]] += by


class FakeBroker:
    """Keeps what it is given, unless it is away."""

    def __init__(self) -> None:
        self.given: list[Hint] = []
        self.away = False
        self.calls = 0
        self.closed = False

    def give(self, hints: Sequence[Hint]) -> None:
        self.calls += 1
        if self.away:
            raise BrokerUnavailable("the broker is away")
        self.given.extend(hints)

    def waiting(self) -> Mapping[Line, int]:
        self.give([])
        return {EXAMS: len(self.given)}

    def close(self) -> None:
        self.closed = True


class FakeDue:
    """Everything that is asked for is due, unless the database is away."""

    def __init__(self) -> None:
        self.trouble: CadnodeError | None = None
        self.asked: list[int | str] = []

    def of_exam(self, exam_id: int, *, now: datetime) -> list[Hint]:
        self.asked.append(exam_id)
        if self.trouble:
            raise self.trouble
        return [Hint(EXAMS, exam_id)]

    def of_study(self, study_instance_uid: str, *, now: datetime) -> list[Hint]:
        self.asked.append(study_instance_uid)
        return [Hint(EXAMS, int(study_instance_uid))]

    def due(self, destinations: Sequence[str], *, now: datetime, limit: int) -> list[Hint]:
        return FIVE


class Desk:
    """Hints over fakes, time by hand."""

    def __init__(self) -> None:
        self.due, self.broker, self.counted = FakeDue(), FakeBroker(), Counted()
        self.seconds = 100.0
        self.hints = BackgroundHints(
            self.due,
            self.broker,
            metrics=self.counted,
            clock=lambda: NOW,
            seconds=lambda: self.seconds,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_exam_that_changes_often_is_one_look_and_one_hint(desk: Desk):
    for _ in range(4):
        desk.hints.study_changed("7")
    desk.hints.exam_changed(7)
    desk.hints.exam_changed(8)
    desk.hints.run_once()
    assert desk.due.asked == ["7", 7, 8]
    assert desk.broker.given == [Hint(EXAMS, 7), Hint(EXAMS, 8)]
    assert desk.counted.hints == {"given": 2, "again": 0, "lost": 0}


def test_a_broker_that_is_away_is_left_alone_for_a_while_and_what_it_misses_is_counted(desk: Desk):
    desk.broker.away = True
    desk.hints.exam_changed(1)
    desk.hints.run_once()
    assert "away" in desk.hints.trouble
    desk.broker.away = False
    desk.hints.exam_changed(2)
    desk.seconds += background.REST_SECONDS - 0.01
    desk.hints.run_once()
    assert (desk.broker.calls, desk.broker.given) == (1, [])
    desk.hints.exam_changed(3)
    desk.seconds += 0.01
    desk.hints.run_once()
    assert desk.broker.given == [Hint(EXAMS, 3)]
    assert desk.hints.trouble == ""
    assert desk.counted.hints == {"given": 1, "again": 0, "lost": 2}


def test_a_database_that_is_away_loses_the_hint_and_nothing_else(desk: Desk):
    desk.due.trouble = DatabaseUnavailable("away")
    desk.hints.exam_changed(1)
    desk.hints.run_once()
    assert desk.hints.trouble == ""
    assert desk.counted.hints["lost"] == 1


def test_what_has_no_room_is_counted_and_nobody_waits(desk: Desk, monkeypatch):
    monkeypatch.setattr(background, "MOST_WAITING", 3)
    for exam_id in range(5):
        desk.hints.exam_changed(exam_id)
    assert desk.counted.hints["lost"] == 2
    desk.hints.run_once()
    assert len(desk.broker.given) == 3


def test_whoever_commits_waits_for_nobody_while_the_broker_hangs(desk: Desk, monkeypatch):
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_hints: Sequence[Hint]) -> None:
        hangs.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(desk.broker, "give", hang)
    desk.hints.exam_changed(1)
    turn = threading.Thread(target=desk.hints.run_once)
    turn.start()
    assert hangs.wait(30)
    for exam_id in range(2, 1000):
        desk.hints.exam_changed(exam_id)
    assert turn.is_alive()
    goes_on.set()
    turn.join()
    monkeypatch.undo()
    desk.hints.run_once()
    assert len(desk.broker.given) == 998


def test_without_celery_the_settings_that_want_it_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigError, match=r"E101 .*cadnode\[celery\]"):
        Broker(BrokerSettings("amqp://host", "cadnode", ()))


def test_the_last_turn_disconnects(desk: Desk):
    desk.hints.close()
    desk.hints.run_once()
    assert desk.broker.closed


class Sweeper(Desk):
    def __init__(self) -> None:
        super().__init__()
        self.lane = SweepLane(
            self.due,
            self.broker,
            ["pacs"],
            every_seconds=2.0,
            clock=lambda: NOW,
            metrics=self.counted,
            seconds=lambda: self.seconds,
        )


def test_the_sweep_says_again_what_the_broker_lost_and_not_what_it_has():
    sweeper = Sweeper()
    assert not sweeper.lane.run_once()
    assert sweeper.broker.given == FIVE
    sweeper.seconds += 2
    sweeper.lane.run_once()
    assert sweeper.broker.given == FIVE
    del sweeper.broker.given[:2]
    sweeper.seconds += 1.99
    sweeper.lane.run_once()
    assert len(sweeper.broker.given) == 3
    sweeper.seconds += 0.01
    sweeper.lane.run_once()
    assert [hint.exam_id for hint in sweeper.broker.given] == [3, 4, 5, 4, 5]
    assert sweeper.counted.hints["again"] == 7


class TestHintedLane:
    """Over a whole node on fakes, with three exams."""

    @pytest.fixture(autouse=True)
    def _three_exams(self, tmp_path: Path) -> None:
        self.seconds = 0.0
        self.bench = Bench(tmp_path)
        for number, study in enumerate(("1.1", "1.2", "1.3"), start=1):
            self.bench.send(f"image {number}", study_instance_uid=study)
        self.ids = list(self.bench.store.jobs)
        self.stopping = threading.Event()
        lane = AnalysisLane(
            self.bench.store,
            self.bench.pipeline,
            owner="worker",
            lease=LEASE,
            retry=RetryRules(),
            clock=lambda: self.bench.now,
            stopping=self.stopping,
        )
        self.lane = HintedLane(lane, idle_seconds=10.0, seconds=lambda: self.seconds)

    def read(self) -> list[int]:
        """The exams whose image has been looked at."""
        return [image.job.id for image in self.bench.store.images.values() if image.value.model]

    def test_a_message_is_for_the_exam_that_it_names(self):
        assert self.lane.take(self.ids[1])
        assert self.read() == [self.ids[1]]

    def test_a_message_that_came_twice_is_good_for_another_exam(self):
        for _ in range(3):
            assert self.lane.take(self.ids[1])
        assert sorted(self.read()) == self.ids
        assert not self.lane.take(self.ids[1])

    def test_nobody_looks_while_messages_come(self):
        self.seconds = 9.9
        assert not self.lane.run_once()
        self.lane.take(self.ids[0])
        self.seconds = 19.8
        assert not self.lane.run_once()
        assert self.read() == self.ids[:1]

    def test_without_messages_the_work_is_found_and_gone_on_with(self):
        self.seconds = 10.0
        assert [self.lane.run_once() for _ in range(4)] == [True, True, True, False]
        assert sorted(self.read()) == self.ids
        self.bench.send("late", study_instance_uid="1.4")
        assert not self.lane.run_once()
        self.seconds = 20.0
        assert self.lane.run_once()
