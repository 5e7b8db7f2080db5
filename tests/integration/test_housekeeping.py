"""What the worker does beside its lanes: the purge, and the watch over the disk."""

from __future__ import annotations

import os
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.core.file_ports import NodeFiles
from cadnode.core.jobs import ExamStatus
from cadnode.housekeeping import Housekeeping
from cadnode.storage.spool import Spool
from cadnode.store import Store
from tests.contract.exams import deliver, new_image, statuses

GB = 1 << 30
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def app(tmp_path: Path) -> App:
    config = tmp_path / "cadnode.toml"
    config.write_text('[node]\ndata_dir = "data"\n[retention]\nreserve_mb = 1024\n')
    return App(load_settings(config, {}))


@pytest.fixture
def store(app: App) -> Iterator[Store]:
    opened = app.open_store(create=True)
    yield opened
    opened.close()


@contextmanager
def housekeeping(app: App, store: Store, spool: NodeFiles, turns: int) -> Iterator[None]:
    """Until the purge has had so many turns."""
    taken = threading.Semaphore(0)
    purgeable = store.exams.purgeable

    def counted(**limits):
        taken.release()
        return purgeable(**limits)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.exams, "purgeable", counted)
        house = Housekeeping(app, store, spool, wanted=True)
        house.start()
        try:
            yield
            for _ in range(turns):
                assert taken.acquire(timeout=20)
        finally:
            house.stop(wait=True)


def test_a_full_disk_with_nothing_to_purge_is_told_with_what_to_do(app: App, store: Store):
    store.exams.accept(new_image(), now=datetime.now(UTC))
    spool = Spool(app.settings.node.data_dir, GB, disk_usage=lambda _: Usage(10 * GB, 10 * GB, 0))
    with capture_logs() as lines, housekeeping(app, store, spool, turns=1):
        pass
    errors = {line["code"]: line for line in lines if line["log_level"] == "error"}
    assert set(errors) == {"E201", "E206"}
    assert "cadnode jobs list" in errors["E206"]["event"]
    assert errors["E206"]["bytes_too_many"] > GB
    assert statuses(store.exams) == [ExamStatus.RECEIVING]


def test_a_full_disk_is_purged_and_then_nothing_is_told(app: App, store: Store):
    store.exams.accept(new_image(), now=datetime.now(UTC))
    deliver(store.exams, now=datetime.now(UTC))

    def disk(_: Path) -> Usage:
        used = 10 * GB if statuses(store.exams) == [ExamStatus.DELIVERED] else 0
        return Usage(10 * GB, used, 10 * GB - used)

    spool = Spool(app.settings.node.data_dir, GB, disk_usage=disk)
    with capture_logs() as lines, housekeeping(app, store, spool, turns=1):
        pass
    assert statuses(store.exams) == [ExamStatus.PURGED]
    assert {"E206"}.isdisjoint(line.get("code") for line in lines)
    assert any(line["event"] == "purged" and line["exams"] == 1 for line in lines)


def test_what_a_machine_that_is_gone_had_begun_to_receive_is_swept_away(app: App, store: Store):
    spool = Spool(app.settings.node.data_dir, 0, machine="one")
    begun = Spool(app.settings.node.data_dir, 0, machine="gone").incoming_dir / "half.part"
    begun.write_bytes(b"half")
    long_ago = time.time() - 2 * 86_400
    os.utime(begun, (long_ago, long_ago))
    house = Housekeeping(app, store, spool, wanted=True)
    house.start()
    try:
        deadline = time.monotonic() + 20
        while begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        house.stop(wait=True)
