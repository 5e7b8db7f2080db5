"""The exam store for the line to each destination: is it open, and what that means for what waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.breaker import BreakerRules, LineEvent, LineState, LineStatus, after
from cadnode.core.errors import OutOfPatience
from cadnode.core.jobs import DeliveryStatus
from cadnode.storage.database import StorePart
from cadnode.storage.proofs import give_up_proofs_at
from cadnode.storage.reporting import settle, withdraw_superseded
from cadnode.storage.rows import AnyRow, free_delivery, job_row, log_event
from cadnode.storage.tables import UtcDateTime, deliveries, destination_states

_ACTOR = "delivery"


class Lines(StorePart):
    """The part of the exam store that knows which destinations answer."""

    def line(self, destination: str) -> LineStatus:
        """See DeliveryStore.line."""
        with self._database.read() as connection:
            return line_of(_row(connection, destination))

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
                _stand_for_a_try(connection, destination, now)
                _give_up(connection, destination, error, now - give_up_after, now)
            return line

    def drop_destination(self, destination: str, *, why: str, by: str, now: datetime) -> int:
        """See ExamStore.drop_destination."""
        with self._database.write() as connection:
            dropped = connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.destination == destination,
                    deliveries.c.status.in_((DeliveryStatus.PENDING, DeliveryStatus.FAILED)),
                )
                .values(status=DeliveryStatus.CANCELLED, lease_owner=None, lease_until=None)
                .returning(deliveries.c.job_id)
            ).all()
            unproved = give_up_proofs_at(connection, destination, why)
            exam_ids = {row.job_id for row in dropped} | set(unproved)
            for exam_id in sorted(exam_ids):
                log_event(
                    connection,
                    job_id=exam_id,
                    at=now,
                    kind="destination-dropped",
                    text=f"Nothing more is sent to {destination}: {why}.",
                    actor=by,
                )
                job = job_row(connection, exam_id)
                settle(connection, job, at=now, why=f"{destination} was dropped", actor=by)
            return len(dropped) + len(unproved)


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


def _row(connection: Connection, destination: str) -> AnyRow | None:
    return connection.execute(
        select(destination_states).where(destination_states.c.name == destination).with_for_update()
    ).one_or_none()


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
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.destination == destination,
            deliveries.c.due_at > now,
            free_delivery(now),
        )
        .values(due_at=now)
    )


def _stand_for_a_try(connection: Connection, destination: str, now: datetime) -> None:
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.destination == destination,
            deliveries.c.first_try_at.is_(None),
            deliveries.c.due_at <= now,
            free_delivery(now),
        )
        .values(first_try_at=func.coalesce(deliveries.c.first_try_at, literal(now, UtcDateTime)))
    )


def _give_up(
    connection: Connection, destination: str, error: str, first_before: datetime, now: datetime
) -> None:
    idle = and_(deliveries.c.destination == destination, free_delivery(now))
    withdraw_superseded(connection, idle, now)
    over = and_(idle, deliveries.c.first_try_at <= first_before)
    rows = connection.execute(
        update(deliveries)
        .where(over)
        .values(
            status=DeliveryStatus.FAILED,
            lease_owner=None,
            lease_until=None,
            error_code=OutOfPatience.code,
            error_text=error,
        )
        .returning(deliveries.c.job_id)
    ).all()
    for exam_id in sorted({row.job_id for row in rows}):
        log_event(
            connection,
            job_id=exam_id,
            at=now,
            kind="delivery-failed",
            code=OutOfPatience.code,
            text=f"Nothing could be sent to {destination} in time: {error}.",
            actor=_ACTOR,
        )
        job = job_row(connection, exam_id)
        settle(connection, job, at=now, why=f"{destination} did not answer", actor=_ACTOR)
