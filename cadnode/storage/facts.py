"""The rows that `cadnode fsck` compares with each other and with the files, as plain values."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from cadnode.core.breaker import LineState
from cadnode.core.consistency import (
    DeliveryFacts,
    Discrepancy,
    ExamFacts,
    ImageFacts,
    Kind,
    NodeFacts,
    ReplacedFacts,
    ResultFacts,
)
from cadnode.storage.tables import (
    deliveries,
    destination_states,
    events,
    images,
    jobs,
    replaced_images,
    results,
)


def node_facts(connection: Connection) -> NodeFacts:
    """Everything as it is at one moment; `connection` is a reading transaction."""
    return NodeFacts(
        exams={row.id: ExamFacts(**row._mapping) for row in connection.execute(_EXAMS)},
        images=[ImageFacts(**row._mapping) for row in connection.execute(_IMAGES)],
        results=[ResultFacts(**row._mapping) for row in connection.execute(_RESULTS)],
        deliveries=[DeliveryFacts(**row._mapping) for row in connection.execute(_DELIVERIES)],
        replaced=[ReplacedFacts(**row._mapping) for row in connection.execute(_REPLACED)],
        acknowledged=frozenset(
            uid for uid in connection.execute(_ACKNOWLEDGED).scalars() if uid is not None
        ),
        silent=frozenset(connection.execute(_SILENT).scalars()),
    )


def damage(connection: Connection) -> Iterator[Discrepancy]:
    """What SQLite itself finds wrong; nothing on PostgreSQL, which checks its pages as it reads."""
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if line != "ok":
            yield Discrepancy(Kind.DATABASE_DAMAGED, "database", str(line))
    for table, number, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Discrepancy(Kind.REFERENCE_BROKEN, f"{table} {number}", f"no such row in {parent}")


_EXAMS = select(
    jobs.c.id,
    jobs.c.study_instance_uid,
    jobs.c.revision,
    jobs.c.status,
    jobs.c.error_code,
    jobs.c.failed_from,
    jobs.c.finished_at,
    jobs.c.due_at,
    jobs.c.lease_until,
    jobs.c.superseded_by,
)
_IMAGES = select(
    images.c.job_id.label("exam_id"),
    images.c.sop_instance_uid,
    images.c.state,
    images.c.path,
    images.c.size,
    images.c.sha256,
).order_by(images.c.id)
_RESULTS = select(
    results.c.id,
    results.c.job_id.label("exam_id"),
    results.c.sop_instance_uid,
    results.c.path,
    results.c.size,
    results.c.sha256,
).order_by(results.c.id)
_REPLACED = select(
    replaced_images.c.job_id.label("exam_id"),
    replaced_images.c.sop_instance_uid,
    replaced_images.c.path,
    replaced_images.c.size,
    replaced_images.c.sha256,
).order_by(replaced_images.c.id)
_DELIVERIES = select(
    deliveries.c.id,
    deliveries.c.job_id.label("exam_id"),
    deliveries.c.result_id,
    deliveries.c.destination,
    deliveries.c.status,
    deliveries.c.due_at,
    deliveries.c.lease_until,
    deliveries.c.proof,
    deliveries.c.proof_due_at,
).order_by(deliveries.c.id)
_SILENT = select(destination_states.c.name).where(destination_states.c.state == LineState.OPEN)
_ACKNOWLEDGED = select(events.c.subject_uid).where(events.c.kind == "image-received").distinct()
