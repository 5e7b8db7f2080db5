"""What the parts of the exam store share about proofs of delivery."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select, update

from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.proof import OPEN_PROOFS, ProofState, is_proved
from cadnode.storage.row_locks import in_order
from cadnode.storage.rows import log_event
from cadnode.storage.tables import deliveries, jobs

FRESH: dict[str, object] = {
    "proof": None,
    "proof_due_at": None,
    "proof_tries": 0,
    "proof_asks": 0,
    "proof_text": None,
    "proved_at": None,
    "transaction_uid": None,
}
"""The proof of a delivery that is pending: there is none yet."""


def awaits_proof() -> ColumnElement[bool]:
    """True for deliveries whose destination has still to prove that it holds the object."""
    return and_(
        deliveries.c.status == DeliveryStatus.DELIVERED, deliveries.c.proof.in_(OPEN_PROOFS)
    )


def exam_awaits_proof() -> ColumnElement[bool]:
    """True for exams with such a delivery."""
    return has_delivery(awaits_proof())


def has_delivery(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """True for exams with a delivery of this sort."""
    # Not EXISTS: PostgreSQL may answer that by reading the deliveries of all exams.
    first = select(deliveries.c.id).where(deliveries.c.job_id == jobs.c.id, which).limit(1)
    return first.scalar_subquery().is_not(None)


def wanted_from(due_at: datetime | None) -> dict[str, object]:
    """What a delivery that has just gone well waits for: a proof from `due_at` on, or none."""
    if due_at is None:
        return {**FRESH}
    return {**FRESH, "proof": ProofState.WANTED, "proof_due_at": due_at}


def settle_proofs(connection: Connection, exam_id: int, *, at: datetime, actor: str) -> None:
    """Move a delivered exam on when every proof that it waits for is there. Its row is locked."""
    job = connection.execute(select(jobs).where(jobs.c.id == exam_id)).one()
    if job.status != ExamStatus.DELIVERED:
        return
    proofs = connection.execute(
        select(deliveries.c.proof).where(
            deliveries.c.job_id == exam_id, deliveries.c.status == DeliveryStatus.DELIVERED
        )
    ).scalars()
    if not is_proved(None if proof is None else ProofState(proof) for proof in proofs):
        return
    connection.execute(
        update(jobs).where(jobs.c.id == exam_id).values(status=ExamStatus.COMMITTED, finished_at=at)
    )
    log_event(
        connection,
        job_id=exam_id,
        at=at,
        kind=ExamStatus.COMMITTED,
        text="The exam is committed: every destination that proves what it holds has done so.",
        actor=actor,
    )


def ask_at_once(connection: Connection, exam_id: int, by: str, now: datetime) -> int:
    """Make every proof that the exam waits for due; returns how many that are."""
    missing = in_order(deliveries, and_(deliveries.c.job_id == exam_id, awaits_proof()))
    due = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(missing.c.id)))
        .values(proof_due_at=now)
        .returning(deliveries.c.id)
    ).all()
    if due:
        log_event(
            connection,
            job_id=exam_id,
            at=now,
            kind="retry",
            text="The proofs of delivery that are still missing were made due at once.",
            actor=by,
        )
    return len(due)


def give_up_proofs(connection: Connection, exam_id: int, why: str, by: str, now: datetime) -> int:
    """End what the exam still waits to be proved; returns how many proofs that were."""
    ended = len(_give_up(connection, deliveries.c.job_id == exam_id, why))
    if ended:
        log_event(
            connection,
            job_id=exam_id,
            at=now,
            kind="proof-given-up",
            text=f"The proofs of delivery that were still missing ({ended}) were given up: {why}.",
            actor=by,
        )
    return ended


def give_up_proofs_at(connection: Connection, destination: str, exam_id: int, why: str) -> int:
    """End what of an exam is still to be proved at a destination; how many proofs that were."""
    here = and_(deliveries.c.destination == destination, deliveries.c.job_id == exam_id)
    return len(_give_up(connection, here, why))


def _give_up(connection: Connection, which: ColumnElement[bool], why: str) -> list[int]:
    missing = in_order(deliveries, and_(which, awaits_proof()))
    ended = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(missing.c.id)))
        .values(
            proof=ProofState.GIVEN_UP,
            proof_text=why,
            proof_due_at=None,
            lease_owner=None,
            lease_until=None,
        )
        .returning(deliveries.c.job_id)
    )
    return list(ended.scalars())
