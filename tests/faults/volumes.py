"""Small disks of the node's own: they can be filled, and their power can be cut.

A volume is an ext4 file system in an image file, mounted through a loop device, with a journal
that is written out only when somebody asks (`commit=300`). Cutting its power is ext4's own
shutdown call without flushing the log: from that moment nothing more reaches the device and
whatever was not synced is gone, as after a power cut; the journal is replayed at the next mount.
It says nothing of drives that acknowledge a flush they have not done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""
_NO_LOG_FLUSH = 2

IMAGES = Path("/dev/shm")  # noqa: S108  image files in memory: a sync costs nothing of the machine's disk
UNMOUNT_SECONDS = 20.0


def why_no_volumes() -> str:
    """Why this machine has no volumes; empty when it has. Makes one to find out."""
    if os.geteuid() != 0:
        return "only root may mount"
    for program in ("mkfs.ext4", "mount", "umount", "losetup"):
        if shutil.which(program, path=_path()) is None:
            return f"{program} is not installed"
    if not IMAGES.is_dir():
        return f"there is no {IMAGES}"
    with tempfile.TemporaryDirectory(prefix="cadnode-faults-") as folder:
        trial = Volume(Path(folder), IMAGES / f"{Path(folder).name}.img", 4)
        try:
            trial.make()
        except (OSError, subprocess.SubprocessError):
            return "this machine does not let root mount"
        finally:
            trial.remove()
    return ""


@dataclass(frozen=True)
class Volume:
    """One mounted file system of `megabytes`."""

    mount_point: Path
    image: Path
    megabytes: int

    @property
    def _ballast(self) -> Path:
        return self.mount_point / "ballast"

    def make(self) -> None:
        """Make the file system and mount it."""
        with self.image.open("wb") as stream:
            stream.truncate(self.megabytes << 20)
        _run("mkfs.ext4", "-q", "-m", "0", "-O", "^resize_inode", str(self.image))
        self.mount_point.mkdir(parents=True, exist_ok=True)
        self.mount()
        (self.mount_point / "lost+found").rmdir()
        _run("sync", "-f", str(self.mount_point))

    def mount(self) -> None:
        """Mount it; after a power cut this replays the journal."""
        _run("mount", "-o", "loop,commit=300,nodev,nosuid", str(self.image), str(self.mount_point))

    def unmount(self) -> None:
        """Unmount it as soon as nobody uses it any more."""
        ends = time.monotonic() + UNMOUNT_SECONDS
        while True:
            try:
                _run("umount", str(self.mount_point))
            except subprocess.CalledProcessError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)
            else:
                return

    def remove(self) -> None:
        """Unmount and delete it, whatever state it is in."""
        if self.mount_point.is_mount():
            with suppress(subprocess.CalledProcessError):
                self.unmount()
        self.image.unlink(missing_ok=True)

    def cut_power(self) -> None:
        """Nothing more reaches the device; what was not synced is gone."""
        handle = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def fill(self) -> None:
        """Use up every free block, to the last."""
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            at, step = 0, 8 << 20
            while step >= 1024:
                try:
                    os.posix_fallocate(handle, at, step)
                except OSError:
                    step //= 2
                else:
                    at += step
        finally:
            os.close(handle)

    def drain(self) -> None:
        """Give the blocks back."""
        self._ballast.unlink(missing_ok=True)


def _run(*command: str) -> None:
    environ = {**os.environ, "PATH": _path()}
    subprocess.run(command, check=True, capture_output=True, env=environ, timeout=60)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"
