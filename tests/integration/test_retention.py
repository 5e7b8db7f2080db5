"""The retention on a real disk: what goes, what stays, and an image that comes at that moment."""

from __future__ import annotations

import errno
import os
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from cadnode.app import App, utc_now
from cadnode.config import load_settings
from cadnode.core.errors import SpoolFull
from cadnode.core.jobs import Acceptance, ExamStatus, NewImage
from cadnode.core.retention import RetentionRules
from cadnode.dimse.storing import IncomingObject
from cadnode.receiving import keep
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.fsck import Fsck
from cadnode.storage.reading import ExamRecords
from cadnode.storage.retention import UNKNOWN_AFTER, PurgeReport, purge, remove_unknown
from cadnode.storage.spool import Spool
from tests.contract.exams import DAY, T0, claim, deliver, new_image, statuses
from tests.integration.modality import Modality
from tests.integration.test_storage_spool import dicom_file, files_of

KEEP_A_DAY = RetentionRules(max_age=DAY)
FOR_EVER = timedelta(days=36500)
GB = 1 << 30
Usage = namedtuple("Usage", "total used free")


class Disk:
    """A disk of 1 GB on which nothing but the spool takes room."""

    def __init__(self, folder: Path, others: int = 0) -> None:
        self.folder, self.others = folder, others

    def __call__(self, _: Path) -> Usage:
        files = [path for path in self.folder.rglob("*.dcm") if path.is_file()]
        used = self.others + sum(path.stat().st_size for path in files)
        return Usage(1000, used, 1000 - used)


