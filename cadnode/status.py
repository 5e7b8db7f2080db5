"""How the node is doing: asked of the job database, the disk and the certificate files.

The console's page of the day and `cadnode status` show the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path

from cadnode import __version__
from cadnode.app import App, utc_now
from cadnode.certificates import key_matches, read_pem
from cadnode.config import Settings
from cadnode.config.tables import PullTable
from cadnode.core.alerts import alerts
from cadnode.core.node_status import (
    CertificateStatus,
    DestinationStatus,
    DiskStatus,
    NodeStatus,
    PullRecord,
    PullStatus,
    forecast,
)
from cadnode.core.processes import RECEIVE, WEB, WORK
from cadnode.storage.beats import BeatRecords
from cadnode.storage.day import DayRecords
from cadnode.storage.disk import Disk, disk_of
from cadnode.storage.fetching import FetchRecords
from cadnode.storage.line_records import DestinationRecord
from cadnode.store import Store

HOUR = timedelta(hours=1)


class StatusReader:
    """Reads the status of one node; for any number of threads."""

    def __init__(
        self,
        app: App,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        disk: Callable[[Path], Disk] = disk_of,
    ) -> None:
        self._settings = app.settings
        self._store = store
        self._clock = clock
        self._disk = disk
        self._day = DayRecords(store.database)
        self._beats = BeatRecords(store.database)
        self._pulls = FetchRecords(store.database)

    def status(self) -> NodeStatus:
        """As it stands now. Raises DatabaseUnavailable."""
        now = self._clock()
        settings = self._settings
        day = self._day.counts(hours_of(now), now=now)
        destinations = self._destinations()
        pulls = pull_statuses(settings.pull, self._pulls.pulls(), now)
        disk = self._disk_status(now)
        processes = tuple(self._beats.processes())
        certificates = tuple(certificates_of(settings))
        expected = [RECEIVE] * settings.node.receivers + [WORK] * len(settings.work.places)
        expected += [WEB] if settings.web.enabled else []
        return NodeStatus(
            at=now,
            station_name=settings.node.station_name,
            version=__version__,
            day=day,
            destinations=destinations,
            pulls=pulls,
            disk=disk,
            processes=processes,
            certificates=certificates,
            alerts=alerts(
                day=day,
                destinations=destinations,
                pulls=pulls,
                disk=disk,
                processes=processes,
                certificates=certificates,
                expected=expected,
                now=now,
            ),
        )

    def _destinations(self) -> tuple[DestinationStatus, ...]:
        tables = {table.name: table for table in self._settings.destinations}
        enabled = {name: table.enabled for name, table in tables.items()}
        records = self._store.lines.destinations(list(tables))
        return tuple(_destination(record, enabled) for record in records)

    def _disk_status(self, now: datetime) -> DiskStatus:
        retention = self._settings.retention_rules
        folder = self._settings.files_dir
        disk = self._disk(folder)
        influx = self._day.influx(now=now)
        if self._settings.storage.url:
            # What comes fills the object store, not this disk.
            influx = replace(influx, bytes=0)
        per_day, days_left, levels_off = forecast(
            free=disk.free,
            reserve=retention.reserve_bytes,
            influx=influx,
            max_age=retention.max_age,
            now=now,
        )
        return DiskStatus(
            folder=str(folder),
            total=disk.total,
            free=disk.free,
            reserve=retention.reserve_bytes,
            per_day=per_day,
            days_left=days_left,
            levels_off=levels_off,
            problem=disk.problem,
        )


def hours_of(now: datetime) -> Sequence[datetime]:
    """When each hour of the day so far began, from local midnight on."""
    begin = datetime.combine(now.astimezone().date(), time()).astimezone(now.tzinfo)
    return [begin + count * HOUR for count in range((now - begin) // HOUR + 1)]


def pull_statuses(
    tables: Sequence[PullTable], records: Sequence[PullRecord], now: datetime
) -> tuple[PullStatus, ...]:
    """Every `[[pull]]` of the settings, with what is known of it."""
    known = {record.name: record for record in records}
    return tuple(
        _pull(table, known.get(f"{table.source} {table.modality}"), now) for table in tables
    )


def certificates_of(settings: Settings) -> Iterator[CertificateStatus]:
    """Every certificate that the settings name."""
    tls, audit, web, notify = settings.tls, settings.audit, settings.web, settings.notify
    yield from _file("this node", tls.certificate, tls.key)
    yield from _file("whom this node trusts", tls.ca)
    yield from _file("audit: this node", audit.certificate, audit.key)
    yield from _file("audit: whom it trusts", audit.ca)
    yield from _file("console", web.certificate, web.key)
    yield from _file("mail: whom it trusts", notify.mail_ca)
    yield from _file("webhook: whom it trusts", notify.webhook_ca)


def _file(use: str, file: Path | None, key: Path | None = None) -> Iterator[CertificateStatus]:
    if file is None:
        return
    found = read_pem(file)
    if found.problem:
        yield CertificateStatus(use, str(file), "", (), None, None, found.problem)
    matches = None if key is None else key_matches(file, key)
    for place, certificate in enumerate(found.certificates):
        own = place == 0 and key is not None
        yield CertificateStatus(
            use=use if place == 0 or key is None else f"{use}, chain",
            file=str(file),
            subject=certificate.subject,
            names=certificate.names,
            expires_at=certificate.expires_at,
            key_matches=matches if own else None,
            problem=_key_problem(key, matches) if own else "",
        )


def _key_problem(key: Path | None, matches: bool | None) -> str:
    if matches is None:
        return f"its key {key} cannot be read"
    return "" if matches else f"the key {key} does not belong to it"


def _destination(record: DestinationRecord, enabled: Mapping[str, bool]) -> DestinationStatus:
    return DestinationStatus(
        name=record.name,
        enabled=enabled.get(record.name),
        state=record.state,
        since=record.since,
        probe_at=record.probe_at,
        waiting=record.waiting,
        oldest=record.oldest,
        failed=record.failed,
        unproved=record.unproved,
        delivered_at=record.delivered_at,
        error=record.last_error,
    )


def _pull(table: PullTable, record: PullRecord | None, now: datetime) -> PullStatus:
    if record is None:
        return PullStatus(table.source, table.modality, None, False, None, 0, 0, "")
    return PullStatus(
        source=table.source,
        modality=table.modality,
        due_at=record.due_at,
        running=record.running_until is not None and record.running_until > now,
        ended_at=record.ended_at,
        fetched=record.fetched or 0,
        failed=record.failed or 0,
        error=record.error,
    )
