"""What holds wherever the files of a node lie: in a folder, or in an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cadnode.core.errors import NotFound, SpoolFull, UnreadableObject
from cadnode.core.exam import BuiltResult
from cadnode.core.file_ports import KEPT, KeptFile, NodeFiles
from cadnode.storage.object_spool import ObjectSpool
from cadnode.storage.objects import Objects
from cadnode.storage.spool import Spool
from tests.integration.test_storage_spool import dicom_file

STUDY = "1.2.3"
RESULT = BuiltResult("cad", "1.1", "2.25.1", "2.25.2", b"a result")
IMAGE = dicom_file(b"pixels")
OUTSIDE = ["../outside", "/etc/passwd", "images/../../outside", "cadnode.db", ""]

Machines = Callable[[str], NodeFiles]


@pytest.fixture(params=["folder", "objects"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Machines:
    """The files as any number of machines see them, each under its name."""
    if request.param == "folder":
        return lambda name: Spool(tmp_path / "shared", reserve_bytes=0, machine=name)
    access = request.getfixturevalue("object_store").access()
    return lambda name: ObjectSpool(
        Objects(access), tmp_path / name, reserve_bytes=0, cache_bytes=1 << 20
    )


@pytest.fixture
def files(machines: Machines) -> NodeFiles:
    return machines("one")


def keep(files: NodeFiles, content: bytes = IMAGE, uid: str = "1.2.3.4") -> KeptFile:
    incoming = files.incoming_dir / "whole.part"
    incoming.write_bytes(content)
    return files.keep_image(incoming, study_instance_uid=STUDY, sop_instance_uid=uid)


def content_of(files: NodeFiles, relative: str) -> bytes | None:
    path = files.path_of(relative)
    return path.read_bytes() if path.exists() else None


def listed(files: NodeFiles) -> dict[str, int]:
    return {file.path: file.size for file in files.walk()}


def test_a_kept_image_has_its_bytes_its_size_and_its_hash(files: NodeFiles):
    kept = keep(files)
    assert content_of(files, kept.path) == IMAGE
    assert kept.size == files.size_of(kept.path) == len(IMAGE)
    assert kept.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert listed(files) == {kept.path: len(IMAGE)}


def test_a_kept_result_has_its_bytes_its_size_and_its_hash(files: NodeFiles):
    kept = files.keep_result(STUDY, RESULT)
    assert content_of(files, kept.path) == b"a result"
    assert (kept.size, kept.sha256) == (8, hashlib.sha256(b"a result").hexdigest())
    assert listed(files) == {kept.path: 8}


def test_every_machine_reads_what_one_of_them_has_kept(machines: Machines):
    one, other = machines("one"), machines("other")
    image, result = keep(one), one.keep_result(STUDY, RESULT)
    assert content_of(other, image.path) == IMAGE
    assert content_of(other, result.path) == b"a result"
    assert listed(other) == listed(one)
    other.remove(image.path)
    assert one.size_of(image.path) is None


def test_what_one_machine_receives_no_other_one_clears_up(machines: Machines):
    one, other = machines("one"), machines("other")
    (one.incoming_dir / "half.part").write_bytes(b"half")
    assert list(other.incoming_dir.iterdir()) == []
    assert [file.is_partial for file in one.walk(("incoming",))] == [True]


def test_the_same_bytes_twice_are_one_file_or_two_that_are_told_apart(files: NodeFiles):
    first, again = keep(files), keep(files)
    assert again.sha256 == first.sha256
    assert again.is_copy == (again.path != first.path)
    assert content_of(files, first.path) == content_of(files, again.path) == IMAGE
    results = [files.keep_result(STUDY, RESULT) for _ in range(2)]
    assert replace(results[0], path="") == replace(results[1], path="")
    assert {content_of(files, result.path) for result in results} == {b"a result"}


def test_other_bytes_under_one_uid_get_a_file_of_their_own(files: NodeFiles):
    first, other = keep(files), keep(files, dicom_file(b"others"))
    files.remove(other.path)
    assert content_of(files, first.path) == IMAGE
    assert content_of(files, other.path) is None


def test_a_file_without_its_meta_information_is_not_kept(files: NodeFiles):
    with pytest.raises(UnreadableObject):
        keep(files, b"short")
    assert list(files.walk(KEPT)) == []


@pytest.mark.parametrize("uid", ["../../escape", "a" * 300, "", "1.2.3\x00", "\u0661.2"])
def test_a_strangers_uid_never_becomes_a_name(files: NodeFiles, uid: str):
    kept = keep(files, uid=uid)
    folder, shard, name = kept.path.split("/")
    assert (folder, len(shard), name.isascii()) == ("images", 2, True)
    assert content_of(files, kept.path) == IMAGE


@pytest.mark.parametrize("path", OUTSIDE[:3])
def test_a_path_that_leads_elsewhere_is_refused(files: NodeFiles, path: str):
    for call in (files.path_of, files.size_of, files.remove):
        with pytest.raises(NotFound):
            call(path)
    with pytest.raises(NotFound), files.opened(path):
        pass


def test_what_is_removed_is_gone_and_removing_it_again_does_no_harm(files: NodeFiles):
    kept = keep(files)
    files.path_of(kept.path)
    files.remove(kept.path)
    files.remove(kept.path)
    assert files.size_of(kept.path) is None
    assert not files.path_of(kept.path).exists()
    assert listed(files) == {}
    with pytest.raises(FileNotFoundError), files.opened(kept.path):
        pass


def test_a_file_can_be_read_where_it_is_kept(files: NodeFiles):
    kept = keep(files)
    with files.opened(kept.path) as stream:
        assert stream.read() == IMAGE


def test_what_was_kept_is_listed_by_age(files: NodeFiles):
    image, result = keep(files), files.keep_result(STUDY, RESULT)
    hour = timedelta(hours=1)
    assert list(files.kept_before(datetime.now(UTC) - hour)) == []
    assert list(files.kept_before(datetime.now(UTC) + hour)) == [image.path, result.path]


def test_the_size_is_that_of_all_files(files: NodeFiles):
    keep(files)
    files.keep_result(STUDY, RESULT)
    assert files.size() == len(IMAGE) + 8


def test_bytes_that_come_again_are_put_where_they_were_lost(files: NodeFiles):
    lost, copy = keep(files), keep(files, uid="1.2.3.5")
    files.remove(lost.path)
    files.mend(lost.path, lost.size, copy.path)
    assert content_of(files, lost.path) == IMAGE
    assert listed(files) == {lost.path: len(IMAGE)}


def test_bytes_that_come_again_leave_what_is_there(files: NodeFiles):
    there, copy = keep(files), keep(files, dicom_file(b"others"), uid="1.2.3.5")
    files.mend(there.path, there.size, copy.path)
    assert content_of(files, there.path) == IMAGE
    assert listed(files) == {there.path: len(IMAGE)}


def test_whoever_purges_never_takes_what_is_just_being_kept(machines: Machines):
    receiver, purger = machines("receiver"), machines("purger")
    before = keep(receiver)
    with receiver.receiving(STUDY):
        # The row still names `before`: the purge has marked it, and deletes what it named.
        again = keep(receiver)
        with purger.clearing(STUDY) as is_ours:
            if is_ours:
                purger.remove(before.path)
    assert content_of(purger, again.path) == IMAGE


def test_nobody_is_in_the_way_of_a_purge_for_longer_than_an_image_takes(machines: Machines):
    receiver, purger = machines("receiver"), machines("purger")
    with receiver.receiving(STUDY):
        kept = keep(receiver)
    with (
        purger.clearing(STUDY) as of_study,
        purger.clearing_path("results/zz/other.dcm") as of_file,
    ):
        assert (of_study, of_file) == (True, True)
        purger.remove(kept.path)
    assert receiver.size_of(kept.path) is None


def test_only_its_own_user_reads_what_lies_on_the_disk(files: NodeFiles):
    kept = keep(files)
    modes = {path.stat().st_mode & 0o077 for path in files.folders()}
    assert modes | {files.path_of(kept.path).stat().st_mode & 0o077} == {0}


def test_a_folder_that_cannot_be_made_is_said_so(machines: Machines, tmp_path: Path):
    for name in ("shared", "one"):
        (tmp_path / name).write_text("a file")
    with pytest.raises(SpoolFull):
        machines("one")
