"""The table of what exams are looked for by: how it fills, and how it is emptied."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from cadnode.core.identifiers import ExamIdentifiers
from cadnode.storage.database import Database
from cadnode.storage.dialect import erase_what_is_deleted
from cadnode.storage.tables import exam_identifiers

_COLUMNS = ("patient_id", "accession_number", "study_date")


def note_identifiers(
    connection: Connection,
    exam_id: int,
    created_at: datetime,
    found: ExamIdentifiers,
    *,
    instead: bool = False,
) -> None:
    """Add what an image says to what is known of its exam; what is known stays, unless the image
    says it `instead`."""
    values = {
        name: getattr(found, name) for name in _COLUMNS if getattr(found, name) not in (None, "")
    }
    if not values:
        return
    known = connection.execute(
        select(exam_identifiers).where(exam_identifiers.c.job_id == exam_id)
    ).one_or_none()
    if known is None:
        row = {"job_id": exam_id, "exam_created_at": created_at, **values}
        connection.execute(insert(exam_identifiers).values(row))
        return
    new = {name: value for name, value in values.items() if instead or getattr(known, name) is None}
    if new:
        connection.execute(
            update(exam_identifiers).where(exam_identifiers.c.job_id == exam_id).values(new)
        )


def identifiers_of(connection: Connection, exam_id: int) -> ExamIdentifiers:
    """What is known of an exam."""
    row = connection.execute(
        select(exam_identifiers).where(exam_identifiers.c.job_id == exam_id)
    ).one_or_none()
    return ExamIdentifiers(*(getattr(row, name, None) for name in _COLUMNS))


def forget_identifiers(database: Database) -> int:
    """Empty the table, of a site that keeps none any more; returns how many exams it knew.

    Of a SQLite database the bytes are gone too; in a backup made before they are not.
    """
    with database.read() as connection:
        if connection.execute(select(exam_identifiers.c.job_id).limit(1)).first() is None:
            return 0
    with database.write() as connection:
        erase_what_is_deleted(connection)
        forgotten = connection.execute(delete(exam_identifiers)).rowcount
    database.empty_the_log()
    return forgotten
