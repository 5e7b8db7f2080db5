"""How each kind of fault is done to a running site."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from tests.faults import processes
from tests.faults.clock import HOUR, why_no_clock
from tests.faults.ledger import Ledger, SentImage
from tests.faults.modality import break_off, send_in_parallel
from tests.faults.plan import ARCHIVE, CLOCKS, DISKS, Fault, Kind
from tests.faults.site import Site
from tests.faults.volumes import why_no_volumes

MOMENT_SECONDS = 30.0
"""How long a moment is waited for; then any moment will do."""
CALL_SECONDS = 10.0
"""How long a process is watched for a system call."""
POLL_SECONDS = 0.01
NETWORK_SECONDS = 60.0
"""How long a modality tries to get through with what it is to do wrong."""
TERM_SECONDS = 40.0
"""The supervisor kills 12 s after SIGTERM what has not ended; a busy machine takes longer."""


@dataclass(frozen=True)
class Scene:
    """A site, and the exams of the round that faults can look at and send again."""

    site: Site
    ledger: Ledger
    images: Mapping[int, list[SentImage]]


class NotInjected(Exception):
    """The fault did not come about; it is not counted."""


def unavailable() -> dict[Kind, str]:
    """The kinds this machine cannot do, each with the reason."""
    missing: dict[Kind, str] = {}
    if reason := why_no_volumes():
        missing |= dict.fromkeys((*DISKS, Kind.POWER_CUT), reason)
    if reason := why_no_clock():
        missing |= dict.fromkeys(CLOCKS, reason)
    return missing


def inject(fault: Fault, scene: Scene) -> str:
    """Do it; a few words on how it went. Raises NotInjected."""
    if fault.kind in ARCHIVE and fault.kind is not Kind.ARCHIVE_DOWN:
        scene.site.archives[fault.target].arm(fault)
        return "armed"
    return _INJECTORS[fault.kind](fault, scene)


# ---- processes -----------------------------------------------------------------------------


def _kill(role: str) -> Callable[[Fault, Scene], str]:
    def kill(fault: Fault, scene: Scene) -> str:
        came = _wait_for(fault, scene)
        with scene.site.node_lock:
            victim = scene.site.process(role)
            if victim is None:
                raise NotInjected(f"{role} is not running")
            if fault.point.startswith("before ") and _kill_at_call(victim, fault.point[7:]):
                return fault.point
            processes.send_signal([victim], signal.SIGKILL)
        return came

    return kill


def _kill_at_call(victim: processes.Process, call: str) -> bool:
    """SIGKILL as the process enters the system call; False when it does not come to it."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    tracer = subprocess.Popen(
        [
            *(strace, "-f", "-q", "-o", "/dev/null", "-p", str(victim.pid)),
            *("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when=1"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        tracer.wait(CALL_SECONDS)
    except subprocess.TimeoutExpired:
        tracer.terminate()
        tracer.wait()
        return False
    return True


def _kill_serve(fault: Fault, scene: Scene) -> str:
    site = scene.site
    came = _wait_for(fault, scene)
    with site.node_lock:
        before = site.processes
        serve = processes.by_role(before).get("serve")
        if serve is None:
            raise NotInjected("serve is not running")
        processes.send_signal([serve], signal.SIGKILL)
        site.ended(TERM_SECONDS)
        # Its children notice and end by themselves; only then can the port be bound again.
        left = processes.wait_gone(site.mark, TERM_SECONDS)
        if left:
            raise RuntimeError(f"still there without their supervisor: {left}")
        site.start()
    return came


def _sigterm(fault: Fault, scene: Scene) -> str:
    site = scene.site
    came = _wait_for(fault, scene)
    with site.node_lock:
        serve = processes.by_role(site.processes).get("serve")
        if serve is None:
            raise NotInjected("serve is not running")
        begun = time.monotonic()
        processes.send_signal([serve], signal.SIGTERM)
        if not site.ended(TERM_SECONDS):
            raise RuntimeError(f"serve did not end within {TERM_SECONDS} s of SIGTERM")
        took = time.monotonic() - begun
        left = processes.wait_gone(site.mark, 2.0)
        if left:
            raise RuntimeError(f"still there after serve has ended: {left}")
        site.start()
    return f"{came}, ended after {took:.1f} s"


def _power_cut(fault: Fault, scene: Scene) -> str:
    came = _wait_for(fault, scene)
    scene.site.cut_power()
    return came


# ---- disks, database, clock ----------------------------------------------------------------


def _full(volume: str) -> Callable[[Fault, Scene], str]:
    def fill(fault: Fault, scene: Scene) -> str:
        site = scene.site
        # Not while the power is cut: the ballast would go with it.
        with site.using_disk():
            site.volumes[volume].fill()
        time.sleep(fault.seconds)
        with site.using_disk():
            site.volumes[volume].drain()
        return f"for {fault.seconds} s"

    return fill


def _locked(fault: Fault, scene: Scene) -> str:
    held, ends = 0.0, time.monotonic() + fault.seconds + 60.0
    while held < fault.seconds and time.monotonic() < ends:
        held += _hold_lock(scene.site, fault.seconds - held)
        time.sleep(0.1)
    if held < fault.seconds / 2:
        raise NotInjected("the lock was never got")
    return f"for {held:.1f} s"


def _hold_lock(site: Site, seconds: float) -> float:
    """Hold the database, shorter when its disk is about to be taken away; seconds held."""
    try:
        with (
            site.using_disk(),
            closing(sqlite3.connect(site.database, timeout=1, isolation_level=None)) as connection,
        ):
            connection.execute("BEGIN EXCLUSIVE")
            begun = time.monotonic()
            site.power_going.wait(seconds)
            connection.execute("ROLLBACK")
            return time.monotonic() - begun
    except sqlite3.Error:
        return 0.0


def _jump(seconds: int) -> Callable[[Fault, Scene], str]:
    def jump(fault: Fault, scene: Scene) -> str:
        clock = scene.site.clock
        if abs(clock.offset + seconds) > HOUR:
            raise NotInjected("the clock is already an hour off that way")
        clock.set(clock.offset + seconds)
        return f"now {clock.offset:+d} s"

    return jump


# ---- network -------------------------------------------------------------------------------


def _archive_down(fault: Fault, scene: Scene) -> str:
    scene.site.archives[fault.target].down(fault.seconds)
    return f"{fault.target} for {fault.seconds} s"


def _break_off(fault: Fault, scene: Scene) -> str:
    image = scene.images[fault.exam][0]
    ends = time.monotonic() + NETWORK_SECONDS
    while time.monotonic() < ends:
        if break_off(scene.site.port, image, politely=fault.number % 2 == 0):
            return "aborted" if fault.number % 2 == 0 else "hung up"
        time.sleep(0.5)
    raise NotInjected("the node took no association")


def _same_in_parallel(fault: Fault, scene: Scene) -> str:
    image = scene.images[fault.exam][0]
    ends = time.monotonic() + NETWORK_SECONDS
    while time.monotonic() < ends:
        acknowledged = send_in_parallel(scene.site.port, image, scene.ledger)
        if acknowledged:
            return f"{acknowledged} acknowledged"
        time.sleep(0.5)
    raise NotInjected("none was acknowledged")


_INJECTORS: Mapping[Kind, Callable[[Fault, Scene], str]] = {
    Kind.KILL_RECEIVE: _kill("receive"),
    Kind.KILL_WORK: _kill("work"),
    Kind.KILL_SERVE: _kill_serve,
    Kind.SIGTERM: _sigterm,
    Kind.POWER_CUT: _power_cut,
    Kind.ARCHIVE_DOWN: _archive_down,
    Kind.MODALITY_BREAKS_OFF: _break_off,
    Kind.SAME_IN_PARALLEL: _same_in_parallel,
    Kind.SPOOL_FULL: _full("spool"),
    Kind.RESULTS_FULL: _full("results"),
    Kind.DATABASE_FULL: _full("database"),
    Kind.DATABASE_LOCKED: _locked,
    Kind.CLOCK_FORWARD: _jump(HOUR),
    Kind.CLOCK_BACK: _jump(-HOUR),
}


# ---- moments -------------------------------------------------------------------------------

# Each holds for a short while only, so that whoever dies then dies in the middle of it.
_MOMENTS: Mapping[str, str] = {
    "an image is kept": "select 1 from images where state = 'received' and tries = 0",
    "an exam is claimed": "select 1 from jobs where lease_owner is not null",
    "an image is being read": "select 1 from images where state = 'received' and tries > 0",
    "an image is analyzed": (
        "select 1 from jobs join images on images.job_id = jobs.id"
        " where status = 'receiving' and images.state = 'analyzed'"
    ),
    "an exam is closed": "select 1 from jobs where status = 'analyzed'",
    "results are written": (
        "select 1 from jobs join deliveries on deliveries.job_id = jobs.id"
        " where jobs.status = 'reported' and attempts = 0"
    ),
    "an object is on its way out": (
        "select 1 from deliveries where status = 'pending' and lease_owner is not null"
    ),
    "an object is delivered": (
        "select 1 from jobs join deliveries on deliveries.job_id = jobs.id"
        " where jobs.status = 'reported' and deliveries.status = 'delivered'"
    ),
}


def _wait_for(fault: Fault, scene: Scene) -> str:
    """Wait for the moment, if it is one that can be seen; what it was in the end."""
    statement = _MOMENTS.get(fault.point)
    ends = time.monotonic() + MOMENT_SECONDS
    while time.monotonic() < ends:
        if statement is not None:
            if scene.site.rows(f"{statement} limit 1"):
                return fault.point
        elif fault.point == "an image is on its way in":
            if any((scene.site.data / "incoming").glob("*.part")):
                return fault.point
        else:
            return "any moment"
        time.sleep(POLL_SECONDS)
    return "any moment"
