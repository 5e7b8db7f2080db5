"""A job database with as many exams as a busy site has in ten years, made in the database itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from cadnode.storage.database import upgrade

BEGIN = datetime(2016, 3, 1, 8, 0, tzinfo=UTC)
PLACEHOLDER = "UNKNOWN"
PATIENT_EVERY = 3
"""Exams of one patient, spread over the ten years."""

_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What the two engines say differently."""

    numbers: str
    """A table `numbers` of one column `n`, from {first} to {last}."""
    at: str
    """The time `begin + n * step`."""
    day: str
    """The day of it, as the column of dates keeps it."""
    digits: str
    """`{number}` with leading zeros, so many `{digits}`."""
    nothing: str
    """An empty list."""
    outline: str


_SQLITE = _Dialect(
    numbers="WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL"
    " SELECT n + 1 FROM numbers WHERE n < {last}) ",
    at="strftime('%Y-%m-%d %H:%M:%S', {begin} + n * {step}, 'unixepoch') || '.000000'",
    day="substr({at}, 1, 10)",
    digits="substr('000000000' || ({number}), -{digits})",
    nothing="'[]'",
    outline="'[[1, 1], [2, 2], [3, 3], [1, 1]]'",
)

_POSTGRESQL = _Dialect(
    numbers="WITH numbers(n) AS (SELECT generate_series(CAST({first} AS BIGINT), {last})) ",
    at="to_timestamp({begin} + n * {step})",
    day="CAST({at} AT TIME ZONE 'UTC' AS DATE)",
    digits="right('000000000' || ({number}), {digits})",
    nothing="CAST('[]' AS JSON)",
    outline="CAST('[[1, 1], [2, 2], [3, 3], [1, 1]]' AS JSON)",
)

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


def make(folder: Path, exams: int) -> str:
    """The URL of a SQLite database with `exams` exams, each with four images, a finding or none,
    a result, a delivery and eight events."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "many.db"
    upgrade(f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA foreign_keys = OFF")
        # Made at the end, an index is sorted once.
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for statements in _chunks(_SQLITE, exams):
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("PRAGMA journal_mode = WAL")
    return f"sqlite:///{file}"


def fill(url: str, exams: int) -> None:
    """The same into a PostgreSQL database that has the tables and nothing in them."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def run(*statements: str) -> None:
        with engine.connect() as connection:
            for setting in _FILLING:
                connection.exec_driver_sql(f"SET {setting}")
            for statement in statements:
                # The driver takes a percent sign for the place of a value.
                connection.exec_driver_sql(statement.replace("%", "%%"))

    with engine.connect() as connection:
        indexes = connection.execute(text(_POSTGRESQL_INDEXES)).all()
    run(*(f"DROP INDEX {row.name}" for row in indexes))
    tables = list(zip(*_chunks(_POSTGRESQL, exams), strict=True))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest tables first.
        list(pool.map(lambda statements: run(*statements), sorted(tables, key=_size)))
        list(pool.map(lambda row: run(row.definition), indexes))
    for table in ("jobs", "images", "results"):
        run(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
    # What the server does by itself within a minute.
    run("VACUUM ANALYZE")
    engine.dispose()


def _size(statements: Sequence[str]) -> int:
    """The fewer the larger the table that they fill."""
    return 0 if _EVENTS in statements[0] else 1 if _IMAGES in statements[0] else 2


_FILLING = (
    "session_replication_role = replica",
    "synchronous_commit = off",
    "maintenance_work_mem = '512MB'",
)

_POSTGRESQL_INDEXES = """SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)"""


def _chunks(dialect: _Dialect, exams: int) -> Iterator[list[str]]:
    step = int(timedelta(days=3650).total_seconds() / exams)
    at = dialect.at.format(begin=int(BEGIN.timestamp()), step=step)
    patients = max(1, exams // PATIENT_EVERY)

    def digits(number: str, count: int) -> str:
        return dialect.digits.format(number=number, digits=count)

    names = {
        "total": exams,
        "at": at,
        "day": dialect.day.format(at=at),
        "patient": digits(f"n % {patients}", 7),
        "mrn": digits(f"{_HASH} % 100000000", 8),
        "accession": digits("n - CASE n % 50 WHEN 1 THEN 1 ELSE 0 END", 8),
        "placeholder": PLACEHOLDER,
        "hash": _HASH,
        "sender": _SENDER,
        "status": _STATUS.format(total=exams),
        "nothing": dialect.nothing,
        "outline": dialect.outline,
    }
    for first in range(1, exams + 1, _CHUNK):
        numbers = dialect.numbers.format(first=first, last=min(first + _CHUNK - 1, exams))
        yield [numbers + statement.format(**names) for statement in _STATEMENTS]


_IMAGES = "CROSS JOIN (SELECT 1 AS v UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) vs"
_EVENTS = f"{_IMAGES} CROSS JOIN (SELECT 0 AS w UNION ALL SELECT 4) ws"

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
            WHEN {hash} % 20 < 12 THEN 'P' || {patient}
            ELSE 'MRN' || {mrn} END,
        'A' || {accession}, {day}
    FROM numbers""",
    f"""INSERT INTO images (id, job_id, sop_instance_uid, sop_class_uid, series_instance_uid,
        transfer_syntax_uid, path, size, sha256, calling_ae, received_at, state, tries, detail,
        laterality, view, intent, source_uids, rows, columns, model, analyzed_at)
    SELECT n * 4 + v, n, '1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v,
        '1.2.840.10008.5.1.4.1.1.1.2', '1.2.826.0.1.3680043.10.1234.2.' || n,
        '1.2.840.10008.1.2.4.70', 'images/' || n || '/' || v || '.dcm', 20000000,
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', {{sender}}, {{at}},
        'analyzed', 1, '', CASE v % 2 WHEN 1 THEN 'R' ELSE 'L' END,
        CASE WHEN v > 2 THEN 'MLO' ELSE 'CC' END, 'FOR PRESENTATION', {{nothing}}, 4096, 3328,
        'cut 1.2.0', {{at}}
    FROM numbers {_IMAGES}""",
    """INSERT INTO findings (image_id, score, center_column, center_row, outline, area_mm2,
        operating_point, calcifications)
    SELECT n * 4 + 1, 0.9, 1000, 1000, {outline}, 20, 2, {nothing}
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
    SELECT n, CASE WHEN w > 0 THEN '1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v END, {{at}},
        CASE WHEN w > 0 THEN 'image-analyzed' ELSE 'reported' END,
        'Image 1.2.826.0.1.3680043.10.1234.3.' || n || '.' || v || ' was analyzed.', 'node:1:abcd'
    FROM numbers {_EVENTS}""",
)
