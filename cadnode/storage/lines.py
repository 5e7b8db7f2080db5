"""The exam store for the line to each destination: is it open, and what that means for what waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus, after
from cadnode.core.errors import OutOfPatience
from cadnode.core.jobs import DeliveryStatus
from cadnode.storage.database import StorePart
from cadnode.storage.proofs import awaits_proof, give_up_proofs_at
from cadnode.storage.reporting import settle, withdraw
from cadnode.storage.row_locks import in_order, lock_deliveries, lock_exams
from cadnode.storage.rows import AnyRow, free_delivery, log_event
from cadnode.storage.tables import UtcDateTime, deliveries, destination_states, jobs

_ACTOR = "delivery"


class Lines(StorePart):
    """The part of the exam store that knows which destinations answer."""

    def line(self, destination: str) -> LineStatus:
        """See DeliveryStore.line."""
        with self._database.read() as connection:
            return line_of(connection.execute(_of(destination)).one_or_none())

    def hold_probe(self, destination: str, *, now: datetime, lease: timedelta) -> bool:
        """See DeliveryStore.hold_probe. A probe due later than any is set is due too: a clock was put
        back."""
        states = destination_states
        due = or_(states.c.probe_at <= now, states.c.probe_at > now + max(lease, _LONGEST))
        with self._database.write() as connection:
            held = connection.execute(
                update(states)
                .where(states.c.name == destination, states.c.state == LineState.OPEN, due)
                .values(probe_at=now + lease)
            )
            return held.rowcount == 1

    def renew_probe(self, destination: str, *, now: datetime, lease: timedelta) -> None:
        """See DeliveryStore.renew_probe."""
        states = destination_states
        with self._database.write() as connection:
            connection.execute(
                update(states)
                .where(states.c.name == destination, states.c.state == LineState.OPEN)
                .values(probe_at=now + lease)
            )

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
        """See DeliveryStore.note_line."""
        noted = (destination, event, error, jitter, rules, give_up_after, now)
        try:
            return self._note(*noted)
        except IntegrityError:
            # Another worker heard of this destination for the first time at the same moment.
            return self._note(*noted)

    def _note(
        self,
        destination: str,
        event: LineEvent,
        error: str,
        jitter: float,
        rules: BreakerRules,
        give_up_after: timedelta,
        now: datetime,
    ) -> LineStatus:
        with self._database.write() as connection:
            row = _row(connection, destination)
            before = line_of(row)
            line = after(before, event, error=error, now=now, jitter=jitter, rules=rules)
            line = replace(line, since=line.since or now)
            _write(connection, destination, row, line)
            if line.state is LineState.CLOSED and before.state is LineState.OPEN:
                _due_at_once(connection, destination, now)
            if line.state is LineState.OPEN and event is LineEvent.SILENT:
                _give_up(connection, destination, error, now - give_up_after, now)
                _stand_for_a_try(connection, destination, now)
            return line

    def drop_destination(self, destination: str, *, why: str, by: str, now: datetime) -> int:
        """See ExamStore.drop_destination."""
        with self._database.write() as connection:
            here = deliveries.c.destination == destination
            unsent = and_(
                here, deliveries.c.status.in_((DeliveryStatus.PENDING, DeliveryStatus.FAILED))
            )
            ended = 0
            for job in lock_exams(connection, _has(or_(unsent, and_(here, awaits_proof())))):
                lock_deliveries(connection, job.id)
                cancelled = _end(
                    connection, job, unsent, {"status": DeliveryStatus.CANCELLED}
                ) + give_up_proofs_at(connection, destination, job.id, why)
                if not cancelled:
                    continue
                ended += cancelled
                log_event(
                    connection,
                    job_id=job.id,
                    at=now,
                    kind="destination-dropped",
                    text=f"Nothing more is sent to {destination}: {why}.",
                    actor=by,
                )
                settle(connection, job, at=now, why=f"{destination} was dropped", actor=by)
            return ended


_LONGEST = timedelta(minutes=5)


def line_of(row: AnyRow | None) -> LineStatus:
    """The line of a row of `destination_states`."""
    if row is None:
        return LineStatus()
    return LineStatus(
        state=LineState(row.state),
        failures=row.failures,
        probes=row.probes,
        since=row.since,
        probe_at=row.probe_at,
        error=row.error_text,
    )


def _has(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """True for exams with such a delivery."""
    return jobs.c.id.in_(select(deliveries.c.job_id).where(which))


def _end(
    connection: Connection, job: AnyRow, which: ColumnElement[bool], values: dict[str, object]
) -> int:
    """End those deliveries of an exam whose row is locked; how many that were."""
    chosen = in_order(deliveries, and_(deliveries.c.job_id == job.id, which))
    ended = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(chosen.c.id)))
        .values(lease_owner=None, lease_until=None, **values)
        .returning(deliveries.c.id)
    )
    return len(ended.all())


def _of(destination: str) -> Select[Any]:
    return select(destination_states).where(destination_states.c.name == destination)


def _row(connection: Connection, destination: str) -> AnyRow | None:
    locked = _of(destination).with_for_update(key_share=True)
    row: AnyRow | None = connection.execute(locked).one_or_none()
    return row


def _write(connection: Connection, destination: str, row: AnyRow | None, line: LineStatus) -> None:
    values = {
        "state": line.state,
        "failures": line.failures,
        "probes": line.probes,
        "since": line.since,
        "probe_at": line.probe_at,
        "error_text": line.error,
    }
    if row is None:
        connection.execute(insert(destination_states).values(name=destination, **values))
    else:
        name = destination_states.c.name
        connection.execute(update(destination_states).where(name == destination).values(values))


def _due_at_once(connection: Connection, destination: str, now: datetime) -> None:
    later = in_order(
        deliveries,
        and_(
            deliveries.c.destination == destination,
            deliveries.c.due_at > now,
            free_delivery(now),
        ),
    )
    connection.execute(
        update(deliveries).where(deliveries.c.id.in_(select(later.c.id))).values(due_at=now)
    )


def _stand_for_a_try(connection: Connection, destination: str, now: datetime) -> None:
    untried = in_order(
        deliveries,
        and_(
            deliveries.c.destination == destination,
            deliveries.c.first_try_at.is_(None),
            deliveries.c.due_at <= now,
            free_delivery(now),
        ),
    )
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(untried.c.id)))
        .values(first_try_at=func.coalesce(deliveries.c.first_try_at, literal(now, UtcDateTime)))
    )


def _give_up(
    connection: Connection, destination: str, error: str, first_before: datetime, now: datetime
) -> None:
    idle = and_(deliveries.c.destination == destination, free_delivery(now))
    over = and_(idle, deliveries.c.first_try_at <= first_before)
    withdrawn = and_(jobs.c.superseded_by.is_not(None), _has(idle))
    failed: dict[str, object] = {
        "status": DeliveryStatus.FAILED,
        "error_code": OutOfPatience.code,
        "error_text": error,
    }
    for job in lock_exams(connection, or_(withdrawn, _has(over))):
        if job.superseded_by is not None:
            withdraw(connection, job, idle, at=now, actor=_ACTOR)
            continue
        if not _end(connection, job, over, failed):
            continue
        log_event(
            connection,
            job_id=job.id,
            at=now,
            kind="delivery-failed",
            code=OutOfPatience.code,
            text=f"Nothing could be sent to {destination} in time: {error}.",
            actor=_ACTOR,
        )
        settle(connection, job, at=now, why=f"{destination} did not answer", actor=_ACTOR)
