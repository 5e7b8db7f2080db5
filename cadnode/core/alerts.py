"""What is not as it should be, and what to do about it: pure rules over the status of the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from cadnode.core.breaker import LineState
from cadnode.core.node_status import (
    Alert,
    CertificateStatus,
    DayCounts,
    DestinationStatus,
    DiskStatus,
    PullStatus,
    days_until,
)
from cadnode.core.processes import (
    ANALYSIS,
    DELIVERY,
    HOUSEKEEPING,
    PROOF,
    RECEIVE,
    SEEN_WITHIN,
    WEB,
    WORK,
    ProcessRecord,
    doing,
    seen,
)

URGENT_DAYS, NOTE_DAYS = 7, 30
"""Days before a certificate expires."""

DISK_DAYS = 7.0
"""A disk that will be full sooner is worth an alert."""

LONG_WAIT = timedelta(hours=1)
"""An exam that waits longer is worth a look."""

DO = {
    RECEIVE: "Senders get no answer. Start `cadnode serve` and read its log.",
    WORK: "Exams are kept but nobody reads them. Start `cadnode serve` and read its log.",
    WEB: "The console answers nobody. Start `cadnode serve` and read its log.",
}

_NOBODY = {
    ANALYSIS: "Nobody analyzes: no process of the analysis lane is seen",
    DELIVERY: "Nobody delivers: no process of the delivery lane is seen",
    PROOF: "Nobody asks destinations for proofs: no process of the proof lane is seen",
    HOUSEKEEPING: "Nobody keeps house: files are not purged, exams are not pulled",
}


def alerts(
    *,
    day: DayCounts,
    destinations: Sequence[DestinationStatus],
    pulls: Sequence[PullStatus],
    disk: DiskStatus,
    processes: Sequence[ProcessRecord],
    certificates: Sequence[CertificateStatus],
    expected: Sequence[str],
    now: datetime,
) -> tuple[Alert, ...]:
    """Every alert, those that need a person first; `expected` names the processes of the node,
    each as often as it is to run."""
    found = [
        *_processes(processes, expected, now),
        *_disk(disk),
        *_destinations(destinations),
        *_failed(day),
        *_pulls(pulls),
        *_certificates(certificates, now),
        *_waiting(day, now),
    ]
    return tuple(sorted(found, key=lambda alert: not alert.urgent))


def _processes(
    records: Sequence[ProcessRecord], expected: Sequence[str], now: datetime
) -> Iterator[Alert]:
    if not any(record.is_seen(now) for record in records):
        do = "Start `cadnode serve`, as a service that starts by itself, and read its log."
        yield Alert(True, "process", "", "The node does not run: none of its processes is seen", do)
        return
    yield from _missing(records, expected, now)
    there = [record for record in records if record.is_seen(now)]
    for record in there:
        who = f"`cadnode {record.name}` on {record.host}"
        if record.facts.problem:
            yield Alert(
                True,
                "model" if record.name == WORK else "process",
                record.name,
                f"{who} cannot do its work: {record.facts.problem}",
                "Exams wait until it is mended; `cadnode check` says more.",
            )
        if record.facts.drift:
            yield Alert(
                True,
                "drift",
                record.facts.model or "",
                record.facts.drift.rstrip("."),
                "Look at the weeks on the page Model, and for what is new: a device, its software,"
                " other exams. What was read keeps its results.",
                "/model",
            )
        if record.facts.broker_problem:
            yield Alert(
                False,
                "broker",
                record.name,
                f"{who} cannot tell the workers what is due: {record.facts.broker_problem}",
                "The work goes on some seconds later: workers look by themselves. See whether the"
                " message broker runs and whether broker_url in [celery] is right.",
                "/settings",
            )
        if record.facts.audit_problem:
            yield Alert(
                True,
                "audit",
                record.name,
                f"Audit messages of {who} do not get through: {record.facts.audit_problem}",
                "They wait in memory, 10,000 at most. See whether the syslog server of [audit] runs.",
                "/settings",
            )
    if len({record.facts.settings for record in there}) > 1:
        yield Alert(
            False,
            "process",
            "",
            "The processes run with different settings",
            "The file has changed since some of them started, or the machines have different ones:"
            " restart `cadnode serve` where the file is newer.",
            "/settings",
        )
    if len({record.facts.version for record in there}) > 1:
        yield Alert(
            False,
            "process",
            "",
            "The processes are of different versions of cadnode",
            "Restart `cadnode serve`.",
        )


def _missing(
    records: Sequence[ProcessRecord], expected: Sequence[str], now: datetime
) -> Iterator[Alert]:
    for name, wanted in Counter(expected).items():
        count = len(seen(records, name, now))
        if count == 0 and _is_starting(records, name, now):
            do = "It loads its libraries and the model; look again in a minute."
            yield Alert(False, "process", name, f"`cadnode {name}` is starting", do)
        elif count == 0:
            last = max((r.beat_at for r in records if r.name == name), default=None)
            since = f" since {_when(last)}" if last else ""
            what = f"`cadnode {name}` is not seen{since}"
            yield Alert(name != WEB, "process", name, what, DO[name])
        elif count < wanted:
            what = f"{wanted} processes `cadnode {name}` should run, {count} are seen"
            yield Alert(False, "process", name, what, "The work goes on, slower. Read the log.")
    if WORK in expected and seen(records, WORK, now):
        for lane, nobody in _NOBODY.items():
            if not doing(records, lane, now):
                do = "Start `cadnode work` or `cadnode celery-worker` where it should be done."
                yield Alert(True, "process", WORK, nobody, do)


def _is_starting(records: Sequence[ProcessRecord], name: str, now: datetime) -> bool:
    """Has the node started just now, and this process not yet said anything?"""
    there = [record for record in records if record.is_seen(now)]
    young = all(abs(now - record.started_at) <= SEEN_WITHIN for record in there)
    return bool(there) and young and not any(record.name == name for record in records)


def _disk(disk: DiskStatus) -> Iterator[Alert]:
    do = "Make room, raise the limits of [retention], or move the data folder to a larger disk."
    if disk.problem:
        yield Alert(True, "disk", disk.folder, f"The data folder: {disk.problem}", do)
    elif disk.free <= disk.reserve:
        what = "The disk is full: senders get 0xA700 and try again later"
        yield Alert(True, "disk", disk.folder, what, do)
    elif disk.days_left is not None and disk.days_left < DISK_DAYS:
        days = f"{disk.days_left:.1f} days"
        what = f"The disk will be full in {days} at the present rate"
        yield Alert(True, "disk", disk.folder, what, do)


def _destinations(destinations: Sequence[DestinationStatus]) -> Iterator[Alert]:
    for item in destinations:
        waits = _objects(item.waiting)
        if item.enabled and item.state is LineState.OPEN:
            since = f" since {_when(item.since)}" if item.since else ""
            yield Alert(
                True,
                "destination",
                item.name,
                f"{item.name} does not answer{since}: {item.error or 'no answer'}. {waits} for it",
                "See whether it runs and can be reached. Results go out by themselves as soon as it"
                " answers.",
                "/settings",
            )
        elif not item.enabled and (item.waiting or item.unproved):
            why = "is not enabled" if item.enabled is False else "is not in the settings"
            yield Alert(
                False,
                "destination",
                item.name,
                f"{waits} for {item.name}, which {why}",
                f"Enable it, or give up what waits: `cadnode destinations drop {item.name}`.",
            )


def _failed(day: DayCounts) -> Iterator[Alert]:
    for item in day.failed:
        exams = "1 exam has" if item.exams == 1 else f"{item.exams} exams have"
        yield Alert(
            True,
            "failed",
            item.code,
            f"{exams} failed with {item.code} and waits for a person"
            if item.exams == 1
            else f"{exams} failed with {item.code} and wait for a person",
            f"Mend the cause, then `cadnode jobs retry --code {item.code}`;"
            f" or cancel {'it' if item.exams == 1 else 'them'}.",
            f"/exams?status=failed&code={item.code}",
        )


def _pulls(pulls: Sequence[PullStatus]) -> Iterator[Alert]:
    for item in pulls:
        if item.error:
            yield Alert(
                True,
                "source",
                item.source,
                f"The last pull from {item.source} broke off: {item.error}",
                "See whether it runs and can be reached. The next turn asks again.",
                "/settings",
            )
        elif item.failed:
            images = "1 image" if item.failed == 1 else f"{item.failed} images"
            yield Alert(
                False,
                "source",
                item.source,
                f"{images} of the last pull from {item.source} did not come",
                "The next turn asks again; the log of `cadnode work` says which and why (E204).",
            )


def _certificates(certificates: Sequence[CertificateStatus], now: datetime) -> Iterator[Alert]:
    for item in certificates:
        name = f"The certificate {item.subject or item.file} ({item.use})"
        if item.problem:
            do = "Put the right file there; a renewed one needs no restart."
            yield Alert(True, "certificate", item.use, f"{name}: {item.problem}", do, "/settings")
        elif item.expires_at is not None and days_until(item.expires_at, now) < NOTE_DAYS:
            days = days_until(item.expires_at, now)
            what = "has expired" if days < 0 else f"expires in {days} day{'' if days == 1 else 's'}"
            yield Alert(
                days < URGENT_DAYS,
                "certificate",
                item.use,
                f"{name} {what}",
                "Renew it; a renewed file needs no restart.",
                "/settings",
            )


def _waiting(day: DayCounts, now: datetime) -> Iterator[Alert]:
    oldest = day.oldest
    if oldest is not None and now - oldest.since > LONG_WAIT:
        yield Alert(
            False,
            "waiting",
            str(oldest.id),
            f"Exam {oldest.id} has been on its way since {_when(oldest.since)}",
            f"`cadnode jobs show {oldest.id}` says what it waits for.",
            f"/exams/{oldest.id}",
        )


def _objects(count: int) -> str:
    return "1 result object waits" if count == 1 else f"{count} result objects wait"


def _when(moment: datetime) -> str:
    """In local time, which is named."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
