"""What an administrator asks the job database: which exams, what of one, what happened to a UID.

The answers are frozen dataclasses; `dataclasses.asdict` gives what JSON needs, but for times,
which are timezone-aware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from cadnode.core.errors import NotFound
from cadnode.core.exam import ImageState
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.proof import ProofState
from cadnode.core.reasons import Reason
from cadnode.core.records import (
    DeliveryRecord,
    EventRecord,
    ExamDetail,
    ExamSummary,
    ExplainLine,
    ImageRecord,
    ResultRecord,
)
from cadnode.storage.database import Database
from cadnode.storage.rows import AnyRow, findings_of
from cadnode.storage.tables import (
    deliveries,
    events,
    images,
    jobs,
    overview,
    replaced_images,
    results,
)


class ExamRecords:
    """The read side of the job database. Every call may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_exams(
        self, status: ExamStatus | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[ExamSummary]:
        """Exams, the newest first; only those in `status` when it is given."""
        statement = select(overview).order_by(overview.c.id.desc()).limit(limit).offset(offset)
        if status is not None:
            statement = statement.where(overview.c.status == status)
        with self._database.read() as connection:
            return [exam_summary(row) for row in connection.execute(statement)]

    def exam_detail(self, exam_id: int) -> ExamDetail:
        """Everything known of one exam. Raises NotFound."""
        with self._database.read() as connection:
            job = connection.execute(select(jobs).where(jobs.c.id == exam_id)).one_or_none()
            if job is None:
                raise NotFound(f"there is no exam {exam_id}")
            line = connection.execute(select(overview).where(overview.c.id == exam_id)).one()
            return ExamDetail(
                exam=exam_summary(line),
                calling_ae=job.calling_ae,
                due_at=job.due_at,
                lease_owner=job.lease_owner,
                lease_until=job.lease_until,
                tries=job.tries,
                analyzed_at=job.analyzed_at,
                finished_at=job.finished_at,
                failed_from=None if job.failed_from is None else ExamStatus(job.failed_from),
                superseded_by=job.superseded_by,
                priority=job.priority,
                images=_images(connection, images.c.job_id == exam_id),
                results=_results(connection, exam_id),
                deliveries=_deliveries(connection, deliveries.c.job_id == exam_id),
                events=_events(connection, events.c.job_id == exam_id),
            )

    def counts(self) -> Mapping[ExamStatus, int]:
        """How many exams there are in each status, zeros included."""
        statement = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(statement)}
        return {status: found.get(status, 0) for status in ExamStatus}

    def unknown_paths(self, paths: Sequence[str]) -> Sequence[str]:
        """Those of `paths` where no image, replaced image or result of an exam that is not purged
        lies."""
        known: set[str] = set()
        with self._database.read() as connection:
            for table in (images, replaced_images, results):
                statement = (
                    select(table.c.path)
                    .join(jobs, jobs.c.id == table.c.job_id)
                    .where(table.c.path.in_(paths), jobs.c.status != ExamStatus.PURGED)
                )
                known.update(connection.execute(statement).scalars())
        return [path for path in paths if path not in known]

    def explain(self, uid: str) -> Sequence[ExplainLine]:
        """What happened to a study, a series, an image or a result object, in order of time.

        The history of its exam is part of it; the last lines say where images and deliveries
        stand now. Raises NotFound for a UID this node has never seen.
        """
        with self._database.read() as connection:
            for ask in (_explain_study, _explain_image, _explain_result):
                lines = ask(connection, uid)
                if lines:
                    return lines
        raise NotFound(f"{uid} is not known here")


def _explain_study(connection: Connection, uid: str) -> Sequence[ExplainLine]:
    of_study = select(jobs.c.id).where(jobs.c.study_instance_uid == uid)
    return _history(
        _events(connection, events.c.job_id.in_(of_study)),
        _images(connection, images.c.job_id.in_(of_study)),
        _deliveries(connection, deliveries.c.job_id.in_(of_study)),
    )


def _explain_image(connection: Connection, uid: str) -> Sequence[ExplainLine]:
    """Of one image, or of the images of one series."""
    asked = or_(images.c.sop_instance_uid == uid, images.c.series_instance_uid == uid)
    exam = jobs.alias("exam")
    # Later revisions of the study speak of the image too.
    concerned = (
        select(jobs.c.id)
        .join(exam, exam.c.study_instance_uid == jobs.c.study_instance_uid)
        .join(images, images.c.job_id == exam.c.id)
        .where(asked, jobs.c.revision >= exam.c.revision)
    )
    return _history(
        _events_about(connection, concerned, select(images.c.sop_instance_uid).where(asked)),
        _images(connection, asked),
        (),
    )


def _explain_result(connection: Connection, uid: str) -> Sequence[ExplainLine]:
    """Of one result object, or of the result objects of one series."""
    asked = or_(results.c.sop_instance_uid == uid, results.c.series_instance_uid == uid)
    return _history(
        _events_about(
            connection,
            select(results.c.job_id).where(asked),
            select(results.c.sop_instance_uid).where(asked),
        ),
        (),
        _deliveries(connection, deliveries.c.result_id.in_(select(results.c.id).where(asked))),
    )


