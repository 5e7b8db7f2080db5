"""A job database with as many exams as a busy site has in ten years, made in SQLite itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cadnode.storage.database import upgrade

BEGIN = datetime(2016, 3, 1, 8, 0, tzinfo=UTC)
PLACEHOLDER = "UNKNOWN"
PATIENT_EVERY = 3
"""Exams of one patient, spread over the ten years."""

_CHUNK = 50_000

# Without any pattern between the columns: Knuth's multiplicative hash of the number.
_HASH = "(n * 2654435761 % 4294967296)"

_STATUS = f"""CASE
    WHEN n > {{total}} - 12 THEN 'receiving'
    WHEN n > {{total}} - 40 THEN 'reported'
    WHEN n % 5003 = 17 THEN 'failed'
    WHEN n > {{total}} - {{total}} / 40 THEN 'committed'
    WHEN {_HASH} % 100 < 2 THEN 'skipped'
    WHEN {_HASH} % 1000 < 25 THEN 'superseded'
    WHEN {_HASH} % 1000 < 26 THEN 'cancelled'
    ELSE 'purged' END"""

_SENDER = f"""CASE
    WHEN n BETWEEN 100 AND 120 THEN 'OLDUNIT'
    WHEN {_HASH} / 7 % 100 < 50 THEN 'MG1'
    WHEN {_HASH} / 7 % 100 < 80 THEN 'MG2'
    WHEN {_HASH} / 7 % 100 < 95 THEN 'MG3'
    ELSE 'VAN' END"""

_AT = "strftime('%Y-%m-%d %H:%M:%S', {begin} + n * {step}, 'unixepoch') || '.000000'"


def make(folder: Path, exams: int) -> str:
    """The URL of a database with `exams` exams, each with four images, a finding or none, a
    result, a delivery and eight events."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "many.db"
    upgrade(f"sqlite:///{file}")
    step = int(timedelta(days=3650).total_seconds() / exams)
    names = {
        "total": exams,
        "patients": max(1, exams // PATIENT_EVERY),
        "at": _AT.format(begin=int(BEGIN.timestamp()), step=step),
        "placeholder": PLACEHOLDER,
        "hash": _HASH,
        "sender": _SENDER,
        "status": _STATUS.format(total=exams),
    }
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA foreign_keys = OFF")
        for first in range(1, exams + 1, _CHUNK):
            last = min(first + _CHUNK - 1, exams)
            numbers = (
                f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL"
                f" SELECT n + 1 FROM numbers WHERE n < {last}) "
            )
            connection.execute("BEGIN")
            for statement in _STATEMENTS:
                connection.execute(numbers + statement.format(**names))
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    return f"sqlite:///{file}"


_IMAGES = "JOIN (SELECT 1 AS v UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4)"
_EVENTS = f"{_IMAGES} JOIN (SELECT 0 AS w UNION ALL SELECT 4)"

_STATEMENTS = (
    """INSERT INTO jobs (id, study_instance_uid, revision, status, calling_ae, image_count,
        created_at, last_image_at, analyzed_at, finished_at, due_at, tries, error_code, error_text)
    SELECT n, '1.2.826.0.1.3680043.10.1234.1.' || n, 1, {status}, {sender}, 4, {at}, {at}, {at},
        {at}, {at}, 0, CASE WHEN n % 5003 = 17 THEN 'E602' END,
        CASE WHEN n % 5003 = 17 THEN 'delivery to pacs: the destination answered 0xA900' END
    FROM numbers""",
    """INSERT INTO exam_identifiers (job_id, exam_created_at, patient_id, accession_number, study_date)
    SELECT n, {at}, CASE
            WHEN {hash} % 20 = 3 THEN '{placeholder}'
            WHEN {hash} % 20 < 12 THEN printf('P%07d', n % {patients})
            ELSE printf('MRN%08d', {hash} % 100000000) END,
        printf('A%08d', n - (n % 50 = 1)), substr({at}, 1, 10)
    FROM numbers""",
    f"""INSERT INTO images (id, job_id, sop_instance_uid, sop_class_uid, series_instance_uid,
        transfer_syntax_uid, path, size, sha256, calling_ae, received_at, state, tries, detail,
        laterality, view, intent, source_uids, rows, columns, model, analyzed_at)
    SELECT n * 4 + v, n, '1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v,
        '1.2.840.10008.5.1.4.1.1.1.2', '1.2.826.0.1.3680043.10.1234.2.' || n,
        '1.2.840.10008.1.2.4.70', 'images/' || n || '/' || v || '.dcm', 20000000,
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', {{sender}}, {{at}},
        'analyzed', 1, '', CASE WHEN v % 2 THEN 'R' ELSE 'L' END,
        CASE WHEN v > 2 THEN 'MLO' ELSE 'CC' END, 'PRESENTATION', '[]', 4096, 3328, 'cut 1.2.0',
        {{at}}
    FROM numbers {_IMAGES}""",
    """INSERT INTO findings (image_id, score, center_column, center_row, outline, area_mm2,
        operating_point, calcifications)
    SELECT n * 4 + 1, 0.9, 1000, 1000, '[[1, 1], [2, 2], [3, 3], [1, 1]]', 20, 2, '[]'
    FROM numbers WHERE n % 3 = 0""",
    """INSERT INTO results (id, job_id, kind, sop_class_uid, sop_instance_uid, series_instance_uid,
        path, sha256, size, created_at)
    SELECT n, n, 'mammography-cad-sr', '1.2.840.10008.5.1.4.1.1.88.50',
        '1.2.826.0.1.3680043.10.1234.5.' || n, '1.2.826.0.1.3680043.10.1234.4.' || n,
        'results/' || n || '.dcm',
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 20000, {at}
    FROM numbers""",
    """INSERT INTO deliveries (job_id, result_id, destination, status, due_at, tries, attempts,
        first_try_at, delivered_at, error_code)
    SELECT n, n, 'pacs', CASE WHEN n % 5003 = 17 THEN 'failed' WHEN n > {total} - 40 THEN 'pending'
        ELSE 'delivered' END, {at}, 1, 1, {at}, {at}, CASE WHEN n % 5003 = 17 THEN 'E602' END
    FROM numbers""",
    f"""INSERT INTO events (job_id, subject_uid, at, kind, text, actor)
    SELECT n, CASE WHEN w THEN '1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v END, {{at}},
        CASE WHEN w THEN 'image-analyzed' ELSE 'reported' END,
        'Image 1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v || ' was analyzed.', 'node:1:abcd'
    FROM numbers {_EVENTS}""",
)
