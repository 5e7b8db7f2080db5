"""Rows to values and back, and the few statements that every part of the exam store shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, literal_column, or_, select

from cadnode.core.errors import IllegalMove, LeaseLost, NotFound
from cadnode.core.exam import ExamImage, ImageState
from cadnode.core.findings import Calcification, Finding
from cadnode.core.jobs import MOVES, Exam, ExamStatus, StoredResult
from cadnode.core.mammogram import Intent, Laterality
from cadnode.core.reasons import Reason
from cadnode.storage.tables import deliveries, events, findings, images, jobs

AnyRow = Row[Any]


def log_event(
    connection: Connection,
    *,
    job_id: int | None,
    at: datetime,
    kind: str,
    text: str,
    actor: str,
    subject_uid: str | None = None,
    code: str | None = None,
) -> None:
    """Add one row to the history; `text` is one plain sentence without patient data.

    No `job_id` for what is about no exam.
    """
    connection.execute(
        insert(events).values(
            job_id=job_id,
            subject_uid=subject_uid,
            at=at,
            kind=kind,
            code=code,
            text=text,
            actor=actor,
        )
    )


def lease_is_over(
    owner: ColumnElement[str | None], until: ColumnElement[datetime | None], now: datetime
) -> ColumnElement[bool]:
    """True where nobody holds the row at `now`; a lease does not include its last moment."""
    return or_(owner.is_(None), until <= now)


def job_row(connection: Connection, exam_id: int) -> AnyRow:
    """The row of an exam, locked until the transaction ends. Raises NotFound."""
    row = connection.execute(
        select(jobs).where(jobs.c.id == exam_id).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no exam {exam_id}")
    return row


def held_row(connection: Connection, exam: Exam) -> AnyRow:
    """The row of an exam that its claimer still holds, locked.

    The count of tries tells two claims by one owner apart. A lease that is over but that nobody
    has taken yet still counts. Raises LeaseLost, NotFound.
    """
    row = job_row(connection, exam.id)
    if (row.lease_owner, row.tries, row.status) != (exam.owner, exam.tries, exam.status):
        raise LeaseLost(f"{exam.owner} no longer holds exam {exam.id}")
    return row


def check_move(exam_id: int, status: ExamStatus, to: ExamStatus) -> None:
    """Raise IllegalMove when the table of moves does not have this one."""
    if to not in MOVES[status]:
        raise IllegalMove(f"exam {exam_id} is {status} and cannot become {to}")


def study_images(
    connection: Connection, study_instance_uid: str, revision: int
) -> tuple[ExamImage, ...]:
    """The images of a study up to a revision, with findings, in order of arrival.

    Those of purged revisions are left out: their files are gone.
    """
    rows = connection.execute(
        select(images, jobs.c.revision)
        .join(jobs, jobs.c.id == images.c.job_id)
        .where(
            jobs.c.study_instance_uid == study_instance_uid,
            jobs.c.revision <= revision,
            jobs.c.status != ExamStatus.PURGED,
        )
        .order_by(images.c.id)
    ).all()
    found = findings_of(connection, [row.id for row in rows])
    return tuple(exam_image(row, found[row.id]) for row in rows)


def findings_of(
    connection: Connection, image_ids: Sequence[int]
) -> Mapping[int, tuple[Finding, ...]]:
    """The findings of some images, by image id; an empty tuple where there are none."""
    found: dict[int, tuple[Finding, ...]] = defaultdict(tuple)
    statement = select(findings).where(findings.c.image_id.in_(image_ids)).order_by(findings.c.id)
    for row in connection.execute(statement):
        found[row.image_id] += (_finding(row),)
    return found


def finding_values(image_id: int, items: Iterable[Finding]) -> list[dict[str, object]]:
    """The rows for findings of one image."""
    return [
        {
            "image_id": image_id,
            "score": item.score,
            "center_column": item.center[0],
            "center_row": item.center[1],
            "outline": [list(point) for point in item.outline],
            "area_mm2": item.area_mm2,
            "operating_point": item.operating_point,
            "calcifications": [
                {"center": list(c.center), "diameter_mm": c.diameter_mm, "contrast": c.contrast}
                for c in item.calcifications
            ],
        }
        for item in items
    ]


def stored_result(row: AnyRow) -> StoredResult:
    """The result object of a row of `results`."""
    return StoredResult(
        kind=row.kind,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        path=row.path,
        sha256=row.sha256,
        size=row.size,
    )


# Written out: an index of some rows is used for a value that the database knows when it plans.
IS_PENDING = deliveries.c.status == literal_column("'pending'")
IS_KEPT = jobs.c.status != literal_column("'purged'")


def free_delivery(now: datetime) -> ColumnElement[bool]:
    """True for deliveries that wait and that nobody holds."""
    return and_(
        IS_PENDING,
        lease_is_over(deliveries.c.lease_owner, deliveries.c.lease_until, now),
    )


def exam_image(row: AnyRow, found: tuple[Finding, ...]) -> ExamImage:
    """The image of a row of `images` with the revision of its exam."""
    return ExamImage(
        id=row.id,
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        series_instance_uid=row.series_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        path=row.path,
        size=row.size,
        sha256=row.sha256,
        revision=row.revision,
        received_at=row.received_at,
        calling_ae=row.calling_ae,
        state=ImageState(row.state),
        tries=row.tries,
        reason=None if row.reason is None else Reason.of(row.reason),
        detail=row.detail,
        laterality=None if row.laterality is None else Laterality(row.laterality),
        view=row.view,
        intent=None if row.intent is None else Intent(row.intent),
        source_uids=tuple(row.source_uids),
        rows=row.rows,
        columns=row.columns,
        model=row.model,
        analyzed_at=row.analyzed_at,
        findings=found,
        returned=row.returned,
    )


def _finding(row: AnyRow) -> Finding:
    return Finding(
        score=row.score,
        center=(row.center_column, row.center_row),
        outline=tuple((x, y) for x, y in row.outline),
        area_mm2=row.area_mm2,
        operating_point=row.operating_point,
        calcifications=tuple(
            Calcification(
                center=(c["center"][0], c["center"][1]),
                diameter_mm=c["diameter_mm"],
                contrast=c["contrast"],
            )
            for c in row.calcifications
        ),
    )
