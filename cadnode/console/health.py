"""What monitoring asks, over this node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from socket import gethostname
from time import monotonic

from cadnode import __version__
from cadnode.app import App, utc_now
from cadnode.core import metrics as m
from cadnode.core.breaker import LineState, LineStatus
from cadnode.core.errors import CadnodeError
from cadnode.core.processes import RECEIVE, WEB, WORK, ProcessRecord, seen
from cadnode.core.readiness import Readiness, readiness, without_database
from cadnode.core.retention import RECEIVED_AT_ONCE
from cadnode.metrics.exposition import Reading, page
from cadnode.metrics.slots import running
from cadnode.storage.beats import BeatRecords
from cadnode.storage.disk import Disk, disk_of
from cadnode.storage.line_records import DestinationRecord
from cadnode.storage.queues import QueueRecords, Queues
from cadnode.store import Store
from cadnode.web.access.caller import Network
from cadnode.web.health.ports import MetricsPage

FRESH_SECONDS = 1.0
"""However many ask, the job database is asked no more often."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the job database says; None where it does not answer."""

    at: datetime
    queues: Queues
    destinations: Sequence[DestinationRecord]
    processes: Sequence[ProcessRecord]


class NodeHealth:
    """`Health` of cadnode.web.health.ports."""

    def __init__(self, app: App, store: Store, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = app.settings
        self._folder = app.metrics_folder
        self._clock = clock
        self._store = store
        self._queues = QueueRecords(store.database)
        self._beats = BeatRecords(store.database)
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._known: _Known | None = None

    @property
    def open_to(self) -> Sequence[Network]:
        """From where no token is needed."""
        return [ip_network(text) for text in self._settings.web.metrics_from]

    def readiness(self) -> Readiness:
        """What the node can do at this moment."""
        return self._readiness(self._look(), disk_of(self._settings.files_dir))

    def metrics(self, accept: str) -> MetricsPage:
        """Every number."""
        found = page(self._folder, self._readings(), m.AT_SCRAPE, accept)
        return MetricsPage(found.content, found.content_type)

    def _readiness(self, known: _Known | None, disk: Disk) -> Readiness:
        if known is None:
            return without_database()
        reserve = self._settings.retention_rules.reserve_bytes
        return readiness(
            processes=known.processes,
            lines=_lines(known.destinations, self._enabled),
            has_room=not disk.problem and disk.free > reserve + RECEIVED_AT_ONCE,
            now=known.at,
        )

    def _readings(self) -> Iterator[Reading]:
        known = self._look()
        disk = disk_of(self._settings.files_dir)
        yield Reading(m.BUILD_INFO, 1.0, (__version__,))
        for ability in self._readiness(known, disk).abilities:
            yield Reading(m.READY, float(ability.ready), (ability.name,))
        yield Reading(m.DATABASE_UP, float(known is not None))
        if not disk.problem:
            yield Reading(m.DISK_FREE, float(disk.free))
            yield Reading(m.DISK_SIZE, float(disk.total))
        if known is not None:
            yield from _of_queues(known)
            yield from _of_destinations(known)
            yield from self._of_processes(known)

    def _of_processes(self, known: _Known) -> Iterator[Reading]:
        for name in (RECEIVE, WORK, WEB):
            there = seen(known.processes, name, known.at)
            yield Reading(m.PROCESS_UP, float(bool(there)), (name,))
            if there:
                started = max(record.started_at for record in there)
                yield Reading(m.PROCESS_START, started.timestamp(), (name,))
        workers = seen(known.processes, WORK, known.at)
        yield Reading(m.MODEL_DRIFT, float(any(record.facts.drift for record in workers)))

    @property
    def _enabled(self) -> Sequence[str]:
        return [table.name for table in self._settings.destinations if table.enabled]

    def _look(self) -> _Known | None:
        with self._lock:
            if monotonic() - self._asked >= FRESH_SECONDS:
                self._known = self._ask()
                self._asked = monotonic()
            known = self._known
        if known is None:
            return None
        # Who has died since the last beat: no need to ask the database for that.
        alive = _alive(known.processes, running(self._folder))
        return _Known(known.at, known.queues, known.destinations, alive)

    def _ask(self) -> _Known | None:
        try:
            return _Known(
                at=self._clock(),
                queues=self._queues.queues(),
                destinations=self._store.lines.destinations(self._enabled),
                processes=self._beats.processes(),
            )
        except CadnodeError:
            return None


def _alive(
    records: Sequence[ProcessRecord], slots: Mapping[str, frozenset[int]]
) -> Sequence[ProcessRecord]:
    """Without those on this machine that hold no file of numbers any more: they have just died."""
    here = gethostname()
    return [
        record
        for record in records
        if record.host != here
        or record.name not in slots
        or not slots[record.name].isdisjoint({record.pid, 0})
    ]


def _lines(
    records: Sequence[DestinationRecord], enabled: Sequence[str]
) -> Mapping[str, LineStatus]:
    return {
        record.name: LineStatus(state=record.state, since=record.since, error=record.last_error)
        for record in records
        if record.name in enabled
    }


def _of_queues(known: _Known) -> Iterator[Reading]:
    for status, exams in known.queues.exams.items():
        yield Reading(m.EXAMS, float(exams), (str(status),))
    for lane, since in known.queues.oldest.items():
        yield Reading(m.QUEUE_OLDEST, _age(since, known.at), (lane,))


def _of_destinations(known: _Known) -> Iterator[Reading]:
    for record in known.destinations:
        name = (record.name,)
        yield Reading(m.DESTINATION_UP, float(record.state is not LineState.OPEN), name)
        yield Reading(m.DELIVERIES_WAITING, float(record.waiting), name)
        yield Reading(m.DELIVERIES_FAILED, float(record.failed), name)
        yield Reading(m.DELIVERY_OLDEST, _age(record.oldest, known.at), name)
        yield Reading(m.PROOFS_WAITING, float(record.unproved), name)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
