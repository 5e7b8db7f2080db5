"""A destination that is dead, slow or hangs, beside one that is well: real sockets, real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cadnode.core.breaker import LineState
from cadnode.core.exam import BuiltResult, ImageState
from cadnode.core.jobs import ExamStatus, NewImage
from cadnode.core.retry import RetryRules
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.line_records import LineRecords
from cadnode.storage.spool import Spool
from cadnode.worker import DeliveryLane, run_lane
from tests.integration.fake_pacs import Behaviour, FakePacs, OnObject, OnRequest
from tests.integration.test_scu import report
from tests.peers import free_port
from tests.unit.bench import Bench

LEASE = timedelta(seconds=60)
TIMEOUTS = Timeouts(connect=3, association=3, answer=3, delivery=6)
KIND = "mammography-cad-sr"
EXAMS = 20
BAD = {
    "hangs": Behaviour(on_request=OnRequest.SAY_NOTHING),
    "takes and never answers": Behaviour(on_object=dict.fromkeys(range(1000), OnObject.NO_ANSWER)),
    "stops reading": Behaviour(on_object=dict.fromkeys(range(1000), OnObject.STOP_READING)),
    "refuses": Behaviour(reject=(2, 3, 1)),
    "aborts": Behaviour(on_object=dict.fromkeys(range(1000), OnObject.ABORT_MIDWAY)),
}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlExamStore]:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    database = Database(url)
    yield SqlExamStore(database)
    database.close()


def report_exam(store: SqlExamStore, spool: Spool, number: int, names: list[str]) -> str:
    """An exam comes, is closed and reported; returns the UID of its result object."""
    study = f"1.2.{number}"
    image = NewImage(
        f"{study}.9", "1.2", study, f"{study}.8", "1.2.840.10008.1.2.1", "x", 1, "a", "MG1"
    )
    store.accept(image, now=now())
    for _ in ("close", "report"):
        exam = store.claim_exam("w", now=now(), lease=LEASE)
        assert exam is not None
        if exam.status is ExamStatus.RECEIVING:
            store.record_image(exam, exam.images[0].id, state=ImageState.ANALYZED, now=now())
            store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=now())
            continue
        made = report(spool.incoming_dir)
        content = made.path.read_bytes()
        built = BuiltResult(KIND, made.sop_class_uid, made.sop_instance_uid, "1.2.1", content)
        kept = spool.keep_result(study, built)
        store.record_results(exam, [kept], {name: [KIND] for name in names}, now=now())
        return made.sop_instance_uid
    raise AssertionError("not reported")


@contextmanager
def lanes(store: SqlExamStore, spool: Spool, bench: Bench, ports: dict[str, int]) -> Iterator[None]:
    bench.pipeline._store = store
    bench.pipeline._files = spool
    bench.pipeline._clock = now
    bench.pipeline._senders = {
        name: DicomSender(Destination(name, "PACS", "127.0.0.1", port), "CADNODE", TIMEOUTS)
        for name, port in ports.items()
    }
    stopping = threading.Event()
    threads = []
    for name in ports:
        lane = DeliveryLane(
            name,
            store,
            bench.pipeline,
            owner="sender",
            lease=LEASE,
            clock=now,
            retry=RetryRules(timedelta(seconds=0.1), timedelta(seconds=0.5)),
        )
        arguments = {"stopping": stopping, "poll_seconds": 0.25}
        thread = threading.Thread(target=run_lane, args=(lane,), kwargs=arguments)
        thread.start()
        threads.append(thread)
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def until(what, seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.01)


def test_a_destination_in_trouble_delays_another_by_no_more_than_a_second(
    tmp_path: Path, store: SqlExamStore
):
    spool = Spool(tmp_path / "data", reserve_bytes=0)
    with ExitStack() as stack:
        good = stack.enter_context(FakePacs())
        ports = {
            name: stack.enter_context(FakePacs(behaviour)).port for name, behaviour in BAD.items()
        }
        ports |= {"good": good.port, "dead": free_port()}
        stack.enter_context(lanes(store, spool, Bench(tmp_path), ports))
        waits = []
        for number in range(EXAMS):
            uid = report_exam(store, spool, number, list(ports))
            begun = time.monotonic()
            until(lambda uid=uid: any(o.sop_instance_uid == uid for o in good.received))
            waits.append(time.monotonic() - begun)
    # The lane looks every 0.25 s by itself.
    assert max(waits) < 1.25, [round(wait, 2) for wait in waits]


def test_an_open_line_uses_up_no_try_and_everything_goes_out_when_it_closes(
    tmp_path: Path, store: SqlExamStore
):
    spool = Spool(tmp_path / "data", reserve_bytes=0)
    records = LineRecords(store._database)
    with ExitStack() as stack:
        pacs = stack.enter_context(FakePacs(Behaviour(reject=(2, 3, 1))))
        with lanes(store, spool, Bench(tmp_path), {"pacs": pacs.port}):
            first = report_exam(store, spool, 1, ["pacs"])
            until(lambda: store.line("pacs").state is LineState.OPEN)
            second = report_exam(store, spool, 2, ["pacs"])
            asked = pacs.associations
            until(lambda: pacs.associations > asked + 2)
            (record,) = records.destinations(["pacs"])
            assert (record.state, record.waiting) == (LineState.OPEN, 2)
            assert "rejected" in record.last_error
            pacs.behaviour = Behaviour()
            until(lambda: len(pacs.received) == 2)
            until(lambda: records.destinations(["pacs"])[0].waiting == 0)
    assert {item.sop_instance_uid for item in pacs.received} == {first, second}
    claimed = store.line("pacs")
    assert (claimed.state, claimed.failures, claimed.probes) == (LineState.CLOSED, 0, 0)
    with store._database.read() as connection:
        tries = (
            connection.exec_driver_sql("SELECT tries FROM deliveries ORDER BY id").scalars().all()
        )
    assert tries == [4, 1]
