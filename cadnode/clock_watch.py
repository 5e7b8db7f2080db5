"""Notices that the clock was set back, and makes due what would otherwise wait until it is there.

A jump forward needs nothing: leases end early and steps run again, exams close early and what comes
later makes a new revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from cadnode.config import Settings
from cadnode.core.notices import RETRIES
from cadnode.storage.clock import Horizons, bring_forward
from cadnode.storage.database import Database
from cadnode.worker import UNFIT_PAUSE

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
SET_BACK = timedelta(seconds=30)
"""A clock that lost so much against the monotonic one was set back."""


def horizons(settings: Settings, *, longest_lease: timedelta = timedelta(0)) -> Horizons:
    """How far ahead a node with these settings sets its times."""
    delay = timedelta(seconds=settings.delivery.longest_delay_seconds)
    quiet = timedelta(seconds=settings.exam.quiet_seconds)
    report = timedelta(seconds=settings.delivery.commitment_report_seconds)
    first = timedelta(seconds=settings.delivery.commitment_delay_seconds)
    told = settings.notice_rules
    return Horizons(
        exam=max(delay, quiet, UNFIT_PAUSE),
        delivery=delay,
        proof=max(delay, report, first),
        lease=max(timedelta(seconds=settings.work.lease_seconds), longest_lease),
        message=max(RETRIES.longest_delay, told.quiet, told.collect),
    )


class ClockLane:
    """A lane that looks at the clock every few seconds and after a start; never busy."""

    name = "clock"

    def __init__(
        self,
        database: Database,
        horizons: Horizons,
        *,
        set_back: Callable[[], None],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`set_back` is called when the clock was set back while this ran."""
        self._database = database
        self._horizons = horizons
        self._set_back = set_back
        self._clock = clock
        self._monotonic = monotonic
        self._look_at = monotonic()
        self._ahead = self._ahead_now()

    def run_once(self) -> bool:
        """Look, if it is time to. False: there is never more to do at once."""
        if self._monotonic() < self._look_at:
            return False
        self._look_at = self._monotonic() + LOOK_SECONDS
        before, self._ahead = self._ahead, self._ahead_now()
        if before - self._ahead > SET_BACK:
            seconds = round((before - self._ahead).total_seconds())
            log.warning("the clock was set back", seconds=seconds)
            self._set_back()
        changed = bring_forward(self._database, self._horizons, now=self._clock())
        if changed:
            log.warning("times beyond their horizon were brought forward", rows=changed)
        return False

    def _ahead_now(self) -> timedelta:
        """How far the time of day is ahead of the monotonic clock; only differences mean anything."""
        epoch = datetime.fromtimestamp(0, tz=self._clock().tzinfo)
        return self._clock() - epoch - timedelta(seconds=self._monotonic())
