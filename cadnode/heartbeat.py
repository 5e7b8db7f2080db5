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
from collections.abc import Callable
from datetime import datetime
from time import monotonic

import numpy as np
import structlog
from numpy.typing import NDArray

from cadnode import __version__
from cadnode.app import lease_owner
from cadnode.config import Settings
from cadnode.config.origin import masked
from cadnode.core.errors import CadnodeError
from cadnode.core.model import ModelSpec, PatchScores, RunsOn
from cadnode.core.ports import Classifier
from cadnode.core.processes import BEAT_EVERY, ProcessFacts, ProcessRecord
from cadnode.storage.beats import BeatRecords
from cadnode.storage.database import Database

log = structlog.get_logger(__name__)

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

    def stop(self) -> None:
        """The process ends and is not missed; without the database its row stays for a while."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(BEAT_EVERY.total_seconds())
        try:
            self._records.end(self._id)
        except CadnodeError as error:
            log.warning("the end of the process could not be noted", detail=str(error))

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
                return


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


class MeteredClassifier:
    """A `Classifier` whose work is counted."""

    def __init__(self, classifier: Classifier, meter: Meter) -> None:
        self._classifier = classifier
        self._meter = meter

    @property
    def spec(self) -> ModelSpec:
        return self._classifier.spec

    @property
    def runs_on(self) -> RunsOn:
        return self._classifier.runs_on

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        """As the classifier does."""
        begun = monotonic()
        scores = self._classifier.classify(patches)
        self._meter.note(len(patches), monotonic() - begun)
        return scores


def process_facts(settings: Settings, *, problem: str = "", audit: str = "") -> ProcessFacts:
    """What every process says of itself."""
    return ProcessFacts(
        version=__version__,
        settings=settings_hash(settings),
        problem=problem,
        audit_problem=audit,
    )


def settings_hash(settings: Settings) -> str:
    """Twelve digits that say whether two processes have the same settings, secrets left out."""
    return hashlib.sha256(repr(masked(settings)).encode()).hexdigest()[:12]
