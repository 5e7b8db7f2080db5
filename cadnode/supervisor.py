"""Runs the node's processes, starts one that dies again, and stops all of them together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)

STOP_SECONDS = 12.0
"""How long a process may take to stop cleanly before it is killed."""

LONGEST_PAUSE = 30.0
"""The longest pause before a process that keeps dying is started again."""

SETTLED_SECONDS = 15.0
"""A process that has run for so long is started again at once when it dies."""

SETTINGS_STATUS = 2
"""Exit status of a process whose settings do not hold: starting it again would not help."""

SUPERVISED = "CADNODE_SUPERVISED"
"""Set for child processes, to their name: their standard input is a pipe that closes with the
supervisor."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running."""

    name: str
    """No other has it."""
    kind: str
    """As `work`: several may be of one kind."""
    command: Sequence[str]


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = field(default=0)


class Supervisor:
    """Keeps one process per program running until it is told to stop."""

    def __init__(
        self,
        programs: Sequence[Program],
        died: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        """`died` is told the kind of a process that has ended by itself."""
        self._died = died
        self._children = [_Child(program) for program in programs]
        self._stopping = threading.Event()
        self._hopeless = False

    def stop(self) -> None:
        """Ask `run` to stop everything and return; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> bool:
        """Run until `stop`, or until the settings of one process do not hold.

        Every process has ended when this returns. False when it was the settings.
        """
        try:
            while not self._stopping.is_set():
                for child in self._children:
                    self._look_after(child)
                self._stopping.wait(0.2)
        finally:
            self._stop_all()
        return not self._hopeless

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            child.process = None
            if status == SETTINGS_STATUS:
                self._hopeless = True
                self._stopping.set()
                return
            # A process that got well past its start is not in a crash loop.
            settled = now - child.started_at > SETTLED_SECONDS
            child.deaths = 1 if settled else child.deaths + 1
            pause = pause_after(child.deaths)
            child.start_at = now + pause
            self._died(child.program.kind)
            log.error("a process died", process=child.program.name, status=status, again_in_s=pause)
        if now >= child.start_at:
            child.process = self._start(child)
            child.started_at = now

    def _start(self, child: _Child) -> subprocess.Popen[bytes]:
        # A group of its own: Ctrl-C reaches the supervisor alone, which stops all in order.
        process = subprocess.Popen(  # noqa: S603  our own program
            child.program.command,
            stdin=subprocess.PIPE,
            env={**os.environ, SUPERVISED: child.program.name},
            start_new_session=True,
        )
        log.info("started", process=child.program.name, pid=process.pid)
        return process

    def _stop_all(self) -> None:
        running = [(c.program.name, c.process) for c in self._children if c.process]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for name, process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("killed, it did not stop in time", process=name)
                process.kill()
                process.wait()


def pause_after(deaths: int) -> float:
    """Seconds before a process that died so many times in a row is started again."""
    # Bounded before it is raised: a night of crashes would overflow the power.
    return min(2.0 ** min(deaths - 1, 10) - 1, LONGEST_PAUSE)


def stop_with_supervisor() -> None:
    """In a supervised process: stop as on SIGTERM when the supervisor is gone, however it went."""
    if not os.environ.get(SUPERVISED):
        return

    def watch() -> None:
        # Not through sys.stdin: a daemon thread inside it makes Python's exit a fatal error.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()
