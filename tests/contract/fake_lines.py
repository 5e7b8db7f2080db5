"""The part of the ExamStore in memory that knows the line to each destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus, after
from cadnode.core.jobs import DeliveryStatus
from cadnode.core.proof import ProofState
from tests.contract.fake_rows import FakeDelivery, FakeRows, is_free


class FakeLines(FakeRows):
    """Lines open, close and are dropped."""

    def line(self, destination: str) -> LineStatus:
        return self.lines.get(destination, LineStatus())

    def hold_probe(self, destination: str, *, now: datetime, lease: timedelta) -> bool:
        line = self.line(destination)
        if line.state is LineState.CLOSED or line.probe_at is None:
            return False
        if now < line.probe_at <= now + max(lease, timedelta(minutes=5)):
            return False
        self.lines[destination] = replace(line, probe_at=now + lease)
        return True

    def renew_probe(self, destination: str, *, now: datetime, lease: timedelta) -> None:
        line = self.line(destination)
        if line.state is LineState.OPEN:
            self.lines[destination] = replace(line, probe_at=now + lease)

    def note_line(
        self,
        destination: str,
        event: LineEvent,
        *,
        error: str,
        jitter: float,
        rules: BreakerRules,
        give_up_after: timedelta,
        now: datetime,
    ) -> LineStatus:
        before = self.line(destination)
        line = after(before, event, error=error, now=now, jitter=jitter, rules=rules)
        line = self.lines[destination] = replace(line, since=line.since or now)
        waiting = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status is DeliveryStatus.PENDING
            and is_free(d, now)
        ]
        if line.state is LineState.CLOSED and before.state is LineState.OPEN:
            for d in waiting:
                d.due_at = min(d.due_at, now)
        if line.state is LineState.OPEN and event is LineEvent.SILENT:
            for d in waiting:
                if d.due_at <= now:
                    d.first_try_at = d.first_try_at or now
            self._withdraw_superseded(waiting, now)
            self._give_up(waiting, error, give_up_after, now)
        return line

    def _give_up(
        self, waiting: Sequence[FakeDelivery], error: str, patience: timedelta, now: datetime
    ) -> None:
        over = [
            d
            for d in waiting
            if d.status is DeliveryStatus.PENDING
            and d.first_try_at is not None
            and d.first_try_at <= now - patience
        ]
        for d in over:
            d.status, d.owner, d.until = DeliveryStatus.FAILED, None, None
            d.code, d.text = "E603", error
        for number in sorted({d.job.id for d in over}):
            self._log(self.jobs[number], now, "delivery-failed", "E603", None, "delivery")
            self._settle(self.jobs[number], now, "delivery")

    def drop_destination(self, destination: str, *, why: str, by: str, now: datetime) -> int:
        dropped = [
            d
            for d in self.deliveries.values()
            if d.destination == destination
            and d.status in (DeliveryStatus.PENDING, DeliveryStatus.FAILED)
        ]
        for d in dropped:
            d.status, d.owner, d.until = DeliveryStatus.CANCELLED, None, None
        unproved = [
            d
            for job in self.jobs.values()
            for d in self._open_proofs(job)
            if d.destination == destination
        ]
        for d in unproved:
            d.proof.state, d.proof.due_at = ProofState.GIVEN_UP, None
            d.owner = d.until = None
        dropped += unproved
        for number in sorted({d.job.id for d in dropped}):
            self._log(self.jobs[number], now, "destination-dropped", None, None, by)
            self._settle(self.jobs[number], now, by)
        return len(dropped)
