"""The spool on a real disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.errors import NotFound, SpoolFull, UnreadableObject
from cadnode.core.exam import BuiltResult
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from cadnode.storage.retention import UNKNOWN_AFTER, remove_abandoned, remove_unknown
from cadnode.storage.spool import Spool, place
from tests.contract.exams import T0, new_image


def dicom_file(data_set: bytes, sender: bytes = b"MODALITY") -> bytes:
    # (0002,0016) Source Application Entity Title, VR AE.
    meta = b"\x02\x00\x16\x00AE" + len(sender).to_bytes(2, "little") + sender
    group_length = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    return bytes(128) + b"DICM" + group_length + meta + data_set


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data", reserve_bytes=0)


def receive(spool: Spool, content: bytes, name: str = "part") -> Path:
    path = spool.incoming_dir / name
    path.write_bytes(content)
    return path


def keep(spool: Spool, content: bytes, uid: str = "1.2.3.4"):
    return spool.keep_image(
        receive(spool, content), study_instance_uid="1.2.3", sop_instance_uid=uid
    )


def files_of(spool: Spool) -> list[Path]:
    return [path for path in spool.path_of(".").rglob("*") if path.is_file()]


def test_a_kept_image_has_its_bytes_its_size_and_its_hash(spool: Spool):
    content = dicom_file(b"pixels")
    kept = keep(spool, content)
    assert spool.path_of(kept.path).read_bytes() == content
    assert kept.size == len(content)
    assert kept.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert list(spool.incoming_dir.iterdir()) == []


def test_only_its_own_user_reads_the_spool(spool: Spool):
    kept = spool.path_of(keep(spool, dicom_file(b"pixels")).path)
    spool.keep_result("1.2.3", BuiltResult("cad", "1.1", "2.25.1", "2.25.2", b"result"))
    modes = {path.stat().st_mode & 0o777 for path in spool.path_of(".").rglob("*") if path.is_dir()}
    assert modes == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files_of(spool)} == {0o600}
    assert kept in files_of(spool)


def test_the_same_object_from_another_sender_is_the_same_file(spool: Spool):
    first = keep(spool, dicom_file(b"pixels"))
    again = keep(spool, dicom_file(b"pixels", sender=b"ARCHIVE1"))
    assert (again.path, again.sha256, again.size) == (first.path, first.sha256, first.size)
    assert len(files_of(spool)) == 1


def test_other_bytes_under_one_uid_get_a_file_of_their_own(spool: Spool):
    first, other = keep(spool, dicom_file(b"pixels")), keep(spool, dicom_file(b"others"))
    assert first.path != other.path
    spool.remove(other.path)
    assert spool.path_of(first.path).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        bytes(300),
        bytes(128) + b"DICM" + b"\x08\x00\x05\x00CS\x04\x00ISO ",
        dicom_file(b"")[:-3],
    ],
)
def test_a_file_without_its_meta_information_is_unreadable(spool: Spool, content: bytes):
    with pytest.raises(UnreadableObject):
        keep(spool, content)


@pytest.mark.parametrize(
    "uid", ["../../escape", "/etc/passwd", "a" * 300, "1.2\n3", "", "..", "1.2.3\x00", "\u0661.2"]
)
def test_a_strangers_uid_never_becomes_a_path(spool: Spool, uid: str):
    kept = spool.path_of(keep(spool, dicom_file(b"pixels"), uid).path)
    assert kept.is_relative_to(spool.path_of("images"))
    assert kept.parent.parent == spool.path_of("images")


@given(uid=st.text(max_size=80))
def test_any_uid_gives_one_plain_name(uid: str):
    folder, shard, name = place("images", uid, uid, "f" * 64).split("/")
    assert (folder, len(shard)) == ("images", 2)
    assert name.endswith("-ffffffffffffffff.dcm")
    assert name.isascii()
    assert name.isprintable()
    assert len(name) <= 85


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "images/../../outside"])
def test_a_path_out_of_the_data_directory_is_refused(spool: Spool, path: str):
    with pytest.raises(NotFound):
        spool.path_of(path)
    with pytest.raises(NotFound):
        spool.remove(path)


def test_a_result_written_twice_is_one_file(spool: Spool):
    built = BuiltResult("cad", "1.1", "2.25.1", "2.25.2", b"result")
    first, again = spool.keep_result("1.2.3", built), spool.keep_result("1.2.3", built)
    assert first == again
    assert (first.size, first.sha256) == (6, hashlib.sha256(b"result").hexdigest())
    assert [path.read_bytes() for path in files_of(spool)] == [b"result"]


def test_a_disk_that_is_full_is_told_apart_and_leaves_nothing_half(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cadnode.storage.spool.os.fsync", full)
    with pytest.raises(SpoolFull, match="the data disk is full"):
        spool.keep_result("1.2.3", BuiltResult("cad", "1.1", "2.25.1", "2.25.2", b"result"))
    assert files_of(spool) == []
    with pytest.raises(SpoolFull):
        keep(spool, dicom_file(b"pixels"))
    assert [path.parent for path in files_of(spool)] == [spool.incoming_dir]


def test_room_is_what_is_left_above_the_reserve(spool: Spool, tmp_path: Path):
    assert spool.has_room(1)
    greedy = Spool(tmp_path / "data", reserve_bytes=1 << 62)
    assert not greedy.has_room()
    assert not spool.has_room(1 << 62)


def test_what_was_kept_is_listed_by_age(spool: Spool):
    kept = keep(spool, dicom_file(b"pixels"))
    written = datetime.fromtimestamp(spool.path_of(kept.path).stat().st_mtime, UTC)
    assert list(spool.kept_before(written - timedelta(seconds=1))) == []
    assert list(spool.kept_before(written + timedelta(seconds=1))) == [kept.path]


def test_removing_what_is_gone_does_no_harm(spool: Spool):
    kept = keep(spool, dicom_file(b"pixels"))
    spool.remove(kept.path)
    spool.remove(kept.path)
    assert files_of(spool) == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlExamStore]:
    upgrade(f"sqlite:///{tmp_path / 'jobs.db'}")
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield SqlExamStore(database)
    database.close()


def touch(spool: Spool, number: int) -> Path:
    path = spool.path_of(new_image(number).path)
    path.write_bytes(b"image")
    return path


def test_a_file_without_a_row_is_removed_after_a_day(spool: Spool, store: SqlExamStore, tmp_path):
    records = ExamRecords(Database(f"sqlite:///{tmp_path / 'jobs.db'}"))
    known, lost = touch(spool, 1), touch(spool, 2)
    store.accept(new_image(1), now=T0)
    for path in (known, lost):
        os.utime(path, (T0.timestamp(), T0.timestamp()))
    assert remove_unknown(records, spool, now=T0 + UNKNOWN_AFTER) == 0
    late = T0 + UNKNOWN_AFTER + timedelta(seconds=5)
    assert remove_unknown(records, spool, now=late) == 1
    assert known.exists()
    assert not lost.exists()


def test_what_was_begun_a_day_ago_goes_and_what_is_being_received_stays(spool: Spool):
    for name in ("old.part", "new.part"):
        receive(spool, b"half", name)
    os.utime(spool.incoming_dir / "old.part", (T0.timestamp(), T0.timestamp()))
    later = T0.timestamp() + 3600
    os.utime(spool.incoming_dir / "new.part", (later, later))
    whole = receive(spool, b"whole", "whole")
    os.utime(whole, (T0.timestamp(), T0.timestamp()))
    assert remove_abandoned(spool, now=T0 + UNKNOWN_AFTER) == 0
    late = T0 + UNKNOWN_AFTER + timedelta(seconds=5)
    assert remove_abandoned(spool, now=late) == 1
    assert sorted(path.name for path in spool.incoming_dir.iterdir()) == ["new.part", "whole"]


def test_files_that_vanish_while_they_are_listed_are_left_out(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        keep(spool, dicom_file(b"pixels"), f"1.2.{number}")
    listed = spool.walk()
    first = next(listed)
    # The folder has been read; now the purge takes a file, and a whole folder.
    for path in files_of(spool):
        if path != spool.path_of(first.path):
            path.unlink()
    assert list(listed) == []
    shutil.rmtree(spool.path_of("images"))
    assert list(spool.walk()) == []
    assert list(spool.kept_before(T0)) == []


def test_an_image_that_comes_again_takes_the_place_of_a_file_that_the_disk_has_spoiled(
    spool: Spool,
):
    kept = keep(spool, dicom_file(b"pixels"))
    spool.path_of(kept.path).write_bytes(dicom_file(b"pix"))
    again = keep(spool, dicom_file(b"pixels"))
    assert again == kept
    assert spool.path_of(kept.path).read_bytes() == dicom_file(b"pixels")


def synced_by(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]
) -> set[str]:
    """The folders of the spool that were synced during a call."""
    synced: set[str] = set()
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.add(spool.relative(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", noted)
        call()
    return synced


def test_a_folder_that_another_process_has_just_made_is_synced_too(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    shard = Path(place("images", "1.2.3", "1.2.3.4", "0" * 16)).parent
    # Made by another receiver, which has not come to sync the folder above it yet.
    (spool.path_of("images") / shard.name).mkdir()
    first = synced_by(spool, monkeypatch, lambda: keep(spool, dicom_file(b"pixels")))
    assert {str(shard), "images"} <= first
    again = synced_by(spool, monkeypatch, lambda: keep(spool, dicom_file(b"others")))
    assert str(shard) in again
    assert "images" not in again
