"""Telling persons: looks for what they want to know, and brings it to them by mail and webhook.

Two lanes for any number of processes: what is found goes into the job database first, beside how
far the events have been read, so that a crash loses no notice and two processes do not tell one
twice. The events are counted on the way.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from cadnode.app import App
from cadnode.config import Settings
from cadnode.config.tables import NotifyTable
from cadnode.core.breaker import LineStatus
from cadnode.core.errors import CadnodeError, NoticeNotSent
from cadnode.core.jobs import ExamStatus
from cadnode.core.metrics import (
    CERTIFICATE_EXPIRY,
    EXAM_MOVES,
    NOTIFICATIONS,
    RESULT_DELAY,
    begin,
)
from cadnode.core.notices import (
    MESSAGE_LEASE,
    RETRIES,
    Channel,
    Condition,
    NoticeKind,
    Outgoing,
    Surveyed,
    certificates_ending,
    compose,
    disk_low,
    lines_down,
    processes_missing,
    together,
    trial,
)
from cadnode.core.processes import RECEIVE, WEB, WORK
from cadnode.core.retry import backoff
from cadnode.dimse.tls_check import shown_by
from cadnode.drifting import drift_verdict
from cadnode.network import destination_of
from cadnode.notify.bounded import Bounded
from cadnode.notify.mail import MailChannel, MailServer
from cadnode.notify.webhook import Webhook, WebhookChannel
from cadnode.status import certificates_of
from cadnode.storage.beats import BeatRecords
from cadnode.storage.disk import disk_of
from cadnode.storage.notices import NoticeStore
from cadnode.store import Store

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(seconds=5)
CERTIFICATES_EVERY = timedelta(hours=1)
DRIFT_EVERY = timedelta(hours=6)

_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def channels_of(settings: Settings) -> list[Channel]:
    """The ways to persons that the settings name."""
    table = settings.notify
    channels: list[Channel] = []
    if table.mail_host and table.mail_from:
        channels.append(MailChannel(_mail_server(table, table.mail_from)))
    if table.webhook_url:
        channels.append(
            WebhookChannel(
                Webhook(
                    url=table.webhook_url,
                    secret_file=table.webhook_secret_file,
                    bearer_file=table.webhook_bearer_file,
                    ca=table.webhook_ca,
                )
            )
        )
    return channels


def send_trial(settings: Settings, channel: Channel, *, now: datetime) -> str:
    """Send the message of `cadnode notify test` on one channel, and say what happened. Raises
    NoticeNotSent."""
    return channel.send(
        trial(
            message_id=f"test-{secrets.token_hex(8)}",
            station=settings.node.station_name,
            link=settings.web.public_url,
            now=now,
        )
    )


def notice_lanes(
    app: App, store: Store, *, owner: str, clock: Callable[[], datetime]
) -> list[WatchLane | TellLane]:
    """The one that looks, and one for each channel that tells."""
    tellers = [
        TellLane(app, store, channel, owner=owner, clock=clock)
        for channel in channels_of(app.settings)
    ]
    return [WatchLane(app, store, clock=clock), *tellers]


class WatchLane:
    """Looks at the node every few seconds, and writes down what persons are to be told."""

    name = "notices"

    def __init__(self, app: App, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._settings = app.settings
        self._store = store
        self._notices = NoticeStore(store.database)
        self._beats = BeatRecords(store.database)
        self._channels = [channel.name for channel in channels_of(app.settings)]
        self._rules = app.settings.notice_rules
        self._clock = clock
        self._started = self._judged_at = clock()
        for status in ExamStatus:
            begin(app.metrics, EXAM_MOVES, str(status))
        self._looks: dict[str, datetime] = {}
        self._seen_at: dict[str, datetime] = {}
        self._ends: Mapping[str, datetime | None] = {}

    def run_once(self) -> bool:
        """Look, when it is time to."""
        now = self._clock()
        if not self._is_time("look", LOOK_EVERY, now):
            return False
        if self._is_time("certificates", CERTIFICATES_EVERY, now):
            self._ends = _certificate_ends(self._app)
            for name, end in self._ends.items():
                if end is not None:
                    self._app.metrics.set(CERTIFICATE_EXPIRY, end.timestamp(), name)
        self._notices.drop_channels(self._channels)
        self._count(now)
        self._notices.survey(self._survey(now), self._rules, self._channels, now=now)
        return False

    def _count(self, now: datetime) -> None:
        metrics = self._app.metrics
        while moves := self._notices.read_events(self._rules, self._channels, now=now):
            for move in moves:
                metrics.add(EXAM_MOVES, str(move.status))
                if move.took is not None:
                    metrics.observe(RESULT_DELAY, max(0.0, move.took.total_seconds()))

    def _survey(self, now: datetime) -> Surveyed:
        rules, settings = self._rules, self._settings
        looks = [
            lines_down(self._lines(), rules, now),
            certificates_ending(self._ends, rules, now),
            self._processes(now),
        ]
        disk = disk_of(settings.files_dir)
        if not disk.problem:
            looks.append(disk_low(disk.free, disk.total, rules, now))
        if NoticeKind.DRIFT in rules.kinds and self._is_time("drift", DRIFT_EVERY, now):
            looks.append(self._drift(now))
        return together(looks)

    def _processes(self, now: datetime) -> Surveyed:
        records = self._beats.processes()
        if now < self._judged_at:
            # The clock was set back: all are given time to be seen by the new one.
            self._started = now
        self._judged_at = now
        missing = processes_missing(
            records, _expected(self._settings), self._started, now, before=self._seen_at
        )
        self._seen_at |= {record.name: now for record in records if record.is_seen(now)}
        return missing

    def _lines(self) -> Mapping[str, LineStatus]:
        return {
            table.name: self._store.exams.line(table.name)
            for table in self._settings.destinations
            if table.enabled
        }

    def _drift(self, now: datetime) -> Surveyed:
        kinds = frozenset({NoticeKind.DRIFT})
        try:
            verdict = drift_verdict(self._app, self._store, now=now)
        except CadnodeError as error:
            log.warning("whether the model has moved cannot be said", detail=str(error))
            return Surveyed(frozenset())
        if not verdict.moved:
            return Surveyed(kinds)
        return Surveyed(kinds, (Condition(NoticeKind.DRIFT, verdict.model, now, verdict.text),))

    def _is_time(self, what: str, every: timedelta, now: datetime) -> bool:
        last = self._looks.get(what)
        # A clock that was set back does not stop the looks.
        if last is not None and timedelta() <= now - last < every:
            return False
        self._looks[what] = now
        return True


class TellLane:
    """Sends what is due on one channel: all of it in one message."""

    def __init__(
        self,
        app: App,
        store: Store,
        channel: Channel,
        *,
        owner: str,
        clock: Callable[[], datetime],
        lease: timedelta = MESSAGE_LEASE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = f"notices by {channel.name}"
        self._app = app
        self._notices = NoticeStore(store.database)
        self._channel = Bounded(channel)
        self._owner = owner
        self._clock = clock
        self._lease = lease
        self._jitter = jitter
        for result in ("sent", "retry", "failed"):
            begin(app.metrics, NOTIFICATIONS, channel.name, result)

    def run_once(self) -> bool:
        """Send what is due."""
        now = self._clock()
        due = self._notices.claim(self._channel.name, self._owner, now=now, lease=self._lease)
        if not due:
            return False
        settings = self._app.settings
        message = compose(
            [item.notice for item in due],
            message_id=_message_id(settings, self._channel.name, due),
            station=settings.node.station_name,
            link=settings.web.public_url,
            now=now,
        )
        try:
            said = self._channel.send(message)
        except NoticeNotSent as error:
            self._not_sent(due, error)
        else:
            self._notices.sent(due, self._owner, now=self._clock())
            self._app.metrics.add(NOTIFICATIONS, self._channel.name, "sent")
            log.info("persons were told", channel=self._channel.name, notices=len(due), detail=said)
        return True

    def _not_sent(self, due: Sequence[Outgoing], error: NoticeNotSent) -> None:
        now = self._clock()
        over = [item for item in due if now - item.due_since >= RETRIES.give_up_after]
        again = [item for item in due if item not in over]
        if over:
            self._notices.not_sent(over, self._owner, error=error.detail, again_at=None)
            self._app.metrics.add(NOTIFICATIONS, self._channel.name, "failed", by=len(over))
        if again:
            # Together as before: the message that is due longest says when.
            tries = min(item.tries for item in again)
            at = now + backoff(tries, self._jitter(), RETRIES)
            self._notices.not_sent(again, self._owner, error=error.detail, again_at=at)
            self._app.metrics.add(NOTIFICATIONS, self._channel.name, "retry")
        log.error(
            "persons were not told",
            channel=self._channel.name,
            notices=len(due),
            given_up=len(over),
            code=error.code,
            detail=error.detail,
        )


def _expected(settings: Settings) -> Sequence[str]:
    return (RECEIVE, WORK, WEB) if settings.web.enabled else (RECEIVE, WORK)


def _mail_server(table: NotifyTable, sender: str) -> MailServer:
    return MailServer(
        host=table.mail_host,
        port=table.mail_port or _PORTS[table.mail_security],
        security=table.mail_security,
        sender=sender,
        recipients=table.mail_to,
        user=table.mail_user,
        password_file=table.mail_password_file,
        ca=table.mail_ca,
    )


def _certificate_ends(app: App) -> Mapping[str, datetime | None]:
    """When each certificate ends: those in our files, and those that others show us."""
    settings = app.settings
    ends: dict[str, datetime | None] = {}
    for found in certificates_of(settings):
        known = ends.get(found.use)
        if known is None or (found.expires_at is not None and found.expires_at < known):
            ends[found.use] = found.expires_at
    for kind, tables in (("destination", settings.destinations), ("source", settings.sources)):
        for table in tables:
            if table.tls and getattr(table, "enabled", True):
                ends[f"{kind} {table.name}"] = shown_by(destination_of(settings, table))
    return ends


def _message_id(settings: Settings, channel: str, due: Sequence[Outgoing]) -> str:
    """The same for the same notices, however often they are tried."""
    told = "|".join(str(item.id) for item in due)
    # A node that was set up anew counts its notices from one again.
    since = min(item.notice.since for item in due).isoformat()
    named = f"{settings.node.station_name}|{channel}|{told}|{since}"
    return f"cadnode-{hashlib.sha256(named.encode()).hexdigest()[:32]}"
