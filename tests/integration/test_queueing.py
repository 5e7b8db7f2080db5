"""Hints through real brokers: in order of priority, one at a time, given back, never waited for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.checks import Check, run_checks
from cadnode.config import load_settings
from cadnode.core.errors import BrokerUnavailable
from cadnode.core.hints import Hint, Line
from cadnode.core.jobs import Priority
from cadnode.core.metrics import NoMetrics
from cadnode.core.processes import ANALYSIS, DELIVERY
from cadnode.queueing.background import BackgroundHints
from cadnode.queueing.broker import Broker, BrokerSettings
from cadnode.queueing.consumer import Consumer
from tests.brokers import PASSWORD, BrokerServer, rabbitmq, redis
from tests.certificates import SiteCa
from tests.peers import free_port

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EXAMS = Line(ANALYSIS)
PACS = Line(DELIVERY, "pacs")
PATIENCE = 30.0

prefixes = (f"site{number}" for number in count())


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, BrokerServer]]:
    with rabbitmq() as rabbit, redis() as other:
        yield {"rabbitmq": rabbit, "redis": other}


@pytest.fixture(params=["rabbitmq", "redis"])
def server(request: pytest.FixtureRequest, servers: dict[str, BrokerServer]) -> BrokerServer:
    return servers[request.param]


def site(url: str, prefix: str, ca: Path | None = None) -> BrokerSettings:
    return BrokerSettings(url, prefix, ("pacs",), ca)


@pytest.fixture
def prefix() -> str:
    return next(prefixes)


@pytest.fixture
def broker(server: BrokerServer, prefix: str) -> Iterator[Broker]:
    made = Broker(site(server.url, prefix))
    yield made
    made.close()


class Taken:
    """A step that notes what it was called for, and may be held up."""

    def __init__(self) -> None:
        self.seen: list[tuple[Line, int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, line: Line, exam_id: int) -> None:
        self.seen.append((line, exam_id))
        self.may_go_on.wait(PATIENCE)

    @property
    def exams(self) -> list[int]:
        return [exam_id for _, exam_id in self.seen]


@contextmanager
def consuming(server: BrokerServer, prefix: str, *lines: Line) -> Iterator[Taken]:
    taken = Taken()
    consumer = Consumer(site(server.url, prefix), queues=lines, step=taken)
    consumer.start()
    try:
        yield taken
    finally:
        taken.may_go_on.set()
        consumer.stop()
        consumer.thread.join(PATIENCE)
        assert not consumer.thread.is_alive()


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hint(exam_id: int, priority: Priority = Priority.NORMAL, line: Line = EXAMS) -> Hint:
    return Hint(line, exam_id, priority)


def test_urgent_exams_are_taken_first_one_at_a_time_and_from_the_worker_s_queues_only(
    broker: Broker, server: BrokerServer, prefix: str
):
    broker.give([hint(1), hint(2), hint(3, Priority.URGENT), hint(4), hint(9, line=PACS)])
    wait_until(lambda: broker.waiting() == {EXAMS: 4, PACS: 1})
    with consuming(server, prefix, EXAMS) as taken:
        taken.may_go_on.clear()
        wait_until(lambda: taken.seen)
        wait_until(lambda: broker.waiting() == {EXAMS: 3, PACS: 1})
        assert taken.exams == [3]
        taken.may_go_on.set()
        wait_until(lambda: len(taken.seen) == 4)
    assert taken.exams == [3, 1, 2, 4]
    wait_until(lambda: broker.waiting() == {EXAMS: 0, PACS: 1})


WORKER = """
import sys, time
from cadnode.core.hints import ANALYSIS, Line
from cadnode.queueing.broker import BrokerSettings
from cadnode.queueing.consumer import Consumer

def step(line, exam_id):
    print(exam_id, flush=True)
    time.sleep(600)