def _history(
    happened: Sequence[EventRecord],
    image_records: Sequence[ImageRecord],
    delivery_records: Sequence[DeliveryRecord],
) -> Sequence[ExplainLine]:
    if not happened:
        return ()
    now = chain(map(_image_now, image_records), map(_delivery_now, delivery_records))
    return (
        *(ExplainLine(event.at, _event_sentence(event)) for event in happened),
        *(ExplainLine(happened[-1].at, sentence) for sentence in now),
    )


def _event_sentence(event: EventRecord) -> str:
    exam = "" if event.exam_id is None else f"Exam {event.exam_id}: "
    return f"{exam}{event.text}" + (f" [{event.code}]" if event.code else "")


def _image_now(image: ImageRecord) -> str:
    why = f": {image.reason_text} [{image.reason_code}]" if image.reason_code else ""
    detail = f" ({image.detail})" if image.detail else ""
    count = f", findings: {len(image.findings)}" if image.state is ImageState.ANALYZED else ""
    known = image.laterality or image.view
    name = f" ({image.laterality or '?'}{image.view or '?'})" if known else ""
    state = "waiting to be read" if image.state is ImageState.RECEIVED else image.state
    return f"Now image {image.sop_instance_uid}{name} is {state}{count}{why}{detail}."


def _delivery_now(delivery: DeliveryRecord) -> str:
    said = f": {delivery.error_text} [{delivery.error_code}]" if delivery.error_text else ""
    if delivery.proof is not None:
        why = f" ({delivery.proof_text})" if delivery.proof_text else ""
        said += f"; proof: {delivery.proof}{why}"
    return (
        f"Now result object {delivery.sop_instance_uid} ({delivery.kind}) is {delivery.status} "
        f"at {delivery.destination}, tries: {delivery.tries}{said}."
    )


def exam_summary(row: AnyRow) -> ExamSummary:
    """The exam of a row that has the columns of `exam_overview`, and maybe others."""
    values = {column.name: getattr(row, column.name) for column in overview.c}
    return ExamSummary(**values | {"status": ExamStatus(row.status)})


def _images(connection: Connection, condition: ColumnElement[bool]) -> tuple[ImageRecord, ...]:
    rows = connection.execute(select(images).where(condition).order_by(images.c.id)).all()
    found = findings_of(connection, [row.id for row in rows])
    return tuple(
        ImageRecord(
            id=row.id,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            series_instance_uid=row.series_instance_uid,
            transfer_syntax_uid=row.transfer_syntax_uid,
            path=row.path,
            size=row.size,
            calling_ae=row.calling_ae,
            received_at=row.received_at,
            state=ImageState(row.state),
            tries=row.tries,
            reason_code=row.reason,
            reason_text=None if row.reason is None else Reason.of(row.reason).text,
            detail=row.detail,
            laterality=row.laterality,
            view=row.view,
            intent=row.intent,
            rows=row.rows,
            columns=row.columns,
            model=row.model,
            analyzed_at=row.analyzed_at,
            findings=found[row.id],
        )
        for row in rows
    )


def _results(connection: Connection, exam_id: int) -> tuple[ResultRecord, ...]:
    statement = select(results).where(results.c.job_id == exam_id).order_by(results.c.id)
    return tuple(
        ResultRecord(
            id=row.id,
            kind=row.kind,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            series_instance_uid=row.series_instance_uid,
            path=row.path,
            size=row.size,
            sha256=row.sha256,
            created_at=row.created_at,
        )
        for row in connection.execute(statement)
    )


def _deliveries(
    connection: Connection, condition: ColumnElement[bool]
) -> tuple[DeliveryRecord, ...]:
    statement = (
        select(deliveries, results.c.sop_instance_uid, results.c.kind)
        .join(results, results.c.id == deliveries.c.result_id)
        .where(condition)
        .order_by(deliveries.c.id)
    )
    return tuple(
        DeliveryRecord(
            id=row.id,
            sop_instance_uid=row.sop_instance_uid,
            kind=row.kind,
            destination=row.destination,
            status=DeliveryStatus(row.status),
            tries=row.tries,
            due_at=row.due_at,
            first_try_at=row.first_try_at,
            delivered_at=row.delivered_at,
            dicom_status=row.dicom_status,
            error_code=row.error_code,
            error_text=row.error_text,
            proof=None if row.proof is None else ProofState(row.proof),
            proof_text=row.proof_text,
            proved_at=row.proved_at,
        )
        for row in connection.execute(statement)
    )


def _events(connection: Connection, condition: ColumnElement[bool]) -> tuple[EventRecord, ...]:
    # Two processes may write a moment apart in another order than their clocks say.
    statement = select(events).where(condition).order_by(events.c.at, events.c.id)
    return tuple(
        EventRecord(
            exam_id=row.job_id,
            at=row.at,
            kind=row.kind,
            code=row.code,
            text=row.text,
            actor=row.actor,
            subject_uid=row.subject_uid,
        )
        for row in connection.execute(statement)
    )


def _events_about(
    connection: Connection, exam_ids: Select[tuple[int]], subjects: Select[tuple[str]]
) -> tuple[EventRecord, ...]:
    return _events(
        connection,
        # What happened to the image itself counts in any revision: it may have come back.
        or_(
            events.c.subject_uid.in_(subjects),
            events.c.job_id.in_(exam_ids) & events.c.subject_uid.is_(None),
        ),
    )