@dataclass
class Node:
    store: SqlExamStore
    records: ExamRecords
    spool: Spool
    disk: Disk

    def finished_exam(self, number: int, size: int = 100) -> Path:
        """A delivered exam of one image of `size` bytes; the higher `number`, the later."""
        when = T0 + timedelta(minutes=number)
        image = new_image(1, f"1.{number}")
        path = self.spool.path_of(f"images/{number:02}.dcm")
        path.write_bytes(bytes(size))
        values = {name: getattr(image, name) for name in NewImage.__slots__}
        values |= {"path": f"images/{number:02}.dcm", "size": size}
        self.store.accept(NewImage(**values), now=when)
        deliver(self.store, now=when)
        return path

    def purge(self, *, now=T0 + DAY / 2, limit: int = 1000, **rules) -> PurgeReport:
        rules = {"max_age": FOR_EVER, **rules}
        return purge(self.store, self.spool, rules=RetentionRules(**rules), now=now, limit=limit)

    def receive(self, uid: str, pixels: bytes = b"pixels", study: str = "1.2.3") -> Acceptance:
        """What the receiver does with an object that is whole."""
        part = self.spool.incoming_dir / f"{threading.get_ident()}.part"
        part.write_bytes(dicom_file(pixels))
        return keep(
            IncomingObject(part, "1.2.840.1", uid, study, f"{study}.8", "1.2", "MG1", "localhost"),
            self.spool,
            self.store,
            identify=True,
            clock=lambda: T0,
        )

    def image_files(self) -> list[Path]:
        return [path for path in files_of(self.spool) if path.suffix == ".dcm"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    folder = tmp_path / "data"
    upgrade(f"sqlite:///{tmp_path / 'jobs.db'}")
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    disk = Disk(folder)
    spool = Spool(folder, reserve_bytes=0, disk_usage=disk)
    yield Node(SqlExamStore(database), ExamRecords(database), spool, disk)
    database.close()


class Interrupted(Exception):
    pass


def test_the_purge_deletes_files_of_every_revision_and_keeps_the_rows(node: Node):
    for number in (1, 2):
        node.spool.path_of(new_image(number).path).write_bytes(b"image")
        node.store.accept(new_image(number), now=T0)
        deliver(node.store)
    assert purge(node.store, node.spool, rules=KEEP_A_DAY, now=T0 + DAY).exams == 0
    late = T0 + DAY + timedelta(seconds=1)
    told: list[tuple[str, int]] = []
    report = purge(
        node.store,
        node.spool,
        rules=KEEP_A_DAY,
        now=late,
        deleted=lambda study, files: told.append((study, files)),
    )
    assert report.exams == len(told) == 2
    assert {study for study, _ in told} == {new_image(1).study_instance_uid}
    assert sum(files for _, files in told) > 2
    assert statuses(node.store) == [ExamStatus.PURGED, ExamStatus.PURGED]
    assert [path for path in files_of(node.spool) if "locks" not in path.parts] == []


def test_two_workers_that_purge_at_once_tell_of_each_exam_once(node):
    for number in range(6):
        node.finished_exam(number)
    told: list[str] = []

    def work(store) -> None:
        purge(
            store,
            node.spool,
            rules=KEEP_A_DAY,
            now=T0 + 2 * DAY,
            deleted=lambda study, _: told.append(study),
        )

    class Overtaken:
        """A store whose user is overtaken by another one between the look and the deed."""

        def purgeable(self, **wanted):
            found = node.store.purgeable(**wanted)
            work(node.store)
            return found

        mark_purged = node.store.mark_purged

    work(Overtaken())
    assert len(told) == len(set(told)) == 6


def test_the_purge_keeps_to_its_limit(node: Node):
    for number in (1, 2, 3):
        node.finished_exam(number)
    assert node.purge(now=T0 + 2 * DAY, max_age=DAY, limit=2).exams == 2
    assert node.purge(now=T0 + 2 * DAY, max_age=DAY, limit=2).exams == 1


def test_what_a_purge_that_died_in_between_left_is_swept_up(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    image = node.finished_exam(1)

    def die(_: str) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(node.spool, "remove", die)
        with pytest.raises(Interrupted):
            node.purge(now=T0 + 2 * DAY, max_age=DAY)
    assert image.exists()
    assert statuses(node.store) == [ExamStatus.PURGED]
    os.utime(image, (T0.timestamp(), T0.timestamp()))
    assert remove_unknown(node.records, node.spool, now=T0 + 2 * DAY) == 1
    assert not image.exists()


def test_above_its_limit_in_bytes_the_spool_loses_its_oldest_exams(node: Node):
    files = [node.finished_exam(number, size=100) for number in range(5)]
    assert node.purge(max_bytes=250) == PurgeReport(3, missing=0)
    assert [path.exists() for path in files] == [False, False, False, True, True]
    assert node.purge(max_bytes=250) == PurgeReport(0, missing=0)


def test_above_high_water_exams_go_until_the_disk_is_below_low_water(node: Node):
    files = [node.finished_exam(number, size=100) for number in range(6)]
    node.disk.others = 300
    assert node.purge(high_water=0.9, low_water=0.7) == PurgeReport(0, missing=0)
    node.disk.others = 310
    assert node.purge(high_water=0.9, low_water=0.7) == PurgeReport(3, missing=0)
    assert [path.exists() for path in files] == [False] * 3 + [True] * 3
    # Between the marks nothing goes.
    node.disk.others = 560
    assert node.purge(high_water=0.9, low_water=0.7) == PurgeReport(0, missing=0)


def test_what_is_missing_is_said_when_nothing_more_may_go(node: Node):
    node.finished_exam(1)
    node.store.accept(new_image(1, "1.99"), now=T0)
    node.disk.others = 950
    report = node.purge(high_water=0.9, low_water=0.8)
    assert report == PurgeReport(1, missing=150)
    assert statuses(node.store) == [ExamStatus.PURGED, ExamStatus.RECEIVING]
    assert node.purge(high_water=0.9, low_water=0.8) == PurgeReport(0, missing=150)


def test_an_image_that_comes_again_while_it_is_purged_is_not_acknowledged_and_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    assert node.receive("1.2.3.1") is Acceptance.NEW
    deliver(node.store)
    accept = node.store.accept

    def purged_meanwhile(image: NewImage, **times):
        # The file of the second arrival is dropped by now: the one kept before has its bytes.
        assert node.purge(now=T0 + 9 * DAY, max_age=DAY).exams == 0
        return accept(image, **times)

    monkeypatch.setattr(node.store, "accept", purged_meanwhile)
    assert node.receive("1.2.3.1") is Acceptance.SAME
    (file,) = node.image_files()
    assert file.read_bytes() == dicom_file(b"pixels")
    # The receiver has let go.
    assert node.purge(now=T0 + 9 * DAY, max_age=DAY).exams == 1
    assert node.image_files() == []


def test_a_late_image_that_comes_while_its_study_is_purged_keeps_the_earlier_ones(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    node.receive("1.2.3.1")
    deliver(node.store)
    purgeable = node.store.purgeable

    def an_image_comes_meanwhile(**limits):
        found = purgeable(**limits)
        node.receive("1.2.3.2", b"others")
        return found

    monkeypatch.setattr(node.store, "purgeable", an_image_comes_meanwhile)
    assert node.purge(now=T0 + 9 * DAY, max_age=DAY).exams == 0
    assert statuses(node.store) == [ExamStatus.DELIVERED, ExamStatus.RECEIVING]
    assert len(node.image_files()) == 2


def test_an_image_that_comes_again_while_its_leftover_is_swept_up_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    node.receive("1.2.3.1")
    deliver(node.store)
    (file,) = node.image_files()
    node.store.mark_purged(1, now=T0 + DAY)
    os.utime(file, (T0.timestamp(), T0.timestamp()))
    accept = node.store.accept

    def swept_meanwhile(image: NewImage, **times):
        assert remove_unknown(node.records, node.spool, now=T0 + 9 * UNKNOWN_AFTER) == 0
        return accept(image, **times)

    monkeypatch.setattr(node.store, "accept", swept_meanwhile)
    assert node.receive("1.2.3.1") is Acceptance.NEW
    assert node.image_files() == [file]


def test_images_and_purges_at_once_lose_nothing_that_was_acknowledged(node: Node):
    stopping, rounds = threading.Event(), 25

    def purge_on() -> None:
        while not stopping.is_set():
            node.purge(now=T0 + 9 * DAY, max_age=DAY)
            remove_unknown(node.records, node.spool, now=T0 + 9000 * UNKNOWN_AFTER)

    purger = threading.Thread(target=purge_on)
    purger.start()
    try:
        for number in range(rounds):
            answer = node.receive("1.2.3.1")
            kept = node.records.exam_detail(len(statuses(node.store)))
            if answer is Acceptance.NEW:
                (image,) = kept.images
                assert node.spool.path_of(image.path).exists(), number
                exam = claim(node.store)
                node.store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=T0)
    finally:
        stopping.set()
        purger.join()
    assert set(statuses(node.store)[:-1]) == {ExamStatus.PURGED}


def test_a_lock_that_cannot_be_had_stops_receiving_with_the_reason(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cadnode.storage.locks.os.open", full)
    with pytest.raises(SpoolFull, match="No space left on device"):
        node.receive("1.2.3.1")


def test_receiving_stops_before_the_disk_is_full_and_starts_again_by_itself(tmp_path: Path):
    config = tmp_path / "cadnode.toml"
    config.write_text(
        '[node]\ndata_dir = "data"\nhost = "127.0.0.1"\nport = 0\naccept_unknown = true\n'
        "[retention]\nreserve_mb = 1024\n"
    )
    app = App(load_settings(config, {}))
    rules = app.settings.retention_rules
    store, others = app.open_store(create=True), 0

    def disk(_: Path) -> Usage:
        # Every kept image stands for a gigabyte.
        used = others + GB * len(list((tmp_path / "data" / "images").rglob("*.dcm")))
        return Usage(10 * GB, used, 10 * GB - used)

    spool = Spool(app.settings.node.data_dir, rules.reserve_bytes, disk_usage=disk)
    scp = app.storage_scp(store.exams, spool)
    scp.start()
    try:
        with Modality(scp.port) as modality:
            modality.associate()
            assert modality.store("1.2.3.1") == (0x0000, "")
            deliver(store.exams, now=utc_now())
            others = 8 * GB
            assert modality.store("1.2.3.2")[0] == 0xA700
            assert statuses(store.exams) == [ExamStatus.DELIVERED]
            # Housekeeping takes its turn; nobody starts anything again.
            assert purge(store.exams, spool, rules=rules, now=utc_now()) == PurgeReport(1, 0)
            assert modality.store("1.2.3.2") == (0x0000, "")
        assert [path.parent.name for path in spool.incoming_dir.iterdir()] == []
        outcome = Fsck(store.database, spool, destinations={}, now=utc_now()).check()
        assert outcome.is_clean
    finally:
        scp.stop()
        store.close()
