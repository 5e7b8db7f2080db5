"""Images and results in a real object store (OpenStack Swift by its S3 API), and its bad days."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from cadnode.app import App, utc_now
from cadnode.checks import storage_check
from cadnode.config import load_settings
from cadnode.config.origin import masked
from cadnode.console.viewer import NodeViewer
from cadnode.core.errors import CadnodeError, ImageUnreachable, SpoolFull
from cadnode.core.exam import BuiltResult, ImageState
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.retention import RetentionRules
from cadnode.core.retry import RetryRules
from cadnode.dimse.storing import IncomingObject
from cadnode.receiving import keep
from cadnode.storage.fsck import Fsck
from cadnode.storage.object_spool import ObjectSpool
from cadnode.storage.objects import ObjectAccess, Objects
from cadnode.storage.retention import UNKNOWN_AFTER, purge, remove_unknown
from cadnode.worker import AnalysisLane, DeliveryLane
from tests.certificates import SiteCa
from tests.contract.exams import claim, close, delivery_statuses, statuses
from tests.contract.fake_classifier import FakeClassifier
from tests.contract.fake_sender import FakeSender
from tests.integration.modality import Modality
from tests.integration.test_storage_spool import dicom_file
from tests.peers import free_port, require, running
from tests.relay import Relay
from tests.swift import KEY, SECRET, Swift

IMAGE = dicom_file(b"pixels")
RESULT = BuiltResult("mammography-cad-sr", "1.1", "2.25.1", "2.25.2", dicom_file(b"a result"))
LEASE = timedelta(seconds=60)
UID = "1.2.3.1"


@dataclass
class Machine:
    """One machine of a node whose files are in the object store."""

    app: App
    spool: ObjectSpool

    def __post_init__(self) -> None:
        self.node = self.app.open_store(create=True)
        self.store = self.node.exams

    def receive(self, uid: str = UID, content: bytes = IMAGE, study: str = "1.2.3") -> Acceptance:
        part = self.spool.incoming_dir / f"{threading.get_ident()}.part"
        part.write_bytes(content)
        return keep(
            IncomingObject(part, "1.2.840.1", uid, study, f"{study}.8", "1.2", "MG1", "localhost"),
            self.spool,
            self.store,
            identify=True,
            clock=utc_now,
        )

    def objects(self) -> list[str]:
        return [file.path for file in self.spool.walk(("images", "results"))]

    def analyze(self) -> None:
        lane = AnalysisLane(
            self.store,
            self.app.pipeline(self.store, self.spool, classifier=FakeClassifier, senders={}),
            owner="w1",
            lease=LEASE,
            retry=RetryRules(),
            clock=lambda: utc_now() + timedelta(hours=1),
            stopping=threading.Event(),
        )
        lane.run_once()


SQLITE = "sqlite:///../jobs.db"


def machine(
    folder: Path, access: ObjectAccess, *, database: str = SQLITE, **more: object
) -> Machine:
    folder.mkdir()
    values = {
        "url": access.url,
        "endpoint_url": access.endpoint_url,
        "access_key": access.access_key,
        "secret_key": access.secret_key,
        "seconds": access.seconds,
        **more,
    }
    lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    config = folder / "cadnode.toml"
    config.write_text(
        '[node]\ndata_dir = "data"\nhost = "127.0.0.1"\nport = 0\naccept_unknown = true\n'
        f'[database]\nurl = "{database}"\n[storage]\n{lines}\n'
    )
    app = App(load_settings(config, {}))
    spool = app.spool()
    assert isinstance(spool, ObjectSpool)
    return Machine(app, spool)


@pytest.fixture
def way(object_store: Swift) -> Iterator[Relay]:
    """The way to the store."""
    relay = Relay(object_store.port)
    yield relay
    relay.cut()


@pytest.fixture
def access(object_store: Swift, way: Relay) -> ObjectAccess:
    return replace(object_store.access(), endpoint_url=f"http://127.0.0.1:{way.port}", seconds=15.0)


@pytest.fixture
def one(tmp_path: Path, access: ObjectAccess) -> Iterator[Machine]:
    made = machine(tmp_path / "one", access)
    yield made
    made.node.close()


@pytest.fixture
def other(tmp_path: Path, access: ObjectAccess) -> Iterator[Machine]:
    made = machine(tmp_path / "other", access)
    yield made
    made.node.close()


def test_an_acknowledged_image_outlives_the_machine_that_received_it(one: Machine, other: Machine):
    assert one.receive() is Acceptance.NEW
    result = one.spool.keep_result("1.2.3", RESULT)
    shutil.rmtree(one.app.settings.node.data_dir)
    (image,) = other.node.records.exam_detail(1).images
    assert other.spool.path_of(image.path).read_bytes() == IMAGE
    assert other.spool.path_of(result.path).read_bytes() == RESULT.content


def test_a_sender_waits_for_one_durable_write_of_the_file_and_no_more(
    one: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    part = one.spool.incoming_dir / "whole.part"
    part.write_bytes(IMAGE)
    kept = one.spool.keep_image(part, study_instance_uid="1.2.3", sop_instance_uid=UID)
    assert one.spool.size_of(kept.path) == len(IMAGE)
    assert synced == []


def test_the_receivers_own_copy_spares_the_way_to_the_store(one: Machine, way: Relay):
    one.receive()
    (image,) = one.node.records.exam_detail(1).images
    with way.down():
        assert one.spool.path_of(image.path).read_bytes() == IMAGE


def test_nothing_is_recorded_while_the_store_is_down_and_senders_try_again(
    one: Machine, way: Relay
):
    scp = one.app.storage_scp(one.store, one.spool)
    scp.start()
    try:
        with Modality(scp.port) as modality:
            modality.associate()
            with way.down():
                status, comment = modality.store(UID)
                assert (status, "does not answer" in comment) == (0xA700, False)
                assert statuses(one.store) == []
                assert list(one.spool.incoming_dir.iterdir()) == []
            assert modality.store(UID)[0] == 0x0000
        assert statuses(one.store) == [ExamStatus.RECEIVING]
    finally:
        scp.stop()


def test_a_put_that_breaks_off_leaves_neither_an_object_nor_a_row(
    one: Machine, other: Machine, way: Relay
):
    way.cut_after(100_000)
    with pytest.raises(SpoolFull):
        one.receive(content=dicom_file(bytes(1 << 20)))
    assert other.objects() == []
    assert statuses(one.store) == []
    assert list((one.app.settings.node.data_dir / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"secret_key": "another"}, {"url": "s3://no-such-bucket/files"}],
    ids=["secret", "bucket"],
)
def test_a_store_that_refuses_is_trouble_for_the_node_and_not_for_the_image(
    tmp_path: Path, access: ObjectAccess, one: Machine, wrong: dict[str, str]
):
    one.receive()
    (image,) = one.node.records.exam_detail(1).images
    refused = machine(tmp_path / "refused", access, **wrong)
    with pytest.raises(SpoolFull) as full:
        refused.receive("1.2.3.2")
    for call in (refused.spool.path_of, refused.spool.size_of, refused.spool.remove):
        with pytest.raises(ImageUnreachable) as unreachable:
            call(image.path)
        assert SECRET not in str(unreachable.value) + str(full.value)
        assert KEY not in str(unreachable.value) + str(full.value)
    well, said = storage_check(refused.app)
    assert not well
    assert "refused" in said or "bucket" in said
    refused.node.close()


def test_a_store_behind_https_is_asked_only_with_a_certificate_of_the_site(
    tmp_path: Path, access: ObjectAccess, object_store: Swift
):
    site, stranger = SiteCa(tmp_path / "site"), SiteCa(tmp_path / "stranger", "stranger")
    files, port = site.issue("objects"), free_port()
    pem = tmp_path / "objects.pem"
    pem.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n mode http\n"
        f"frontend tls\n bind 127.0.0.1:{port} ssl crt {pem}\n default_backend swift\n"
        f"backend swift\n server swift 127.0.0.1:{object_store.port}\n"
    )
    encrypted = replace(access, endpoint_url=f"https://localhost:{port}")
    with running([require("haproxy", "haproxy"), "-f", config], port, tmp_path / "haproxy.log"):
        one = machine(tmp_path / "one", encrypted, ca=str(site.file))
        assert one.receive() is Acceptance.NEW
        assert len(one.objects()) == 1
        for number, trusted in enumerate(({"ca": str(stranger.file)}, {})):
            other = machine(tmp_path / str(number), encrypted, **trusted)
            with pytest.raises(SpoolFull):
                other.receive("1.2.3.2")
            other.node.close()
        one.node.close()


def test_the_secret_is_shown_nowhere(one: Machine, access: ObjectAccess):
    settings = one.app.settings
    assert settings.storage.secret_key.get_secret_value() == SECRET
    for shown in (str(settings), str(masked(settings)), repr(access), settings.model_dump_json()):
        assert SECRET not in shown


def test_the_check_puts_gets_and_deletes_an_object(one: Machine, way: Relay):
    well, said = storage_check(one.app)
    assert well
    assert "written, read and deleted" in said
    assert one.objects() == []
    with way.down():
        well, said = storage_check(one.app)
    assert not well


def test_exams_wait_while_images_cannot_be_fetched(one: Machine, other: Machine, way: Relay):
    one.receive()
    with way.down():
        other.analyze()
        detail = other.node.records.exam_detail(1)
        assert detail.exam.status is ExamStatus.RECEIVING
        assert detail.exam.error_code == ImageUnreachable.code
        assert [image.state for image in detail.images] == [ImageState.RECEIVED]
    exam = claim(other.store, now=utc_now() + timedelta(hours=2))
    assert exam.tries == 1
    other.store.release_exam(exam, due_at=utc_now(), now=utc_now())
    other.analyze()
    (image,) = other.node.records.exam_detail(1).images
    assert image.state is not ImageState.RECEIVED


def test_results_that_cannot_be_fetched_wait_untried(one: Machine, other: Machine, way: Relay):
    one.receive()
    exam = close(one.store, now=utc_now())
    result = one.spool.keep_result(exam.study_instance_uid, RESULT)
    one.store.record_results(exam, [result], {"pacs": [result.kind]}, now=utc_now())
    sender = FakeSender()
    lane = DeliveryLane(
        "pacs",
        other.store,
        other.app.pipeline(other.store, other.spool, senders={"pacs": sender}),
        owner="w2",
        lease=LEASE,
        clock=utc_now,
    )
    with way.down(), pytest.raises(ImageUnreachable):
        lane.run_once()
    (delivery,) = other.node.records.exam_detail(1).deliveries
    assert (delivery.status, delivery.tries) == ("pending", 0)
    assert lane.run_once()
    assert delivery_statuses(other.store) == ["delivered"]
    assert len(sender.held) == 1


def test_the_console_of_another_machine_shows_what_is_kept(
    one: Machine, other: Machine, way: Relay
):
    one.receive()
    exam = close(one.store, now=utc_now())
    result = one.spool.keep_result(exam.study_instance_uid, RESULT)
    one.store.record_results(exam, [result], {}, now=utc_now())
    viewer = NodeViewer(other.app, other.node)
    with way.down():
        (image,) = viewer.exam(1).images
        assert image.no_picture == "the file cannot be read at the moment"
        with pytest.raises(ImageUnreachable):
            viewer.result_file(1, 1)
    (image,) = viewer.exam(1).images
    assert image.no_picture != "the file cannot be read at the moment"
    assert viewer.result_file(1, 1).content == RESULT.content


def test_a_copy_that_the_disk_has_spoiled_is_fetched_again(other: Machine, one: Machine):
    kept = one.spool.keep_result("1.2.3", RESULT)
    copy = other.spool.path_of(kept.path)
    copy.write_bytes(b"spoiled")
    fresh = other.app.spool()
    assert fresh.path_of(kept.path).read_bytes() == RESULT.content


def test_an_object_with_other_bytes_than_its_name_says_is_as_good_as_gone(
    one: Machine, other: Machine, access: ObjectAccess
):
    one.receive()
    (image,) = one.node.records.exam_detail(1).images
    Objects(access).put_bytes(dicom_file(b"spoilt"), image.path)
    assert not other.spool.path_of(image.path).exists()
    outcome = Fsck(other.node.database, other.spool, destinations={}, now=utc_now()).check(
        deep=True
    )
    assert [item.kind.name for item in outcome.discrepancies] == ["IMAGE_ALTERED"]


def test_the_same_image_again_leaves_one_object(one: Machine):
    assert one.receive() is Acceptance.NEW
    before = one.objects()
    assert one.receive() is Acceptance.SAME
    assert one.objects() == before


def test_nothing_is_fetched_for_an_image_that_comes_again(
    one: Machine, monkeypatch: pytest.MonkeyPatch
):
    one.receive()
    for copy in (one.app.settings.node.data_dir / "cache").iterdir():
        copy.unlink()
    fetched: list[str] = []

    def get(key: str, file: Path) -> bool:
        fetched.append(key)
        return False

    monkeypatch.setattr(one.spool._objects, "get", get)
    assert one.receive() is Acceptance.SAME
    (image,) = one.node.records.exam_detail(1).images
    assert one.spool.path_of(image.path).read_bytes() == IMAGE
    assert fetched == []


def test_an_object_that_was_lost_is_mended_by_sending_the_image_again(one: Machine, other: Machine):
    one.receive()
    (lost,) = one.objects()
    one.spool.remove(lost)
    fsck = Fsck(other.node.database, other.spool, destinations={}, now=utc_now())
    assert [item.kind.name for item in fsck.check().discrepancies] == ["IMAGE_MISSING"]
    assert one.receive() is Acceptance.SAME
    assert fsck.check(deep=True).is_clean
    assert other.objects() == [lost]


def test_an_image_in_another_study_leaves_no_object(one: Machine):
    one.receive()
    before = one.objects()
    assert one.receive(study="1.2.4") is Acceptance.CONFLICT
    assert one.objects() == before


def test_an_object_without_a_row_goes_after_a_day_and_not_before(one: Machine):
    one.receive()
    known = one.objects()
    one.spool.keep_result("1.2.9", RESULT)
    records, spool = one.node.records, one.spool
    late = utc_now() + UNKNOWN_AFTER
    assert remove_unknown(records, spool, now=late - timedelta(minutes=5)) == 0
    assert remove_unknown(records, spool, now=late + timedelta(minutes=5)) == 1
    assert one.objects() == known


def test_a_purge_takes_what_rows_named_and_never_what_has_come_again(
    one: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
):
    one.receive()
    exam = claim(one.store, now=utc_now() + timedelta(hours=1))
    one.store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=utc_now())
    mark = other.store.mark_purged

    def comes_again(exam_id: int, **times):
        paths = mark(exam_id, **times)
        # The exam is marked, its object not yet deleted.
        assert one.receive() is Acceptance.NEW
        return paths

    monkeypatch.setattr(other.store, "mark_purged", comes_again)
    rules = RetentionRules(max_age=timedelta(0))
    late = utc_now() + timedelta(days=1)
    assert purge(other.store, other.spool, rules=rules, now=late).exams == 1
    (image,) = one.node.records.exam_detail(2).images
    assert one.objects() == [image.path]
    assert other.spool.path_of(image.path).read_bytes() == IMAGE


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_images_and_purges_at_once_on_two_machines_lose_nothing_that_was_acknowledged(
    tmp_path: Path, object_store: Swift, request: pytest.FixtureRequest, database: str
):
    url = SQLITE if database == "sqlite" else request.getfixturevalue("postgres_url")
    access = object_store.access()
    one, other = (machine(tmp_path / name, access, database=url) for name in ("one", "other"))
    stopping = threading.Event()
    rules = RetentionRules(max_age=timedelta(0))
    broken: list[BaseException] = []

    def purge_on() -> None:
        try:
            while not stopping.is_set():
                purge(other.store, other.spool, rules=rules, now=utc_now() + timedelta(days=1))
                remove_unknown(other.node.records, other.spool, now=utc_now())
        except CadnodeError as error:
            broken.append(error)

    purger = threading.Thread(target=purge_on)
    purger.start()
    came_again = purged = 0
    try:
        while purged < 5 and not broken:
            answer = one.receive()
            if answer is Acceptance.SAME:
                continue
            came_again += 1
            (image,) = one.node.records.exam_detail(len(statuses(one.store))).images
            assert one.spool.size_of(image.path) == len(IMAGE), came_again
            exam = claim(one.store, now=utc_now() + timedelta(hours=1))
            one.store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=utc_now())
            purged = statuses(one.store).count(ExamStatus.PURGED)
    finally:
        stopping.set()
        purger.join()
        for each in (one, other):
            each.node.close()
    assert (purged, broken) == (5, [])


def test_the_cache_keeps_to_its_bytes(tmp_path: Path, access: ObjectAccess):
    spool = ObjectSpool(
        Objects(access), tmp_path / "small", reserve_bytes=0, cache_bytes=3 * len(IMAGE)
    )
    for number in range(6):
        part = spool.incoming_dir / "whole.part"
        part.write_bytes(IMAGE)
        spool.keep_image(part, study_instance_uid="1.2.3", sop_instance_uid=f"1.2.{number}")
    copies = [path.stat().st_size for path in (tmp_path / "small" / "cache").iterdir()]
    assert copies == [len(IMAGE)] * 3
    assert len(list(spool.walk())) == 6


def test_copies_make_room_for_what_is_received(tmp_path: Path, access: ObjectAccess):
    @dataclass
    class Disk:
        total: int
        used: int
        free: int

    folder = tmp_path / "small"

    def disk(_: Path) -> Disk:
        used = sum(path.stat().st_size for path in (folder / "cache").iterdir())
        return Disk(1000, used, 1000 - used)

    spool = ObjectSpool(
        Objects(access), folder, reserve_bytes=100, cache_bytes=1 << 20, disk_usage=disk
    )
    for number in range(4):
        part = spool.incoming_dir / "whole.part"
        part.write_bytes(IMAGE)
        spool.keep_image(part, study_instance_uid="1.2.3", sop_instance_uid=f"1.2.{number}")
    before = len(list((folder / "cache").iterdir()))
    assert spool.has_room(800)
    assert len(list((folder / "cache").iterdir())) < before
    assert not spool.has_room(901)
