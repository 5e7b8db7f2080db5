"""The exam store for commitment to senders: who asked, what is held, and whether they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.commitment import (
    CommitmentItem,
    CommitmentRequest,
    KeptImage,
    NewRequest,
    RequestStatus,
)
from cadnode.core.errors import DatabaseUnavailable, LeaseLost
from cadnode.core.jobs import ExamStatus
from cadnode.core.proof import CommitmentReport
from cadnode.storage.claiming import claim_rows, is_due
from cadnode.storage.database import StorePart
from cadnode.storage.rows import AnyRow, lease_is_over, log_event
from cadnode.storage.tables import commitment_requests as requests
from cadnode.storage.tables import images, jobs

_MOST_NAMED = 500
"""Values in one IN (...): databases have limits."""


class Committing(StorePart):
    """The part of the exam store for what senders ask this node to commit to."""

    def accept_request(
        self, request: NewRequest, *, owner: str, now: datetime, lease: timedelta
    ) -> CommitmentRequest:
        """See CommitmentStore.accept_request."""
        same = and_(
            requests.c.calling_ae == request.calling_ae,
            requests.c.transaction_uid == request.transaction_uid,
        )
        values: dict[str, object] = {
            "calling_host": request.calling_host,
            "items": [[item.sop_class_uid, item.sop_instance_uid] for item in request.items],
            "status": RequestStatus.OPEN,
            "requested_at": now,
            "due_at": now,
            "lease_owner": owner,
            "lease_until": now + lease,
            "answered_at": None,
            "committed": None,
            "failed": None,
            "error_text": None,
        }
        try:
            with self._database.write() as connection:
                known = connection.execute(
                    select(requests.c.id).where(same).with_for_update(key_share=True)
                ).one_or_none()
                if known is None:
                    row = connection.execute(
                        insert(requests)
                        .values(
                            calling_ae=request.calling_ae,
                            transaction_uid=request.transaction_uid,
                            tries=1,
                            **values,
                        )
                        .returning(requests)
                    ).one()
                else:
                    row = connection.execute(
                        update(requests)
                        .where(requests.c.id == known.id)
                        .values(tries=requests.c.tries + 1, **values)
                        .returning(requests)
                    ).one()
        except IntegrityError as error:
            raise DatabaseUnavailable(
                f"transaction {request.transaction_uid} came twice at one moment"
            ) from error
        return _request(row)

    def claim_request(
        self, owner: str, *, now: datetime, lease: timedelta
    ) -> CommitmentRequest | None:
        """See CommitmentStore.claim_request."""
        due = and_(
            requests.c.status == RequestStatus.OPEN,
            requests.c.due_at <= now,
            lease_is_over(requests.c.lease_owner, requests.c.lease_until, now),
        )
        if not is_due(self._database, requests, due):
            return None
        with self._database.write() as connection:
            rows = claim_rows(
                connection,
                requests,
                due,
                order=[requests.c.due_at],
                limit=1,
                values={
                    "lease_owner": owner,
                    "lease_until": now + lease,
                    "tries": requests.c.tries + 1,
                },
            )
        return _request(rows[0]) if rows else None

    def kept_images(self, sop_instance_uids: Sequence[str]) -> Mapping[str, KeptImage]:
        """See CommitmentStore.kept_images."""
        kept: dict[str, KeptImage] = {}
        with self._database.read() as connection:
            for begin in range(0, len(sop_instance_uids), _MOST_NAMED):
                named = sop_instance_uids[begin : begin + _MOST_NAMED]
                for row in connection.execute(
                    select(images)
                    .join(jobs, jobs.c.id == images.c.job_id)
                    .where(
                        images.c.sop_instance_uid.in_(named),
                        jobs.c.status != ExamStatus.PURGED,
                    )
                ):
                    kept[row.sop_instance_uid] = KeptImage(
                        row.sop_instance_uid, row.sop_class_uid, row.path, row.size
                    )
        return kept

    def release_request(
        self, request: CommitmentRequest, *, due_at: datetime, text: str, now: datetime
    ) -> None:
        """See CommitmentStore.release_request."""
        with self._database.write() as connection:
            _change_held(connection, request, {"due_at": due_at, "error_text": text})

    def end_request(
        self,
        request: CommitmentRequest,
        status: RequestStatus,
        *,
        report: CommitmentReport | None = None,
        text: str = "",
        now: datetime,
    ) -> None:
        """See CommitmentStore.end_request."""
        with self._database.write() as connection:
            values: dict[str, object] = {"status": status, "error_text": text or None}
            if report is not None:
                values |= {
                    "answered_at": now,
                    "committed": len(report.committed),
                    "failed": len(report.failed),
                }
            _change_held(connection, request, values)
            if report is not None:
                _log_committed(connection, request, report, now)


def _change_held(
    connection: Connection, request: CommitmentRequest, values: dict[str, object]
) -> None:
    changed = connection.execute(
        update(requests)
        .where(
            requests.c.id == request.id,
            requests.c.lease_owner == request.owner,
            requests.c.tries == request.tries,
            requests.c.status == RequestStatus.OPEN,
        )
        .values(lease_owner=None, lease_until=None, **values)
    )
    if not changed.rowcount:
        raise LeaseLost(f"{request.owner} no longer holds commitment request {request.id}")


def _log_committed(
    connection: Connection, request: CommitmentRequest, report: CommitmentReport, now: datetime
) -> None:
    """Part of the history of each image: its sender may delete it from now on."""
    for begin in range(0, len(report.committed), _MOST_NAMED):
        named = report.committed[begin : begin + _MOST_NAMED]
        for row in connection.execute(
            select(images.c.job_id, images.c.sop_instance_uid)
            .where(images.c.sop_instance_uid.in_(named))
            .order_by(images.c.id)
        ).all():
            log_event(
                connection,
                job_id=row.job_id,
                subject_uid=row.sop_instance_uid,
                at=now,
                kind="image-committed",
                text=f"This node has committed to image {row.sop_instance_uid} towards "
                f"{request.calling_ae}.",
                actor=request.owner,
            )


def _request(row: AnyRow) -> CommitmentRequest:
    return CommitmentRequest(
        id=row.id,
        transaction_uid=row.transaction_uid,
        calling_ae=row.calling_ae,
        calling_host=row.calling_host,
        items=tuple(CommitmentItem(sop_class, uid) for sop_class, uid in row.items),
        owner=row.lease_owner,
        tries=row.tries,
        requested_at=row.requested_at,
    )
