"""What a worker does by the clock, beside its lanes: retention, lost files, the watch over the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from cadnode.app import App, utc_now
from cadnode.core.audit import StudyDeleted
from cadnode.core.errors import CadnodeError, NothingToPurge, SpoolFull
from cadnode.core.file_ports import NodeFiles
from cadnode.core.retention import RECEIVED_AT_ONCE
from cadnode.storage.retention import purge, remove_abandoned, remove_unknown
from cadnode.store import Store

log = structlog.get_logger(__name__)

RETENTION_MINUTES = 10
SWEEP_MINUTES = 24 * 60
DISK_WATCH_MINUTES = 1


class Housekeeping:
    """Runs each job in a thread, at the start and every so many minutes, until `stop`."""

    def __init__(self, app: App, store: Store, spool: NodeFiles, *, wanted: bool) -> None:
        """Nothing is ever run unless `wanted`."""
        self._app = app
        self._store = store
        self._spool = spool
        self._purging = threading.Lock()
        self._under_way: set[str] = set()
        self._scheduler = BackgroundScheduler(timezone="UTC")
        for job, minutes in (
            (self._purge_old, RETENTION_MINUTES),
            (self._sweep, SWEEP_MINUTES),
            (self._watch_disk, DISK_WATCH_MINUTES),
        )[: None if wanted else 0]:
            self._scheduler.add_job(
                self._survive(job),
                "interval",
                minutes=minutes,
                next_run_time=utc_now(),
                coalesce=True,
                max_instances=1,
                id=job.__name__,
            )

    def start(self) -> None:
        """Run every job now, and then by the clock."""
        self._scheduler.start()

    def run_all_now(self) -> None:
        """After the clock was set back: the scheduler would sleep until it is where it was."""
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=utc_now())

    def stop(self, *, wait: bool = False) -> None:
        """Begin nothing more; with `wait`, come back when nothing is under way any more."""
        self._scheduler.shutdown(wait=wait)

    @property
    def busy(self) -> bool:
        """Is a job under way? It cannot be interrupted, and keeps the process from ending."""
        return bool(self._under_way)

    def _purge_old(self) -> None:
        # The watch over the disk may want it while it is running.
        if self._purging.acquire(blocking=False):
            try:
                _purge(self._app, self._store, self._spool)
            finally:
                self._purging.release()

    def _sweep(self) -> None:
        removed = remove_unknown(self._store.records, self._spool, now=utc_now())
        if removed:
            log.warning("removed files that no exam knows", files=removed)
        abandoned = remove_abandoned(self._spool, now=utc_now())
        if abandoned:
            log.warning("removed what receivers that died had begun", files=abandoned)

    def _watch_disk(self) -> None:
        if not self._spool.has_room(RECEIVED_AT_ONCE):
            log.error("the disk is full: senders get 0xA700", code=SpoolFull.code)
            self._purge_old()

    def _survive(self, job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self._under_way.add(job.__name__)
            try:
                job()
            except (CadnodeError, OSError) as error:
                name = job.__name__.removeprefix("_")
                log.error("housekeeping failed", job=name, detail=str(error))
            finally:
                self._under_way.discard(job.__name__)

        return run


def _purge(app: App, store: Store, spool: NodeFiles) -> None:
    def deleted(study_instance_uid: str, files: int) -> None:
        app.audit.record(StudyDeleted(study_instance_uid, files))

    rules = app.settings.retention_rules
    report = purge(store.exams, spool, rules=rules, now=utc_now(), deleted=deleted)
    if report.exams:
        log.info("purged", exams=report.exams)
    if report.missing:
        log.error(
            "the disk fills up and no exam may be purged: make room, raise the limits of"
            " [retention], or see with `cadnode jobs list` what is not delivered yet",
            code=NothingToPurge.code,
            bytes_too_many=report.missing,
        )
