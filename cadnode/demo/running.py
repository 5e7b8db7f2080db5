"""Programs that the demo starts: on free ports, with a log, and always ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cadnode.core.ports import PeerCheck
from cadnode.dimse.scu import Destination, DicomSender, Timeouts

READY_WITHIN = 60.0


class DemoFailed(Exception):
    """The demo cannot go on; the message is for the person who started it."""


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def log_tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log file, for an error message."""
    if not log.exists():
        return "(no log was written)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    stop_seconds: float = 10.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` as a process with its output in `log`, ended when the block is left."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # A session of its own, so that Ctrl-C reaches the demo alone, which stops it in order.
        process = subprocess.Popen(  # noqa: S603  programs of ours, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require_alive(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise DemoFailed with the end of its log when the process has ended."""
    if process.poll() is not None:
        raise DemoFailed(
            f"{name} ended with status {process.returncode}; the end of its log:\n{log_tail(log)}"
        )


def wait_for_echo(
    name: str,
    destination: Destination,
    own_ae_title: str,
    process: subprocess.Popen[bytes],
    log: Path,
) -> None:
    """Come back when `destination` answers C-ECHO; DemoFailed with its log when it does not."""
    deadline = time.monotonic() + READY_WITHIN
    sender = DicomSender(destination, own_ae_title, Timeouts(1.0, 5.0, 5.0, 5.0))
    answer: PeerCheck | None = None
    while process.poll() is None and time.monotonic() < deadline:
        if _listens(destination.port):
            answer = sender.check([])
            if answer.reachable:
                return
        time.sleep(0.05)
    ended = process.poll()
    why = "does not answer C-ECHO" if ended is None else f"ended with status {ended}"
    said = f" ({answer.detail})" if answer else ""
    raise DemoFailed(f"{name} {why}{said}; the end of its log:\n{log_tail(log)}")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
