"""A bell between the processes of one machine: the receiver rings, every worker hears it.

Each worker listens on a datagram socket below the data folder. A ring is a hint and no message:
whoever misses one finds the work at its next look into the job database.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from pathlib import Path

import structlog

from cadnode.bell import Bell

log = structlog.get_logger(__name__)

FOLDER = "bells"
"""Below the data folder."""


class Doorbell:
    """Rings at every process of this machine that listens; for any number of threads."""

    def __init__(self, data_dir: Path) -> None:
        """Nothing raises here or later: without a bell, work is found by looking."""
        self._folder = _open_folder(data_dir)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._ours = f"{socket.gethostname()}."

    def ring(self) -> None:
        """Wake them all; takes microseconds."""
        if self._folder is None:
            return
        try:
            # Not by the handle itself: threads would share one place in the list.
            names = os.listdir(f"/proc/self/fd/{self._folder}")  # noqa: PTH208
        except OSError:
            return
        for name in names:
            # On a folder that machines share, another one's socket cannot be reached from here.
            if name.startswith(self._ours):
                self._ring_at(self._folder, name)

    def close(self) -> None:
        """Ring no more."""
        self._socket.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def _ring_at(self, folder: int, name: str) -> None:
        try:
            self._socket.sendto(b"!", _address(folder, name))
        except ConnectionRefusedError:
            # Its process was killed.
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
        except OSError:
            # It has not yet heard many earlier rings, or has just gone.
            return


class Listener:
    """Passes every ring at this process on to `bell`, from a thread of its own."""

    def __init__(self, data_dir: Path, bell: Bell) -> None:
        self._bell = bell
        self._folder = _open_folder(data_dir)
        self._name = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        try:
            if self._folder is None:
                raise OSError("the folder of the bells cannot be opened")
            self._socket.bind(_address(self._folder, self._name))
        except OSError as error:
            log.warning("no bell; work is found by looking", detail=error.strerror or str(error))
            return
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            os.close(self._folder)

    def _run(self) -> None:
        while True:
            try:
                self._socket.recv(1)
            except OSError:
                return
            if self._closing:
                return
            self._bell.ring()


def _open_folder(data_dir: Path) -> int | None:
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _address(folder: int, name: str) -> str:
    """By way of the open folder: the address of a socket has room for 107 bytes only."""
    return f"/proc/self/fd/{folder}/{name}"
