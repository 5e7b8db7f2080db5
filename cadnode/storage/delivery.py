"""The exam store for the delivery lane: what is due where, and how sending it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, literal, select, update

from cadnode.core.errors import LeaseLost, NotFound
from cadnode.core.jobs import Delivery, DeliveryStatus, Priority
from cadnode.core.retry import Decision, SendOutcome, Verdict
from cadnode.storage.claiming import claim_rows, is_due
from cadnode.storage.database import StorePart
from cadnode.storage.proofs import wanted_from
from cadnode.storage.reporting import settle, withdraw_superseded
from cadnode.storage.rows import AnyRow, free_delivery, job_row, log_event, stored_result
from cadnode.storage.tables import UtcDateTime, deliveries, jobs, results

_ENDED = {
    Verdict.DONE: ("delivery-done", "was stored at {}"),
    Verdict.RETRY: ("delivery-retry", "will be sent to {} again"),
    Verdict.GIVE_UP: ("delivery-failed", "could not be sent to {}"),
}

_WITHDRAWN = "was superseded while it was being sent to {} and is not sent again"


class Delivering(StorePart):
    """The part of the exam store that senders use."""

    def claim_deliveries(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Delivery]:
        """See DeliveryStore.claim_deliveries."""
        due = and_(
            deliveries.c.destination == destination,
            deliveries.c.due_at <= now,
            free_delivery(now),
        )
        if not is_due(self._database, deliveries, due):
            return []
        values: dict[str, object] = {
            "lease_owner": owner,
            "lease_until": now + lease,
            "tries": deliveries.c.tries + 1,
            "attempts": deliveries.c.attempts + 1,
            "first_try_at": func.coalesce(deliveries.c.first_try_at, literal(now, UtcDateTime)),
        }
        claimed: list[AnyRow] = []
        with self._database.write() as connection:
            # One after the other, for then an index has what is due next at its beginning.
            for priority in sorted(Priority, reverse=True):
                if len(claimed) == limit:
                    break
                claimed += claim_rows(
                    connection,
                    deliveries,
                    and_(due, deliveries.c.priority == priority, ~_is_superseded()),
                    order=[deliveries.c.due_at],
                    limit=limit - len(claimed),
                    values=values,
                )
            objects = {
                row.id: stored_result(row)
                for row in connection.execute(
                    select(results).where(results.c.id.in_([row.result_id for row in claimed]))
                )
            }
        if len(claimed) < limit:
            self._withdraw(due, now)
        return [
            Delivery(
                id=row.id,
                exam_id=row.job_id,
                destination=row.destination,
                owner=owner,
                result=objects[row.result_id],
                tries=row.tries,
                first_try_at=row.first_try_at,
            )
            for row in sorted(claimed, key=lambda row: (-row.priority, row.due_at, row.id))
        ]

    def _withdraw(self, due: ColumnElement[bool], now: datetime) -> None:
        """What is still due now was not claimed because its exam is superseded."""
        if is_due(self._database, deliveries, due):
            with self._database.write() as connection:
                withdraw_superseded(connection, due, now)

    def renew_deliveries(
        self, deliveries: Sequence[Delivery], *, now: datetime, lease: timedelta
    ) -> None:
        """See DeliveryStore.renew_deliveries."""
        with self._database.write() as connection:
            held = 0
            for delivery in sorted(deliveries, key=_place):
                held += _change_if_held(connection, delivery, {"lease_until": now + lease})
        if deliveries and not held:
            raise LeaseLost(f"{deliveries[0].owner} no longer holds any of its deliveries")

    def record_delivery(
        self,
        delivery: Delivery,
        outcome: SendOutcome,
        decision: Decision,
        *,
        proof_due_at: datetime | None = None,
        now: datetime,
    ) -> None:
        """See DeliveryStore.record_delivery.

        A repeated failure leaves one event until its cause changes or it ends.
        """
        with self._database.write() as connection:
            job = job_row(connection, delivery.exam_id)
            before = _held(connection, delivery)
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery.id)
                .values(
                    _outcome_values(job, outcome, decision, now)
                    | (wanted_from(proof_due_at) if decision.verdict is Verdict.DONE else {})
                )
            )
            first_of_its_kind = before.error_text != decision.text
            if _is_withdrawn(job, decision):
                _log(connection, delivery, decision, now, "withdrawn", _WITHDRAWN)
            elif decision.verdict is not Verdict.RETRY or first_of_its_kind:
                _log(connection, delivery, decision, now, *_ENDED[decision.verdict])
            settle(
                connection,
                job,
                at=now,
                why=f"the last delivery, to {delivery.destination}, has ended",
                actor=delivery.owner,
            )

    def release_deliveries(self, deliveries: Sequence[Delivery], *, now: datetime) -> None:
        """See DeliveryStore.release_deliveries. One that somebody else holds by now is left alone."""
        with self._database.write() as connection:
            for delivery in sorted(deliveries, key=_place):
                _hand_back(connection, delivery, now)


def _is_superseded() -> ColumnElement[bool]:
    # A subquery, not a join: PostgreSQL would look through all exams for those that are.
    by = select(jobs.c.superseded_by).where(jobs.c.id == deliveries.c.job_id).scalar_subquery()
    return by.is_not(None)


def _is_held(delivery: Delivery) -> ColumnElement[bool]:
    return and_(
        deliveries.c.id == delivery.id,
        deliveries.c.lease_owner == delivery.owner,
        deliveries.c.tries == delivery.tries,
        deliveries.c.status == DeliveryStatus.PENDING,
    )


def _place(delivery: Delivery) -> tuple[int, int]:
    return delivery.exam_id, delivery.id


def _held(connection: Connection, delivery: Delivery) -> AnyRow:
    row = connection.execute(
        select(deliveries).where(_is_held(delivery)).with_for_update(key_share=True)
    ).one_or_none()
    if row is not None:
        return row
    known = connection.execute(
        select(deliveries.c.id).where(deliveries.c.id == delivery.id)
    ).one_or_none()
    if known is None:
        raise NotFound(f"there is no delivery {delivery.id}")
    raise LeaseLost(f"{delivery.owner} no longer holds delivery {delivery.id}")


def _change_if_held(connection: Connection, delivery: Delivery, values: dict[str, object]) -> int:
    changed = connection.execute(update(deliveries).where(_is_held(delivery)).values(**values))
    return changed.rowcount


def _hand_back(connection: Connection, delivery: Delivery, now: datetime) -> None:
    untried: dict[str, object] = {
        "due_at": now,
        "lease_owner": None,
        "lease_until": None,
        "tries": deliveries.c.tries - 1,
        "attempts": deliveries.c.attempts - 1,
        "first_try_at": case((deliveries.c.tries == 1, None), else_=deliveries.c.first_try_at),
    }
    _change_if_held(connection, delivery, untried)


def _outcome_values(
    job: AnyRow, outcome: SendOutcome, decision: Decision, now: datetime
) -> dict[str, object]:
    common: dict[str, object] = {
        "lease_owner": None,
        "lease_until": None,
        "dicom_status": outcome.status,
        "error_code": decision.code,
        "error_text": None if decision.verdict is Verdict.DONE else decision.text,
    }
    if _is_withdrawn(job, decision):
        return common | {"status": DeliveryStatus.SUPERSEDED}
    match decision.verdict:
        case Verdict.DONE:
            return common | {"status": DeliveryStatus.DELIVERED, "delivered_at": now}
        case Verdict.RETRY:
            return common | {"due_at": decision.retry_at or now}
        case Verdict.GIVE_UP:
            return common | {"status": DeliveryStatus.FAILED}


def _is_withdrawn(job: AnyRow, decision: Decision) -> bool:
    return job.superseded_by is not None and decision.verdict is not Verdict.DONE


def _log(
    connection: Connection,
    delivery: Delivery,
    decision: Decision,
    now: datetime,
    kind: str,
    happened: str,
) -> None:
    uid, where = delivery.result.sop_instance_uid, delivery.destination
    log_event(
        connection,
        job_id=delivery.exam_id,
        subject_uid=uid,
        at=now,
        kind=kind,
        code=decision.code,
        text=f"Result object {uid} {happened.format(where)}: {decision.text}.",
        actor=delivery.owner,
    )
