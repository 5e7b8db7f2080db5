"""The spool in an object store that all machines of a node share.

    <prefix>/images/<shard>/<uid>-<hash>-<chance>.dcm    kept images
    <prefix>/results/<shard>/<uid>-<hash>-<chance>.dcm   result objects

An object is written once, under a name that nobody had before, and never changes; whatever is kept
once more gets another name. So no lock is needed: who deletes an object that a row named can never
hit the bytes that have come again since, for they have a name of their own.

The write that a sender waits for is the one into the store: what lies on this machine's disk, the
file while it is received and copies to read from, is never synced and may all be lost.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path, PurePosixPath

from cadnode.core.errors import ImageUnreachable, NotFound, SpoolFull, UnreadableObject
from cadnode.core.exam import BuiltResult
from cadnode.core.file_ports import HOLDING, KEPT, DiskUsage, KeptFile, SpoolFile
from cadnode.core.jobs import StoredResult
from cadnode.storage.file_cache import FileCache
from cadnode.storage.objects import Objects
from cadnode.storage.spool import data_set_sha256, place

FETCHES = 2
"""Times that an object is fetched before other bytes than its name says are the store's fault."""


@dataclass(frozen=True, slots=True)
class Endless:
    """The room of a store that nobody has measured."""

    total: int = 1 << 62
    used: int = 0
    free: int = 1 << 62


