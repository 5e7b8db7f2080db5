"""How long the page of the day takes: `python -m tests.bench.day --exams 1000000`.

A busier site than there is: a tenth of all exams delivered in ten days, a fiftieth waiting for a
destination that is down, a hundredth failed.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cadnode.status import hours_of
from cadnode.storage.beats import BeatRecords
from cadnode.storage.database import Database
from cadnode.storage.day import DayRecords
from cadnode.storage.line_records import LineRecords
from tests.bench.many_exams import make

TIMES = 9
DAYS = 10


def main() -> None:
    """Make the database, ask, print what it took."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--exams", type=int, default=1_000_000)
    exams = arguments.parse_args().exams
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        url = make(Path(folder), exams)
        now = crowd(Path(url.removeprefix("sqlite:///")), exams)
        print(f"{exams:,} exams made in {time.perf_counter() - began:.0f} s")  # noqa: T201
        database = Database(url)
        day, lines, beats = DayRecords(database), LineRecords(database), BeatRecords(database)
        questions: dict[str, Callable[[], object]] = {
            "the day": lambda: day.counts(hours_of(now), now=now),
            "what comes in a day": lambda: day.influx(now=now),
            "destinations": lambda: lines.destinations(["pacs"]),
            "processes": beats.processes,
            "newest exam of three senders": lambda: day.newest_exams(["MG1", "MG2", "NOBODY"]),
        }
        for name, ask in questions.items():
            taken = [timed(ask) for _ in range(TIMES)]
            wall, computed = ([pair[place] for pair in taken] for place in (0, 1))
            print(  # noqa: T201
                f"{name:30} first {wall[0]:6.1f} ms, median {statistics.median(wall):6.1f} ms,"
                f" longest {max(wall):6.1f} ms; computed {statistics.median(computed):6.1f} ms"
            )
        database.close()


def timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds until the answer, and of them those in which this thread computed."""
    began, computed = time.perf_counter(), time.thread_time()
    ask()
    return (time.perf_counter() - began) * 1000, (time.thread_time() - computed) * 1000


def crowd(file: Path, exams: int) -> datetime:
    """Make the last days busy, and return the moment at which they end."""
    with closing(sqlite3.connect(file)) as connection:
        (last,) = connection.execute("SELECT max(created_at) FROM jobs").fetchone()
        now = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(minutes=3)
        end = f"{now:%Y-%m-%d %H:%M:%S}"
        recent, waiting, failed = exams // 10, exams // 50, exams // 100
        step = DAYS * 86_400 / recent
        connection.execute(
            "UPDATE jobs SET"
            " delivered_at = strftime('%Y-%m-%d %H:%M:%S.000000', ?, (-(? - id) * ?) || ' seconds'),"
            " last_image_at = strftime("
            "'%Y-%m-%d %H:%M:%S.000000', ?, (-((? - id) * ? + id % 97)) || ' seconds')"
            " WHERE id > ? AND status IN ('committed', 'purged')",
            (end, exams, step, end, exams, step, exams - recent),
        )
        connection.execute(
            "UPDATE deliveries SET status = 'pending', delivered_at = NULL WHERE job_id > ?",
            (exams - waiting,),
        )
        connection.execute(
            "UPDATE jobs SET status = 'reported' WHERE id > ?",
            (exams - waiting,),
        )
        connection.execute(
            "UPDATE jobs SET status = 'failed', error_code = 'E602' WHERE id BETWEEN ? AND ?",
            (exams - waiting - failed, exams - waiting - 1),
        )
        connection.commit()
    return now


if __name__ == "__main__":
    main()
