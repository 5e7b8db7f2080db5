"""Two machines of one node: data folders of their own, images and results in a folder they share."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from cadnode.app import App, utc_now
from cadnode.checks import storage_check
from cadnode.config import load_settings
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.retention import RetentionRules
from cadnode.dimse.storing import IncomingObject
from cadnode.receiving import keep
from cadnode.storage.fsck import Fsck
from cadnode.storage.retention import UNKNOWN_AFTER, purge, remove_unknown
from tests.contract.exams import claim, statuses
from tests.integration.modality import Modality
from tests.integration.test_storage_spool import dicom_file

IMAGE = dicom_file(b"pixels")


def settings_of(folder: Path) -> Path:
    folder.mkdir()
    config = folder / "cadnode.toml"
    config.write_text(
        '[node]\ndata_dir = "data"\nhost = "127.0.0.1"\nport = 0\naccept_unknown = true\n'
        '[database]\nurl = "sqlite:///../jobs.db"\n[storage]\nfolder = "../shared"\n'
        "[retention]\nreserve_mb = 1\n"
    )
    return config


@dataclass
class Machine:
    app: App

    def __post_init__(self) -> None:
        self.node = self.app.open_store(create=True)
        self.store, self.spool = self.node.exams, self.app.spool()

    def receive(self) -> Acceptance:
        part = self.spool.incoming_dir / "whole.part"
        part.write_bytes(IMAGE)
        study = "1.2.3"
        return keep(
            IncomingObject(
                part, "1.2.840.1", "1.2.3.1", study, f"{study}.8", "1.2", "MG1", "localhost"
            ),
            self.spool,
            self.store,
            identify=True,
            clock=utc_now,
        )


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Machine, Machine]]:
    made = []
    for name in ("one", "other"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        made.append(Machine(App(load_settings(settings_of(tmp_path / name), {}))))
    yield made[0], made[1]
    for machine in made:
        machine.node.close()


def purge_until(config: Path, stopping: Event, rounds: int) -> None:
    """What another machine's housekeeping does, as often as it can."""
    machine = Machine(App(load_settings(config, {})))
    rules = RetentionRules(max_age=timedelta(0))
    while not stopping.is_set():
        purge(machine.store, machine.spool, rules=rules, now=utc_now() + timedelta(days=1))
        remove_unknown(machine.node.records, machine.spool, now=utc_now() + rounds * UNKNOWN_AFTER)
    machine.node.close()


def test_images_and_purges_at_once_on_two_machines_lose_nothing_that_was_acknowledged(
    tmp_path: Path, machines: tuple[Machine, Machine]
):
    one, _ = machines
    spawn = multiprocessing.get_context("spawn")
    stopping = spawn.Event()
    config = tmp_path / "other" / "cadnode.toml"
    purger = spawn.Process(target=purge_until, args=(config, stopping, 9000))
    purger.start()
    purged = 0
    try:
        for number in range(10_000):
            if one.receive() is Acceptance.NEW:
                (image,) = one.node.records.exam_detail(len(statuses(one.store))).images
                assert one.spool.size_of(image.path) == len(IMAGE), number
                exam = claim(one.store, now=utc_now() + timedelta(hours=1))
                one.store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=utc_now())
            purged = statuses(one.store).count(ExamStatus.PURGED)
            if purged == 10:
                break
    finally:
        stopping.set()
        purger.join()
    assert (purged, purger.exitcode) == (10, 0)


def test_a_receiver_that_starts_leaves_alone_what_another_machine_is_receiving(
    machines: tuple[Machine, Machine],
):
    one, other = machines
    half = one.spool.incoming_dir / "half.part"
    half.write_bytes(b"half")
    scp = other.app.storage_scp(other.store, other.spool)
    scp.start()
    try:
        with Modality(scp.port) as modality:
            modality.associate()
            assert modality.store("1.2.3.1") == (0x0000, "")
    finally:
        scp.stop()
    assert half.read_bytes() == b"half"
    (image,) = one.node.records.exam_detail(1).images
    assert one.spool.path_of(image.path).stat().st_size == image.size


def test_only_files_of_patients_lie_in_the_shared_folder(
    tmp_path: Path, machines: tuple[Machine, Machine]
):
    for machine in machines:
        machine.receive()
        machine.app.open_metrics("receive")
    found = {path.name for path in (tmp_path / "shared").iterdir()}
    assert found == {"incoming", "images", "results", "locks"}
    assert {path.name for path in (tmp_path / "shared" / "incoming").iterdir()} == {"one", "other"}
    assert all((tmp_path / name / "data" / "metrics").is_dir() for name in ("one", "other"))


def test_any_machine_says_whether_database_and_files_agree(machines: tuple[Machine, Machine]):
    one, other = machines
    one.receive()
    half = one.spool.incoming_dir / "half.part"
    half.write_bytes(b"half")
    now = utc_now()
    long_ago = (now - timedelta(hours=1)).timestamp()
    os.utime(half, (long_ago, long_ago))
    outcome = Fsck(other.node.database, other.spool, destinations={}, now=now).check(deep=True)
    assert [item.subject for item in outcome.discrepancies] == ["incoming/one/half.part"]


def test_the_check_says_that_files_last_and_locks_hold(
    tmp_path: Path, machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
):
    app = machines[0].app
    before = sorted((tmp_path / "shared").rglob("*"))
    well, said = storage_check(app)
    assert well
    assert "locks hold" in said
    assert sorted((tmp_path / "shared").rglob("*")) == before
    # As on NFS that is mounted with local_lock or nolock for each machine by itself.
    monkeypatch.setattr("cadnode.storage.locks.fcntl.flock", lambda *_: None)
    well, said = storage_check(app)
    assert not well
    assert "locks do not hold" in said