class ObjectSpool:
    """The NodeFiles of `core.file_ports` in an object store, read through copies on a local disk."""

    def __init__(
        self,
        objects: Objects,
        data_dir: Path,
        *,
        reserve_bytes: int,
        cache_bytes: int,
        make: bool = True,
        disk_usage: Callable[[Path], DiskUsage] = shutil.disk_usage,
    ) -> None:
        """`data_dir` is this machine's own: what is being received, and at most `cache_bytes` of
        copies; `reserve_bytes` stay free on its disk. See `Spool` for `make`."""
        self._objects = objects
        self._root = data_dir.resolve()
        self._reserve = reserve_bytes
        self._cache_bytes = cache_bytes
        self._disk_usage = disk_usage
        self._cache = FileCache(self._root / "cache", cache_bytes, is_whole=_is_whole)
        if make:
            self._make_folders()

    @property
    def incoming_dir(self) -> Path:
        """Where this machine's receivers write; nothing in it has been acknowledged."""
        return self._root / "incoming"

    def keep_image(
        self,
        incoming: Path,
        *,
        study_instance_uid: str,
        sop_instance_uid: str,
        sha256: str | None = None,
    ) -> KeptFile:
        """See NodeFiles.keep_image: always a copy of its own, in the store when this returns."""
        try:
            size = incoming.stat().st_size
            if sha256 is None:
                with incoming.open("rb") as stream:
                    sha256 = data_set_sha256(stream)
            name = _once(place("images", study_instance_uid, sop_instance_uid, sha256))
            self._objects.put(incoming, name)
        except (OSError, ImageUnreachable) as error:
            raise _not_kept(error) from error
        try:
            incoming.chmod(0o600)
            self._cache.add(incoming, _copy_name(name), in_use=False)
        except OSError:
            # It is kept; nothing but a way to read it sooner is lost.
            incoming.unlink(missing_ok=True)
        return KeptFile(name, size, sha256, is_copy=True)

    def keep_result(self, study_instance_uid: str, built: BuiltResult) -> StoredResult:
        """See ResultFiles.keep_result."""
        sha256 = hashlib.sha256(built.content).hexdigest()
        name = _once(place("results", study_instance_uid, built.sop_instance_uid, sha256))
        try:
            self._objects.put_bytes(built.content, name)
        except ImageUnreachable as error:
            raise _not_kept(error) from error
        return StoredResult(
            kind=built.kind,
            sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
            series_instance_uid=built.series_instance_uid,
            path=name,
            sha256=sha256,
            size=len(built.content),
        )

    def path_of(self, relative: str) -> Path:
        """A copy on this machine, fetched when there is none; see ResultFiles.path_of."""
        if _is_local(relative):
            return self._root / relative
        name = _copy_name(relative)
        try:
            return self._cache.find(name) or self._fetched(relative, name)
        except OSError as error:
            raise ImageUnreachable(f"no copy can be kept here: {error.strerror}") from error
        except SpoolFull as error:
            raise ImageUnreachable(f"no copy can be kept here: {error.detail}") from error

    def size_of(self, relative: str) -> int | None:
        """See NodeFiles.size_of."""
        if not _is_local(relative):
            return self._objects.size(relative)
        path = self._root / relative
        return path.stat().st_size if path.exists() else None

    @contextmanager
    def opened(self, relative: str) -> Iterator[BufferedReader]:
        """See NodeFiles.opened."""
        _is_local(relative)
        aside = self._cache.aside()
        try:
            if not self._objects.get(relative, aside):
                raise FileNotFoundError(relative)
            with aside.open("rb") as stream:
                yield stream
        finally:
            aside.unlink(missing_ok=True)

    def mend(self, relative: str, size: int, copy: str) -> None:
        """See NodeFiles.mend."""
        if self.size_of(relative) != size:
            self._objects.copy(copy, relative)
        # They have the same bytes: nothing has to be fetched to read them.
        self._cache.rename(_copy_name(copy), _copy_name(relative))
        self._objects.remove(copy)

    def remove(self, relative: str) -> None:
        """Delete the object, and this machine's copy of it."""
        try:
            if _is_local(relative):
                (self._root / relative).unlink(missing_ok=True)
                return
            self._cache.forget(_copy_name(relative))
        except OSError as error:
            raise SpoolFull(f"the data disk failed: {error.strerror}") from error
        self._objects.remove(relative)

    def has_room(self, bytes_wanted: int = 0) -> bool:
        """May so many bytes be received onto this machine's disk? Copies make room for them."""
        missing = self._reserve + bytes_wanted - self._disk_usage(self._root).free
        if missing <= 0:
            return True
        self._cache.shrink_to(max(0, self._cache.size() - missing))
        return self._disk_usage(self._root).free - bytes_wanted >= self._reserve

    def disk(self) -> DiskUsage:
        """Whoever runs the store watches its room."""
        return Endless()

    def size(self) -> int:
        """Bytes of all objects; a walk through all their names."""
        return sum(file.size for file in self.walk(KEPT))

    def receiving(self, study_instance_uid: str) -> AbstractContextManager[None]:
        """Nothing has to be held: see the module."""
        return nullcontext()

    def clearing(self, study_instance_uid: str) -> AbstractContextManager[bool]:
        """Nothing has to be held: see the module."""
        return nullcontext(True)

    def clearing_path(self, relative: str) -> AbstractContextManager[bool]:
        """Nothing has to be held: see the module."""
        return nullcontext(True)

    def kept_before(self, moment: datetime) -> Iterator[str]:
        """The name of every object last written before `moment`."""
        for file in self.walk(KEPT):
            if file.modified_at < moment:
                yield file.path

    def walk(self, folders: Sequence[str] = HOLDING) -> Iterator[SpoolFile]:
        """Every object, and every file that is being received here. Raises ImageUnreachable."""
        for folder in folders:
            if folder not in KEPT:
                yield from self._local(self._root / folder)
                continue
            for found in self._objects.list(folder):
                yield SpoolFile(found.key, found.size, 0, found.modified_at)

    def folders(self) -> Iterator[Path]:
        """The folders on this machine."""
        yield from (self._root, self.incoming_dir, self._cache.folder)
        yield from (path for path in sorted(self.incoming_dir.glob("**/*")) if path.is_dir())

    def relative(self, path: Path) -> str:
        """How the administrator names a file on this machine."""
        if path.is_relative_to(self._root):
            return path.relative_to(self._root).as_posix()
        return str(path)

    def close_to_others(self, name: str) -> None:
        """See NodeFiles.close_to_others."""
        path = self._root / name
        if path.exists():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)

    def _fetched(self, relative: str, name: str) -> Path:
        aside = self._cache.aside()
        try:
            for _ in range(FETCHES):
                if not self._objects.get(relative, aside):
                    break
                if _is_whole(aside, name):
                    aside.chmod(0o600)
                    return self._cache.add(aside, name, in_use=True)
        finally:
            aside.unlink(missing_ok=True)
        # Of what the store has spoiled nobody shall read anything: as good as gone.
        return self._cache.place(name)

    def _local(self, folder: Path) -> Iterator[SpoolFile]:
        for path in sorted(folder.glob("**/*")):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                name = self.relative(path)
                yield SpoolFile(name, status.st_size, status.st_mode, modified)

    def _make_folders(self) -> None:
        try:
            for folder in (self._root, self.incoming_dir, self._cache.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            self._cache.shrink_to(self._cache_bytes)
        except OSError as error:
            raise SpoolFull(f"the data disk failed: {error.strerror}") from error


def _once(relative: str) -> str:
    """A name that nobody had before."""
    return f"{relative.removesuffix('.dcm')}-{secrets.token_hex(6)}.dcm"


def _is_local(relative: str) -> bool:
    """Is it a file that is being received? Raises NotFound for what is neither that nor kept."""
    parts = PurePosixPath(relative).parts
    if not parts or parts[0] not in HOLDING or ".." in parts:
        raise NotFound("a path leads out of the data directory")
    return parts[0] not in KEPT


def _copy_name(relative: str) -> str:
    return relative.replace("/", "-")


def _is_whole(path: Path, name: str) -> bool:
    """Does the file have the hash that its name says?"""
    try:
        with path.open("rb") as stream:
            sha256 = (
                data_set_sha256(stream)
                if name.startswith("images-")
                else hashlib.file_digest(stream, "sha256").hexdigest()
            )
    except UnreadableObject:
        return False
    return f"-{sha256[:16]}" in name


def _not_kept(error: OSError | ImageUnreachable) -> SpoolFull:
    if isinstance(error, ImageUnreachable):
        return SpoolFull(error.detail)
    return SpoolFull(f"the data disk failed: {error.strerror}")
