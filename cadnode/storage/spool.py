"""The spool: received images and result objects as files, synced before anybody is told.

    data_dir/
      incoming/                          being received; nothing here has been acknowledged
      images/<shard>/<uid>-<hash>.dcm    kept images
      results/<shard>/<uid>-<hash>.dcm   result objects
      locks/<shard>                      empty; between who keeps a file and who deletes it

Folders are 0700 and files 0600: only the node's own user reads patients' images.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from cadnode.core.errors import ImageUnreachable, NotFound, SpoolFull, UnreadableObject
from cadnode.core.exam import BuiltResult
from cadnode.core.file_ports import HOLDING, PARTIAL_SUFFIX, DiskUsage, KeptFile, SpoolFile
from cadnode.core.jobs import StoredResult
from cadnode.storage.locks import alone, shared

_CHUNK = 1 << 20
_PREAMBLE = 128
_UID = re.compile(r"[0-9.]{1,64}")
_FOLDERS = (*HOLDING, "locks")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spool:
    """The NodeFiles of `core.file_ports` in a folder, of one machine or shared by several."""

    def __init__(
        self,
        data_dir: Path,
        reserve_bytes: int,
        *,
        make: bool = True,
        machine: str = "",
        disk_usage: Callable[[Path], DiskUsage] = shutil.disk_usage,
    ) -> None:
        """`reserve_bytes` stay free on the disk for the database and the logs. Where several
        machines share `data_dir`, `machine` is the name of this one among them.

        The folders are made unless `make` is False; raises SpoolFull when that cannot be.
        """
        self._root = data_dir.resolve()
        self._incoming = self._root / "incoming" / machine
        self._reserve = reserve_bytes
        self._disk_usage = disk_usage
        self._lasting: set[Path] = set()
        """Folders that are on disk for good, for all this process knows."""
        if make:
            self._make_folders()

    @property
    def incoming_dir(self) -> Path:
        """Where a receiver writes; on the same file system as the kept images."""
        return self._incoming

    def keep_image(
        self,
        incoming: Path,
        *,
        study_instance_uid: str,
        sop_instance_uid: str,
        sha256: str | None = None,
    ) -> KeptFile:
        """Sync a received file and move it to its place; on disk for good when this returns.

        The name holds the hash, so other bytes under the same UID get another file, and the same
        bytes once more leave the file that is there, unless the disk has spoiled it. After a
        CONFLICT the caller removes the new file; after SAME it must not, for it is the one that
        was kept before. The caller holds `receiving` until the row is committed. Raises SpoolFull
        when it cannot be written, UnreadableObject when it is not a DICOM file.
        """
        with _translated():
            with incoming.open("rb+") as stream:
                sha256 = sha256 or data_set_sha256(stream)
                os.fchmod(stream.fileno(), 0o600)
                os.fsync(stream.fileno())
            relative = place("images", study_instance_uid, sop_instance_uid, sha256)
            target = self._make_room_for(relative)
            if _holds(target, sha256):
                incoming.unlink()
            else:
                incoming.replace(target)
            _sync_folder(target.parent)
            return KeptFile(relative, target.stat().st_size, sha256)

    def keep_result(self, study_instance_uid: str, built: BuiltResult) -> StoredResult:
        """Write a result object aside, sync, rename. The same object twice leaves one file.

        Raises SpoolFull when it cannot be written.
        """
        sha256 = hashlib.sha256(built.content).hexdigest()
        relative = place("results", study_instance_uid, built.sop_instance_uid, sha256)
        with _translated():
            target = self._make_room_for(relative)
            # mkstemp makes the file 0600.
            handle, aside = tempfile.mkstemp(prefix=".", suffix=PARTIAL_SUFFIX, dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(built.content)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(aside).replace(target)
            finally:
                Path(aside).unlink(missing_ok=True)
            _sync_folder(target.parent)
        return StoredResult(
            kind=built.kind,
            sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
            series_instance_uid=built.series_instance_uid,
            path=relative,
            sha256=sha256,
            size=len(built.content),
        )

    def path_of(self, relative: str) -> Path:
        """The absolute path of a kept file. Raises NotFound for a path outside the spool."""
        path = (self._root / relative).resolve()
        if not path.is_relative_to(self._root):
            raise NotFound("a path leads out of the data directory")
        return path

    def size_of(self, relative: str) -> int | None:
        """Bytes of the file; None when it is gone. Raises NotFound, ImageUnreachable."""
        try:
            return self.path_of(relative).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ImageUnreachable(f"a stored file cannot be seen: {error.strerror}") from error

    def opened(self, relative: str) -> AbstractContextManager[BufferedReader]:
        """The file, to be read. Raises NotFound and OSError."""
        return self.path_of(relative).open("rb")

    def mend(self, relative: str, size: int, copy: str) -> None:
        """See NodeFiles.mend."""
        with _translated():
            if self.size_of(relative) == size:
                self.remove(copy)
            else:
                self.path_of(copy).replace(self.path_of(relative))
                _sync_folder(self.path_of(relative).parent)

    def remove(self, relative: str) -> None:
        """Delete the file if it is there."""
        with _translated():
            self.path_of(relative).unlink(missing_ok=True)

    def has_room(self, bytes_wanted: int = 0) -> bool:
        """Would the reserve still be free with so many bytes more?"""
        return self.disk().free - bytes_wanted >= self._reserve

    def disk(self) -> DiskUsage:
        """The disk that the data directory lies on."""
        return self._disk_usage(self._root)

    def receiving(self, study_instance_uid: str) -> AbstractContextManager[None]:
        """Hold this from keeping an image until its row is committed: `clearing` stays out."""
        return shared(self._lock_file(shard_of(study_instance_uid)))

    def clearing(self, study_instance_uid: str) -> AbstractContextManager[bool]:
        """Hold this from the look at the rows until the files are removed: no image of the study
        is kept meanwhile. False when one is being kept at this moment: come back later."""
        return alone(self._lock_file(shard_of(study_instance_uid)))

    def clearing_path(self, relative: str) -> AbstractContextManager[bool]:
        """`clearing` for the study that a file belongs to, whichever it is."""
        parts = Path(relative).parts
        # What lies elsewhere was not put there by a receiver.
        return alone(self._lock_file(parts[1] if len(parts) == 3 else "elsewhere"))

    def close_to_others(self, name: str) -> None:
        """Take every right but the owner's from a file or folder named as `relative` does."""
        path = self._root / name
        with _translated(), suppress(FileNotFoundError):
            path.chmod(path.stat().st_mode & 0o700)

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.walk())

    def kept_before(self, moment: datetime) -> Iterator[str]:
        """The relative path of every kept image and result last written before `moment`."""
        for file in self.walk(("images", "results")):
            if file.modified_at < moment:
                yield file.path

    def walk(self, folders: Sequence[str] = HOLDING) -> Iterator[SpoolFile]:
        """Every file below `folders`, by name. One that vanishes meanwhile is left out."""
        for folder in self.folders(folders):
            within = self.relative(folder)
            for entry in _entries(folder):
                try:
                    if entry.is_dir(follow_symlinks=False):
                        continue
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield SpoolFile(
                    path=f"{within}/{entry.name}",
                    size=status.st_size,
                    mode=status.st_mode,
                    modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                )

    def folders(self, folders: Sequence[str] = _FOLDERS) -> Iterator[Path]:
        """The folders of the spool and every folder in them."""
        for name in folders:
            yield self._root / name
            within = [
                f"{name}/{entry.name}"
                for entry in _entries(self._root / name)
                if entry.is_dir(follow_symlinks=False)
            ]
            yield from self.folders(within)

    def relative(self, path: Path) -> str:
        """How the database and the administrator name a file; `path` itself outside the spool."""
        if path.is_relative_to(self._root):
            return path.relative_to(self._root).as_posix()
        return str(path)

    def _make_folders(self) -> None:
        with _translated():
            for folder in (self._root, *(self._root / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self._root)
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            for name in _FOLDERS:
                (self._root / name).chmod(0o700)

    def _lock_file(self, shard: str) -> Path:
        return self._root / "locks" / shard

    def _make_room_for(self, relative: str) -> Path:
        target = self._root / relative
        folder = target.parent
        if folder not in self._lasting or not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            # Also where another process has made it: that one may not have come to sync it yet.
            _sync_folder(folder.parent)
            self._lasting.add(folder)
        return target


def try_folder(folder: Path) -> str:
    """See that files last there and that locks hold; what was done, in one sentence.

    Raises SpoolFull.
    """
    name = secrets.token_hex(8)
    file, lock = folder / f".{name}{PARTIAL_SUFFIX}", folder / "locks" / f"check-{name}"
    try:
        with _translated():
            file.write_bytes(b"a file")
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
            file.replace(file.with_suffix(".check"))
            _sync_folder(folder)
        with shared(lock), alone(lock) as is_ours:
            if is_ours:
                raise SpoolFull("locks do not hold on this file system")
    except SpoolFull as error:
        raise SpoolFull(f"{folder}: {error.detail}") from error
    finally:
        # What kept a file from being written may keep it from being deleted.
        with suppress(OSError):
            for left in (file, file.with_suffix(".check"), lock):
                left.unlink(missing_ok=True)
    return f"{folder}: a file was written, synced and renamed; locks hold"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def data_set_sha256(stream: BinaryIO) -> str:
    """The SHA-256, in hex, of a DICOM file after its File Meta Information (PS3.10 7.1).

    The File Meta Information names the sender and the program that wrote the file, so the same
    object sent by another AE has another one; what follows it is the Data Set as the modality
    encoded it. Its group length (0002,0000) says where it ends. Raises UnreadableObject.
    """
    stream.seek(0)
    # Preamble, "DICM", then (0002,0000) UL of 4 bytes, always explicit little endian.
    start = stream.read(_PREAMBLE + 16)
    if start[_PREAMBLE : _PREAMBLE + 12] != b"DICM\x02\x00\x00\x00UL\x04\x00":
        raise UnreadableObject("the file does not begin with File Meta Information")
    group_length = int.from_bytes(start[_PREAMBLE + 12 :], "little")
    data_set = _PREAMBLE + 16 + group_length
    if data_set > stream.seek(0, os.SEEK_END):
        raise UnreadableObject("the File Meta Information is longer than the file")
    stream.seek(data_set)
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _holds(file: Path, sha256: str) -> bool:
    try:
        with file.open("rb") as stream:
            return data_set_sha256(stream) == sha256
    except (FileNotFoundError, UnreadableObject):
        return False


def place(folder: str, study_instance_uid: str, sop_instance_uid: str, sha256: str) -> str:
    """How a file with this content is named below the data directory: nothing in it is a
    stranger's free text."""
    # UIDs come from strangers: only what cannot be anything else than a name becomes one.
    name = (
        sop_instance_uid
        if _UID.fullmatch(sop_instance_uid)
        else hashlib.sha256(sop_instance_uid.encode()).hexdigest()
    )
    return f"{folder}/{shard_of(study_instance_uid)}/{name}-{sha256[:16]}.dcm"


def shard_of(study_instance_uid: str) -> str:
    """The folder of a study's files, one of 256."""
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()[:2]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "the data disk is full" if error.errno in _NO_ROOM else "the data disk failed"
        raise SpoolFull(f"{what}: {error.strerror}") from error
