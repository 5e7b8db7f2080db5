"""Where received images and result objects are kept: a folder, or an object store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from cadnode.core.ports import ResultFiles

PARTIAL_SUFFIX = ".part"

KEPT = ("images", "results")
"""The folders of what has been kept; what is being received lies beside them."""

HOLDING = ("incoming", *KEPT)
"""All folders with files in them."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An image that is kept for good."""

    path: str
    """How rows of the database name it."""
    size: int
    """Bytes of the whole file."""
    sha256: str
    """Of the Data Set alone, see `storage.spool.data_set_sha256`."""
    is_copy: bool = False
    """True when no row can name this file yet, however often its bytes have come: it has to go
    unless a row takes it up."""


class DiskUsage(Protocol):
    """As `shutil.disk_usage` gives it, in bytes."""

    @property
    def total(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def free(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A file that is being received, or kept."""

    path: str
    """As rows of the database name it."""
    size: int
    mode: int
    """0 where files have no rights of their own."""
    modified_at: datetime

    @property
    def is_partial(self) -> bool:
        """Being written, or left behind by a writer that died."""
        return self.path.endswith(PARTIAL_SUFFIX)


class NodeFiles(ResultFiles, Protocol):
    """The files of a node. Other processes, on other machines too, may use the same ones.

    An image is received into `incoming_dir`, kept, and its row committed. From then on the row
    says where it is; what no row names may be deleted once it is old.
    """

    @property
    def incoming_dir(self) -> Path:
        """Where this machine's receivers write."""
        ...

    def keep_image(
        self,
        incoming: Path,
        *,
        study_instance_uid: str,
        sop_instance_uid: str,
        sha256: str | None = None,
    ) -> KeptFile:
        """Make a received file last, taking it out of the incoming folder; whatever dies after
        this has returned, it is there. `sha256` is that of its Data Set, where whoever wrote the
        file took it on the way: else the file is read once more.

        The same bytes once more repair what was spoiled, or make a copy (`KeptFile.is_copy`). The
        caller holds `receiving` until the row is committed. Raises SpoolFull when it cannot be kept
        now, UnreadableObject when it is not a DICOM file.
        """
        ...

    def mend(self, relative: str, size: int, copy: str) -> None:
        """Put the bytes of `copy` where `relative`, of `size` bytes, has been lost or cut off;
        either way `copy` goes. Raises ImageUnreachable."""
        ...

    def opened(self, relative: str) -> AbstractContextManager[BufferedReader]:
        """Read the file where it is kept, not a copy of it. Raises FileNotFoundError, and as
        `path_of`."""
        ...

    def size_of(self, relative: str) -> int | None:
        """Bytes of the file as it is kept; None when it is gone. Raises as `path_of`."""
        ...

    def has_room(self, bytes_wanted: int = 0) -> bool:
        """May so many bytes more be received now?"""
        ...

    def disk(self) -> DiskUsage:
        """The room that kept files share; one without an end is free for the most part."""
        ...

    def size(self) -> int:
        """Bytes of all files."""
        ...

    def receiving(self, study_instance_uid: str) -> AbstractContextManager[None]:
        """Hold this from keeping an image until its row is committed."""
        ...

    def clearing(self, study_instance_uid: str) -> AbstractContextManager[bool]:
        """Hold this from the look at the rows until the files are removed. False when an image of
        the study is being kept at this moment in a file that may be among them: come back later."""
        ...

    def clearing_path(self, relative: str) -> AbstractContextManager[bool]:
        """`clearing` for the study that a file belongs to, whichever it is."""
        ...

    def kept_before(self, moment: datetime) -> Iterator[str]:
        """The path of every kept image and result last written before `moment`."""
        ...

    def walk(self, folders: Sequence[str] = HOLDING) -> Iterator[SpoolFile]:
        """Every file in `folders`. One that vanishes meanwhile is left out."""
        ...

    def folders(self) -> Iterator[Path]:
        """Every folder on a disk of this machine that holds files of patients."""
        ...

    def relative(self, path: Path) -> str:
        """How the administrator names a file or folder; `path` itself outside of these."""
        ...

    def close_to_others(self, name: str) -> None:
        """Take every right but the owner's from a file or folder named as `relative` does."""
        ...
