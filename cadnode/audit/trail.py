"""The way of an event to the audit repository, without ever holding up who reports it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from cadnode.audit.messages import SUCCESS, AuditSource, audit_message, outcome_of
from cadnode.audit.syslog import Header, Transport, syslog_message
from cadnode.core.audit import (
    CLOSE_SECONDS,
    AuditEvent,
    Instance,
    InstancesAccessed,
    InstancesTransferred,
    Subject,
    TransferBegun,
)
from cadnode.core.errors import CadnodeError

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
"""Events kept for a repository that does not answer, a few megabytes; what comes then is dropped,
counted and logged."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class _Study:
    """What a transfer holds of one study."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.taken: list[Instance] = []
        self.refused: list[Instance] = []

    def add(self, item: Instance, *, failed: bool) -> None:
        (self.refused if failed else self.taken).append(item)


class SyslogTrail:
    """An `AuditTrail` that writes DICOM audit messages to a syslog server from its own thread.

    `subject_of` reads from a kept file whose it is; it raises CadnodeError when it cannot.
    """

    def __init__(
        self,
        transport: Transport,
        source: AuditSource,
        *,
        subject_of: Callable[[Path], Subject],
        clock: Callable[[], datetime],
        most_waiting: int = MOST_WAITING,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._transport = transport
        self._source = source
        self._subject_of = subject_of
        self._clock = clock
        self._first_pause = first_pause
        self._waiting: queue.Queue[tuple[AuditEvent, datetime] | None] = queue.Queue(most_waiting)
        self._header = Header(source.host, "cadnode", source.process_id)
        self._closing = threading.Event()
        self._dropped = 0
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(self, event: AuditEvent) -> None:
        """Note what has just happened; never waits."""
        try:
            self._waiting.put_nowait((event, self._clock()))
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1:
                log.error("audit messages are dropped: the repository does not take them")

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, for at most so long; the rest is dropped and counted in the log."""
        self._closing.set()
        ends = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < ends:
            try:
                # Not put: a full queue shall not hold up the end of the process.
                self._waiting.put_nowait(None)
            except queue.Full:
                self._thread.join(0.05)
            else:
                self._thread.join(max(0.0, ends - time.monotonic()))
                break
        while not self._waiting.empty():
            with contextlib.suppress(queue.Empty):
                self._dropped += self._waiting.get_nowait() is not None
        if self._dropped:
            log.error("audit messages are lost", messages=self._dropped)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            event, at = item
            for part, subject in self._parts(event):
                message = audit_message(part, at=at, source=self._source, subject=subject)
                failure = outcome_of(part) != SUCCESS
                if not self._deliver(syslog_message(self._header, message, at=at, warning=failure)):
                    self._dropped += 1
                    return
        self._transport.close()

    def _deliver(self, message: bytes) -> bool:
        """Send until it is sent; False when the trail is closed and the repository is down."""
        pause = self._first_pause
        silent = False
        while True:
            try:
                self._transport.send(message)
            except OSError as error:
                if not silent:
                    why = error.strerror or type(error).__name__
                    log.warning("the audit repository does not answer", detail=why)
                    self.trouble = why
                silent = True
                if self._closing.wait(pause):
                    return False
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if silent:
                log.warning("the audit repository answers again", dropped=self._dropped)
                self.trouble = ""
                self._dropped = 0
            return True

    def _parts(self, event: AuditEvent) -> Iterator[tuple[AuditEvent, Subject | None]]:
        """One event for each study that it is about, each with whose study that is."""
        if isinstance(event, InstancesAccessed) and event.instances:
            yield event, self._subject_of_any(event.instances)
            return
        if not isinstance(event, TransferBegun | InstancesTransferred):
            yield event, None
            return
        failed = event.failed if isinstance(event, InstancesTransferred) else ()
        studies: dict[str, _Study] = {}
        for item in (*event.instances, *failed):
            subject = None if item.study_instance_uid in studies else self._subject(item)
            uid = subject.study_instance_uid if subject else item.study_instance_uid
            if uid not in studies:
                studies[uid] = _Study(subject or Subject(uid, ""))
            studies[uid].add(item, failed=item in failed)
        for study in studies.values():
            if isinstance(event, TransferBegun):
                yield replace(event, instances=tuple(study.taken)), study.subject
            else:
                taken, refused = tuple(study.taken), tuple(study.refused)
                yield replace(event, instances=taken, failed=refused), study.subject

    def _subject_of_any(self, instances: Sequence[Instance]) -> Subject:
        """Whose one study that is, from the first file that says so."""
        found = Subject("", "")
        for item in instances:
            found = self._subject(item)
            if found.patient_id:
                break
        return found

    def _subject(self, item: Instance) -> Subject:
        uid = item.study_instance_uid
        try:
            found = self._subject_of(item.path)
        except CadnodeError:
            return Subject(uid, "")
        return replace(found, study_instance_uid=uid or found.study_instance_uid)
