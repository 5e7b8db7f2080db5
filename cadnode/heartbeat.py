"""A process that says that it is there: every few seconds, from a thread of its own.

The row in the job database is how the console, `cadnode status` and the metrics know which
processes run, on what, and how fast.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic

import structlog

from cadnode import __version__
from cadnode.app import App, lease_owner, utc_now
from cadnode.config import Settings
from cadnode.config.origin import masked
from cadnode.core.errors import CadnodeError
from cadnode.core.ports import Classifier
from cadnode.core.processes import BEAT_EVERY, ProcessFacts, ProcessRecord
from cadnode.drifting import drift_verdict
from cadnode.inference.bundle import MANIFEST, file_hash
from cadnode.storage.beats import BeatRecords
from cadnode.storage.database import Database
from cadnode.store import Store
from cadnode.supervisor import SUPERVISED

log = structlog.get_logger(__name__)

DRIFT_SECONDS = 900.0

RATE_SECONDS = 300.0
"""The last minutes of `patches_per_second`."""


class Heart:
    """Beats from `start` to `stop`; `facts` is asked before each beat and shall not wait."""

    def __init__(
        self,
        name: str,
        database: Database,
        *,
        facts: Callable[[], ProcessFacts],
        clock: Callable[[], datetime],
    ) -> None:
        self._records = BeatRecords(database)
        self._facts = facts
        self._clock = clock
        self._started_at = clock()
        self._name = name
        self._id = lease_owner()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._silent = False

    def start(self) -> None:
        """Beat now, and again and again from now on."""
        self._thread.start()

    def stop(self, seconds: float = 0.5) -> None:
        """The process ends and is not missed; waits for the database no longer than this."""
        self._stopping.set()
        self._thread.join(seconds)

    def beat(self) -> None:
        """Say once that the process is there. Raises DatabaseUnavailable."""
        self._records.beat(
            ProcessRecord(
                id=self._id,
                name=self._name,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=self._started_at,
                beat_at=self._clock(),
                facts=self._facts(),
            )
        )

    def _run(self) -> None:
        while True:
            try:
                self.beat()
                self._silent = False
            except CadnodeError as error:
                if not self._silent:
                    log.warning("the heartbeat could not be written", detail=str(error))
                self._silent = True
            if self._stopping.wait(BEAT_EVERY.total_seconds()):
                break
        try:
            self._records.end(self._id)
        except CadnodeError as error:
            log.warning("the end of the process could not be noted", detail=str(error))


class Meter:
    """Counts what a classifier scores, for any number of threads."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, int, float]] = deque()
        self._patches = 0
        self._seconds = 0.0

    def note(self, patches: int, seconds: float) -> None:
        """So many patches took so long."""
        with self._lock:
            self._recent.append((self._clock(), patches, seconds))
            self._patches += patches
            self._seconds += seconds
            self._forget()

    @property
    def patches(self) -> int:
        """Scored so far."""
        return self._patches

    @property
    def seconds(self) -> float:
        """Computed so far."""
        return self._seconds

    @property
    def patches_per_second(self) -> float | None:
        """While it computed, in the last five minutes; None when it had nothing to do."""
        with self._lock:
            self._forget()
            patches = sum(item[1] for item in self._recent)
            seconds = sum(item[2] for item in self._recent)
        return patches / seconds if seconds else None

    def _forget(self) -> None:
        oldest = self._clock() - RATE_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()


class Vitals:
    """What one process says of itself at each beat."""

    def __init__(
        self,
        app: App,
        *,
        drift: Callable[[], str] = lambda: "",
        lanes: Sequence[str] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`drift` says what has moved in the model's scores; it is asked every quarter of an
        hour once there is a model, and may take a second."""
        self._app = app
        self._drift = drift
        self._clock = clock
        self._drift_due_at: float | None = None
        self._meter = Meter()
        self._facts = ProcessFacts(
            version=__version__,
            settings=settings_hash(app.settings),
            called=os.environ.get(SUPERVISED, ""),
            lanes=tuple(lanes),
        )

    def classifier(self) -> Classifier:
        """The model, loaded and counted; from now on the facts name it. Raises ModelUnfit, which
        they name too."""
        try:
            classifier = self._app.classifier(self._meter.note)
            manifest = self._app.bundle().folder / MANIFEST
        except CadnodeError as error:
            self._facts = replace(self._facts, problem=str(error))
            raise
        spec, runs_on = classifier.spec, classifier.runs_on
        self._facts = replace(
            self._facts,
            problem="",
            model=spec.name,
            model_version=spec.version,
            model_sha256=file_hash(manifest),
            device=f"{runs_on.place}, GPU {gpu}" if (gpu := _gpu(self._app)) else runs_on.place,
            chosen=runs_on.why,
            precision=runs_on.precision,
        )
        return classifier

    def facts(self) -> ProcessFacts:
        """As they are now."""
        self._watch_drift()
        return replace(
            self._facts,
            audit_problem=self._app.audit.trouble,
            broker_problem=self._app.hints.trouble,
            patches=self._meter.patches,
            patch_seconds=round(self._meter.seconds, 3),
            patches_per_second=self._meter.patches_per_second,
        )

    def _watch_drift(self) -> None:
        now = self._clock()
        if self._facts.model is None or (self._drift_due_at or now) > now:
            return
        self._drift_due_at = now + DRIFT_SECONDS
        try:
            self._facts = replace(self._facts, drift=self._drift())
        except CadnodeError as error:
            # What was known stands; the page of the model says what is wrong.
            log.warning("the scores could not be compared", detail=str(error))


def _gpu(app: App) -> str:
    """The number of the GPU that this process was given; empty when it was given none."""
    return app.device if app.device.isdecimal() else ""


def moved(app: App, store: Store) -> str:
    """What has moved in the scores and marks of the model in force, in one sentence; or nothing."""
    verdict = drift_verdict(app, store, now=utc_now())
    return verdict.text if verdict.moved else ""


def open_heart(app: App, store: Store, name: str, vitals: Vitals | None = None) -> Heart:
    """The beating heart of a process called `name`."""
    facts = (vitals or Vitals(app)).facts
    heart = Heart(name, store.database, facts=facts, clock=utc_now)
    heart.start()
    return heart


def settings_hash(settings: Settings) -> str:
    """Twelve digits that say whether two processes have the same settings, secrets left out."""
    return hashlib.sha256(repr(masked(settings)).encode()).hexdigest()[:12]