url, prefix = sys.argv[1:]
consumer = Consumer(BrokerSettings(url, prefix, ("pacs",)), queues=[Line(ANALYSIS)], step=step)
consumer.start()
consumer.thread.join()
"""


def test_the_message_of_a_killed_worker_goes_back_to_the_queue(
    servers: dict[str, BrokerServer], prefix: str
):
    url = servers["rabbitmq"].url
    broker = Broker(site(url, prefix))
    broker.give([hint(7)])
    worker = subprocess.Popen([sys.executable, "-c", WORKER, url, prefix], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"7\n"
    wait_until(lambda: broker.waiting()[EXAMS] == 0)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    wait_until(lambda: broker.waiting()[EXAMS] == 1)
    broker.close()


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_away_is_said_so_without_its_password(scheme: str):
    url = f"{scheme}://somebody:{PASSWORD}@127.0.0.1:{free_port()}/0"
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="E921") as error:
        Broker(site(url, "site")).give([hint(1)])
    assert PASSWORD not in str(error.value)
    assert "127.0.0.1" in str(error.value)
    assert time.monotonic() - begun < 10


def test_a_wrong_password_is_said_so_without_it(server: BrokerServer, prefix: str):
    wrong = Broker(site(server.url.replace(PASSWORD, "a-guess"), prefix))
    with pytest.raises(BrokerUnavailable) as error:
        wrong.waiting()
    assert "a-guess" not in str(error.value)


# RabbitMQ, which takes longer to start again, is killed in tests/node/test_cluster_faults.py.
@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_a_broker_that_was_killed_takes_hints_again_and_workers_take_them(
    broker: Broker, server: BrokerServer, prefix: str
):
    with consuming(server, prefix, EXAMS, PACS) as taken:
        broker.give([hint(1)])
        wait_until(lambda: taken.exams == [1])
        server.kill()
        # The first ones may end in a connection that does not know yet.
        wait_until(lambda: not _given(broker, hint(100)))
        server.start()
        wait_until(lambda: _given(broker, hint(2, line=PACS)))
        wait_until(lambda: (PACS, 2) in taken.seen)


def test_a_broker_that_hangs_counts_as_away_and_keeps_no_worker_from_ending(
    server: BrokerServer, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cadnode.queueing.broker.ANSWER_SECONDS", 0.5)
    broker = Broker(site(server.url, prefix))
    # The worker ends first, while the broker still hangs.
    with ExitStack() as frozen, consuming(server, prefix, EXAMS) as taken:
        broker.give([hint(1)])
        wait_until(lambda: taken.exams == [1])
        frozen.enter_context(server.frozen())
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="E921"):
            broker.waiting()
        assert time.monotonic() - begun < 10
    wait_until(lambda: _given(broker, hint(2)))
    broker.close()


def test_the_certificate_of_a_broker_is_checked(server: BrokerServer, prefix: str, tmp_path: Path):
    trusting = Broker(site(server.tls_url, prefix, server.ca))
    trusting.give([hint(1)])
    wait_until(lambda: trusting.waiting()[EXAMS] == 1)
    trusting.close()
    other = SiteCa(tmp_path, "another")
    for settings in (
        site(server.tls_url, prefix, other.file),
        site(server.tls_url, prefix),
        site(server.tls_url.replace("localhost", "127.0.0.1"), prefix, server.ca),
    ):
        with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
            Broker(settings).give([hint(2)])


def test_check_says_whether_the_broker_answers_and_not_its_password(
    server: BrokerServer, tmp_path: Path
):
    def said(url: str) -> Check:
        file = tmp_path / "cadnode.toml"
        file.write_text(f"[celery]\nenabled = true\nbroker_url = '{url}'\n")
        return next(c for c in run_checks(App(load_settings(file, {}))) if c.name == "broker")

    answers = said(server.url)
    assert answers.well
    assert "127.0.0.1" in answers.detail
    away = said(server.url.replace(str(server.port), str(free_port())))
    assert away.well is False
    assert PASSWORD not in answers.detail + away.detail


def _given(broker: Broker, one: Hint) -> bool:
    try:
        broker.give([one])
    except BrokerUnavailable:
        return False
    return True


class AllDue:
    """A database in which every changed exam is due."""

    def of_exam(self, exam_id: int, *, now: datetime) -> list[Hint]:
        return [hint(exam_id)]

    def of_study(self, study_instance_uid: str, *, now: datetime) -> list[Hint]:
        return [hint(int(study_instance_uid))]


def test_hints_left_at_the_end_are_given_before_the_process_goes(
    servers: dict[str, BrokerServer], prefix: str
):
    url = servers["rabbitmq"].url
    broker = Broker(site(url, prefix))
    hints = BackgroundHints(AllDue(), broker, metrics=NoMetrics(), clock=lambda: NOW)
    for study in "123312":
        hints.study_changed(study)
    thread = threading.Thread(target=lambda: hints.run_once() and hints.run_once())
    thread.start()
    hints.close()
    thread.join(PATIENCE)
    counting = Broker(site(url, prefix))
    wait_until(lambda: counting.waiting()[EXAMS] == 3)
    counting.close()
