"""What fetching asks the job database: what is known already, and whose turn a pull is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from cadnode.core.errors import LeaseLost
from cadnode.core.jobs import ExamStatus
from cadnode.core.node_status import PullRecord
from cadnode.storage.database import StorePart
from cadnode.storage.rows import lease_is_over, log_event
from cadnode.storage.tables import images, jobs, pulls

_AT_ONCE = 500


class FetchRecords(StorePart):
    """The part of the job database for fetching. Every call may raise DatabaseUnavailable."""

    def known(self, sop_instance_uids: Sequence[str], *, purged: bool) -> set[str]:
        """Those of the images that the node holds; with `purged`, those it has held too."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(sop_instance_uids), _AT_ONCE):
                statement = (
                    select(images.c.sop_instance_uid)
                    .join(jobs, jobs.c.id == images.c.job_id)
                    .where(images.c.sop_instance_uid.in_(sop_instance_uids[start:][:_AT_ONCE]))
                )
                if not purged:
                    statement = statement.where(jobs.c.status != ExamStatus.PURGED)
                found.update(connection.execute(statement).scalars())
        return found

    def note(
        self, study_instance_uid: str, source: str, images_fetched: int, *, now: datetime
    ) -> None:
        """Write into the history of the study's newest exam where its images came from."""
        newest = (
            select(jobs.c.id)
            .where(jobs.c.study_instance_uid == study_instance_uid)
            .order_by(jobs.c.revision.desc())
            .limit(1)
        )
        with self._database.write() as connection:
            exam_id = connection.execute(newest).scalar_one_or_none()
            if exam_id is None:
                return
            what = "1 image was" if images_fetched == 1 else f"{images_fetched} images were"
            log_event(
                connection,
                job_id=exam_id,
                at=now,
                kind="fetched",
                text=f"{what} fetched from {source}.",
                actor="fetch",
            )

    def claim_pull(
        self, name: str, owner: str, *, now: datetime, lease: timedelta, every: timedelta
    ) -> bool:
        """Take this turn of a pull, if one is due and nobody has it; the next is due `every`
        from now, whatever becomes of this one."""
        with self._database.read() as connection:
            there = connection.execute(
                select(pulls.c.name).where(pulls.c.name == name)
            ).scalar_one_or_none()
        if there is None:
            try:
                with self._database.write() as connection:
                    connection.execute(insert(pulls).values(name=name, due_at=now))
            except IntegrityError:
                # Another process made the row at this moment.
                return False
        with self._database.write() as connection:
            claimed = connection.execute(
                update(pulls)
                .where(
                    pulls.c.name == name,
                    # Beyond its horizon: the clock was set back.
                    or_(pulls.c.due_at <= now, pulls.c.due_at > now + every),
                    lease_is_over(pulls.c.lease_owner, pulls.c.lease_until, now),
                )
                .values(lease_owner=owner, lease_until=now + lease, due_at=now + every)
            )
            return bool(claimed.rowcount)

    def renew_pull(self, name: str, owner: str, *, now: datetime, lease: timedelta) -> None:
        """Hold the pull for another `lease` from now. Raises LeaseLost."""
        with self._database.write() as connection:
            renewed = connection.execute(
                update(pulls)
                .where(pulls.c.name == name, pulls.c.lease_owner == owner)
                .values(lease_until=now + lease)
            )
            if not renewed.rowcount:
                raise LeaseLost(f"another process has taken over the pull {name}")

    def note_pull(self, name: str, *, fetched: int, failed: int, error: str, now: datetime) -> None:
        """Write down how a turn of a pull ended; `error` says what broke it off, if something did."""
        with self._database.write() as connection:
            connection.execute(
                update(pulls)
                .where(pulls.c.name == name)
                .values(ended_at=now, fetched=fetched, failed=failed, error_text=error)
            )

    def release_pull(self, name: str, owner: str) -> None:
        """This turn is over."""
        with self._database.write() as connection:
            connection.execute(
                update(pulls)
                .where(pulls.c.name == name, pulls.c.lease_owner == owner)
                .values(lease_owner=None, lease_until=None)
            )

    def pulls(self) -> Sequence[PullRecord]:
        """How every pull stands that was ever begun."""
        with self._database.read() as connection:
            return [
                PullRecord(
                    name=row.name,
                    due_at=row.due_at,
                    running_until=row.lease_until if row.lease_owner else None,
                    ended_at=row.ended_at,
                    fetched=row.fetched,
                    failed=row.failed,
                    error=row.error_text or "",
                )
                for row in connection.execute(select(pulls).order_by(pulls.c.name))
            ]
