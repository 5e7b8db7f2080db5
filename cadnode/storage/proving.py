"""The exam store for the proof lane: which delivered objects are still to be proved, and how."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from cadnode.core.errors import LeaseLost, NotFound, Unproved
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.proof import (
    FAILURE_REASONS,
    OPEN_PROOFS,
    CommitmentReport,
    Proof,
    ProofDecision,
    ProofState,
    ProofVerdict,
    ReportTaken,
)
from cadnode.storage.claiming import claim_rows, is_due
from cadnode.storage.database import StorePart
from cadnode.storage.proofs import FRESH, awaits_proof, settle_proofs
from cadnode.storage.reporting import settle
from cadnode.storage.row_locks import lock_exams
from cadnode.storage.rows import AnyRow, job_row, lease_is_over, log_event, stored_result
from cadnode.storage.tables import commitment_items, commitments, deliveries, jobs, results

_KIND = {
    ProofVerdict.COMMITTED: "proof-committed",
    ProofVerdict.VERIFIED: "proof-verified",
    ProofVerdict.UNPROVABLE: "proof-not-possible",
    ProofVerdict.GIVE_UP: "proof-given-up",
    ProofVerdict.AWAIT: "proof-asked",
    ProofVerdict.LATER: "proof-retry",
    ProofVerdict.DELIVER_AGAIN: "proof-refused",
    ProofVerdict.FAIL: "proof-failed",
}

_ENDED = {
    ProofVerdict.COMMITTED: ProofState.COMMITTED,
    ProofVerdict.VERIFIED: ProofState.VERIFIED,
    ProofVerdict.UNPROVABLE: ProofState.UNPROVABLE,
    ProofVerdict.GIVE_UP: ProofState.GIVEN_UP,
}

_TAKES_BACK = (ProofVerdict.DELIVER_AGAIN, ProofVerdict.FAIL)

_SUPERSEDED = "superseded by a newer revision, not sent again"


class Proving(StorePart):
    """The part of the exam store for proofs of delivery."""

    def claim_proofs(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Proof]:
        """See ProofStore.claim_proofs."""
        due = and_(
            deliveries.c.destination == destination,
            deliveries.c.proof_due_at <= now,
            # Only what is delivered has one. To name the status would lead SQLite to the index of
            # all that was ever delivered there.
            deliveries.c.proof.in_(OPEN_PROOFS),
            lease_is_over(deliveries.c.lease_owner, deliveries.c.lease_until, now),
        )
        if not is_due(self._database, deliveries, due):
            return []
        with self._database.write() as connection:
            claimed = claim_rows(
                connection,
                deliveries,
                due,
                order=[deliveries.c.proof_due_at],
                limit=limit,
                values={
                    "lease_owner": owner,
                    "lease_until": now + lease,
                    "proof_tries": deliveries.c.proof_tries + 1,
                },
            )
            objects = {
                row.id: row
                for row in connection.execute(
                    select(results, jobs.c.study_instance_uid)
                    .join(jobs, jobs.c.id == results.c.job_id)
                    .where(results.c.id.in_([row.result_id for row in claimed]))
                )
            }
        return [
            Proof(
                delivery_id=row.id,
                exam_id=row.job_id,
                destination=row.destination,
                owner=owner,
                study_instance_uid=objects[row.result_id].study_instance_uid,
                result=stored_result(objects[row.result_id]),
                state=ProofState(row.proof),
                tries=row.proof_tries,
                asks=row.proof_asks,
                failures=row.proof_failures,
                delivered_at=row.delivered_at,
                text=row.proof_text,
            )
            for row in sorted(claimed, key=lambda row: (row.proof_due_at, row.id))
        ]

    def renew_proofs(self, proofs: Sequence[Proof], *, now: datetime, lease: timedelta) -> None:
        """See ProofStore.renew_proofs."""
        held = 0
        with self._database.write() as connection:
            for proof in sorted(proofs, key=_place):
                held += connection.execute(
                    update(deliveries).where(_is_held(proof)).values(lease_until=now + lease)
                ).rowcount
        if proofs and not held:
            raise LeaseLost(f"{proofs[0].owner} no longer holds any of its proofs")

    def record_request(
        self,
        proofs: Sequence[Proof],
        transaction_uid: str,
        *,
        report_due_at: datetime,
        now: datetime,
    ) -> None:
        """See ProofStore.record_request. All or none."""
        with self._database.write() as connection:
            asked = connection.execute(
                insert(commitments)
                .values(
                    transaction_uid=transaction_uid,
                    destination=proofs[0].destination,
                    asked_at=now,
                )
                .returning(commitments.c.id)
            ).scalar_one()
            for proof in sorted(proofs, key=_place):
                _held(connection, proof)
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id == proof.delivery_id)
                    .values(
                        proof=ProofState.ASKED,
                        proof_due_at=report_due_at,
                        proof_asks=deliveries.c.proof_asks + 1,
                        transaction_uid=transaction_uid,
                    )
                )
                connection.execute(
                    insert(commitment_items).values(
                        commitment_id=asked, delivery_id=proof.delivery_id
                    )
                )

    def record_report(self, report: CommitmentReport, *, by: str, now: datetime) -> ReportTaken:
        """See ProofStore.record_report."""
        with self._database.write() as connection:
            asked = connection.execute(
                select(commitments)
                .where(commitments.c.transaction_uid == report.transaction_uid)
                .with_for_update(key_share=True)
            ).one_or_none()
            if asked is None:
                return ReportTaken.UNKNOWN
            if asked.reported_at is not None:
                return ReportTaken.AGAIN
            connection.execute(
                update(commitments).where(commitments.c.id == asked.id).values(reported_at=now)
            )
            exam_ids = _exams_of(connection, asked.id)
            lock_exams(connection, jobs.c.id.in_(exam_ids))
            for row in _waiting(connection, asked):
                _take_report(connection, row, report, by, now)
            for exam_id in exam_ids:
                settle_proofs(connection, exam_id, at=now, actor=by)
            return ReportTaken.TAKEN

    def record_proof(self, proof: Proof, decision: ProofDecision, *, now: datetime) -> None:
        """See ProofStore.record_proof.

        The same trouble again leaves no further event.
        """
        with self._database.write() as connection:
            job = job_row(connection, proof.exam_id)
            before = _held(connection, proof)
            if decision.verdict in _TAKES_BACK and job.superseded_by is not None:
                text = f"{decision.text}; {_SUPERSEDED}"
                decision = ProofDecision(ProofVerdict.GIVE_UP, text)
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == proof.delivery_id)
                .values(lease_owner=None, lease_until=None, **_values(before, decision, now))
            )
            news = before.proof_text != decision.text
            if decision.verdict is not ProofVerdict.LATER or news:
                _log(connection, before, proof.result.sop_instance_uid, decision, proof.owner, now)
            if decision.verdict in _TAKES_BACK:
                _take_back(connection, job, proof, now)
            else:
                settle_proofs(connection, job.id, at=now, actor=proof.owner)


def _is_held(proof: Proof) -> ColumnElement[bool]:
    return and_(
        deliveries.c.id == proof.delivery_id,
        deliveries.c.lease_owner == proof.owner,
        deliveries.c.proof_tries == proof.tries,
        awaits_proof(),
    )


def _place(proof: Proof) -> tuple[int, int]:
    return proof.exam_id, proof.delivery_id


def _held(connection: Connection, proof: Proof) -> AnyRow:
    row = connection.execute(
        select(deliveries).where(_is_held(proof)).with_for_update(key_share=True)
    ).one_or_none()
    if row is not None:
        return row
    known = connection.execute(
        select(deliveries.c.id).where(deliveries.c.id == proof.delivery_id)
    ).one_or_none()
    if known is None:
        raise NotFound(f"there is no delivery {proof.delivery_id}")
    raise LeaseLost(f"{proof.owner} no longer holds the proof of delivery {proof.delivery_id}")


def _exams_of(connection: Connection, commitment_id: int) -> Sequence[int]:
    return (
        connection.execute(
            select(deliveries.c.job_id)
            .distinct()
            .join(commitment_items, commitment_items.c.delivery_id == deliveries.c.id)
            .where(commitment_items.c.commitment_id == commitment_id)
            .order_by(deliveries.c.job_id)
        )
        .scalars()
        .all()
    )


def _waiting(connection: Connection, asked: AnyRow) -> Sequence[AnyRow]:
    """What the transaction named, if it still waits and was not delivered again since."""
    return connection.execute(
        select(deliveries, results.c.sop_instance_uid)
        .join(commitment_items, commitment_items.c.delivery_id == deliveries.c.id)
        .join(results, results.c.id == deliveries.c.result_id)
        .where(
            commitment_items.c.commitment_id == asked.id,
            awaits_proof(),
        )
        .order_by(deliveries.c.job_id, deliveries.c.id)
        .with_for_update(key_share=True, of=deliveries)
    ).all()


def _take_report(
    connection: Connection, row: AnyRow, report: CommitmentReport, by: str, now: datetime
) -> None:
    uid = row.sop_instance_uid
    current = row.transaction_uid == report.transaction_uid
    reason = report.failed.get(uid)
    if reason is not None and current:
        text = f"{by} reports 0x{reason:04X}"
        if reason in FAILURE_REASONS:
            text += f" ({FAILURE_REASONS[reason]})"
        values: dict[str, object] = {
            "proof": ProofState.REFUSED,
            "proof_text": text,
            "proof_due_at": now,
        }
    elif reason is None and uid in report.committed:
        decision = ProofDecision(ProofVerdict.COMMITTED, f"{by} commits to it")
        values = _values(row, decision, now)
        _log(connection, row, uid, decision, by, now)
    else:
        return
    # Whoever holds it at this moment only waits for this.
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id)
        .values(lease_owner=None, lease_until=None, **values)
    )


def _values(before: AnyRow, decision: ProofDecision, now: datetime) -> dict[str, object]:
    match decision.verdict:
        case ProofVerdict.AWAIT:
            return {"proof_due_at": decision.at, "proof_text": decision.text}
        case ProofVerdict.LATER:
            return {"proof_due_at": decision.at, "proof_text": decision.text}
        case ProofVerdict.DELIVER_AGAIN:
            return {
                **FRESH,
                "status": DeliveryStatus.PENDING,
                "due_at": decision.at,
                "tries": 0,
                "first_try_at": None,
                "proof_failures": before.proof_failures + 1,
                "error_code": Unproved.code,
                "error_text": decision.text,
            }
        case ProofVerdict.FAIL:
            return {
                **FRESH,
                "status": DeliveryStatus.FAILED,
                "error_code": Unproved.code,
                "error_text": decision.text,
            }
    state = _ENDED[decision.verdict]
    proved = state if state in (ProofState.COMMITTED, ProofState.VERIFIED) else None
    return {
        "proof": state,
        "proof_text": decision.text,
        "proof_due_at": None,
        "proved_at": None if proved is None else now,
    }


def _take_back(connection: Connection, job: AnyRow, proof: Proof, now: datetime) -> None:
    """An exam one of whose objects is not there after all is not delivered."""
    # What was asked before the next delivery says nothing about it.
    connection.execute(
        delete(commitment_items).where(commitment_items.c.delivery_id == proof.delivery_id)
    )
    if job.status == ExamStatus.DELIVERED:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id)
            .values(status=ExamStatus.REPORTED, finished_at=None)
        )
        log_event(
            connection,
            job_id=job.id,
            at=now,
            kind=ExamStatus.REPORTED,
            text=f"The exam is not delivered after all: {proof.destination} does not prove it.",
            actor=proof.owner,
        )
    settle(
        connection,
        job_row(connection, job.id),
        at=now,
        why=f"the last delivery, to {proof.destination}, has ended",
        actor=proof.owner,
    )


def _log(
    connection: Connection,
    row: AnyRow,
    uid: str,
    decision: ProofDecision,
    actor: str,
    now: datetime,
) -> None:
    happened = {
        ProofVerdict.COMMITTED: "is committed to",
        ProofVerdict.VERIFIED: "was found to be held",
        ProofVerdict.UNPROVABLE: "cannot be proved to be held",
        ProofVerdict.GIVE_UP: "needs no proof any more",
        ProofVerdict.AWAIT: "is to be committed to",
        ProofVerdict.LATER: "will be asked for again",
        ProofVerdict.DELIVER_AGAIN: "is not held and will be sent again",
        ProofVerdict.FAIL: "is not proved to be held",
    }[decision.verdict]
    log_event(
        connection,
        job_id=row.job_id,
        subject_uid=uid,
        at=now,
        kind=_KIND[decision.verdict],
        code=Unproved.code if decision.verdict in _TAKES_BACK else None,
        text=f"Result object {uid} {happened} at {row.destination}: {decision.text}.",
        actor=actor,
    )
