"""What the node asks its database a thousand times a day, with years of exams in it:
`python -m tests.bench.growth --exams 1000 100000`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

from cadnode.core.jobs import NewImage
from cadnode.core.search import ExamSearch
from cadnode.status import hours_of
from cadnode.storage.database import Database
from cadnode.storage.day import DayRecords
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.queues import QueueRecords
from cadnode.storage.reading import ExamRecords
from cadnode.storage.search import SearchRecords
from tests.bench.many_exams import BEGIN, fill, make
from tests.bench.section import Section, interleaved, save
from tests.postgres import PostgreSQL, postgresql

SIZES = (1_000, 100_000, 1_000_000)
QUICK = (1_000, 20_000)
BATCHES = 7
CALLS = 20
"""In one batch."""

PURGE = "mark an exam purged"
PURGES = 5
"""In one batch: the smallest database has no more to give."""

LEASE = timedelta(seconds=60)
NOW = BEGIN + timedelta(days=3650)

# As a server is set up for work, but for the files of its log: they are never looked at again.
SERVER = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "deadlock_timeout": "1s",
}

IMAGE = NewImage("", "1.2", "", "1.2.3", "1.2", "images/new", 1, "aa", "MG1")


def operations(database: Database, exams: int) -> dict[str, Callable[[int], object]]:
    """What is measured, by its name; each gets a number that differs each time."""
    store, records = SqlExamStore(database), ExamRecords(database)
    search, day, queues = SearchRecords(database), DayRecords(database), QueueRecords(database)

    def accept(number: int) -> None:
        study = f"2.25.{number}"
        store.accept(
            replace(IMAGE, sop_instance_uid=f"{study}.1", study_instance_uid=study), now=NOW
        )

    def claim_exam(_: int) -> None:
        exam = store.claim_exam("bench", now=NOW, lease=LEASE)
        if exam is None:
            raise RuntimeError("nothing to claim")
        store.release_exam(exam, due_at=NOW, now=NOW)

    def claim_deliveries(_: int) -> None:
        claimed = store.claim_deliveries("pacs", "bench", now=NOW, lease=LEASE, limit=32)
        if not claimed:
            raise RuntimeError("nothing to deliver")
        store.release_deliveries(claimed, now=NOW)

    may_go = iter(store.purgeable(finished_before=NOW, limit=50))

    def find(number: int) -> None:
        one = ExamSearch(accession_number=f"A{7919 * number % exams + 1:08}")
        for asked in (one, ExamSearch()):
            search.find(asked, limit=50)
            search.count(asked)

    return {
        "accept an image of a new exam": accept,
        "claim an exam and hand it back": claim_exam,
        "claim 32 deliveries and hand them back": claim_deliveries,
        "look for work where there is none": lambda _: store.claim_deliveries(
            "nobody", "bench", now=NOW, lease=LEASE, limit=32
        ),
        "list 50 exams": lambda _: records.list_exams(limit=50),
        "show an exam": lambda number: records.exam_detail(7919 * number % exams + 1),
        "search: an accession number, the first page": find,
        "the day": lambda _: day.counts(hours_of(NOW), now=NOW),
        "how long the queues are": lambda _: queues.queues(),
        "name 10 exams that may be purged": lambda _: store.purgeable(
            finished_before=NOW, limit=10
        ),
        PURGE: lambda _: store.mark_purged(next(may_go).exam_id, now=NOW),
    }


def measure(quick: bool) -> Section:
    """Every operation at every size on both engines, in turn."""
    return grow(QUICK if quick else SIZES, batches=5 if quick else BATCHES)


def grow(sizes: Sequence[int], *, batches: int) -> Section:
    """The section for these sizes, the smallest first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cadnode-bench-")))
        server = stack.enter_context(postgresql(**SERVER))
        made: dict[str, float] = {}
        measures: dict[str, Callable[[], float]] = {}
        for engine in ("SQLite", "PostgreSQL"):
            for exams in sizes:
                began = time.perf_counter()
                opened = _database(engine, exams, folder, server)
                database = stack.enter_context(opened)
                made[f"{engine}, {exams:,} exams made (s)"] = time.perf_counter() - began
                for name, ask in operations(database, exams).items():
                    ask(0)
                    calls = PURGES if name == PURGE else CALLS
                    measures[_key(engine, name, exams)] = _batch(ask, calls)
        found = interleaved(measures, batches)
    return Section(
        title="Growth",
        text=_TEXT.format(calls=CALLS, batches=batches),
        rows=list(_rows(found, sizes)),
        raw={**found, **{name: [seconds] for name, seconds in made.items()}},
    )


_TEXT = """What the node asks its database, on one machine with a little data in it and with ten
years of a busy site: milliseconds for each call, medians of {batches} batches of {calls} calls, the
sizes and both engines in turn. Everything is committed to disk. An exam has four images, a result,
a delivery and eight events; 12 exams wait for analysis, 40 results for delivery."""


def _key(engine: str, name: str, exams: int) -> str:
    return f"{engine}, {name}, {exams:,} exams (ms)"


def _batch(ask: Callable[[int], object], calls: int) -> Callable[[], float]:
    numbers = count(1)

    def milliseconds() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            ask(next(numbers))
        return (time.perf_counter() - began) * 1000 / calls

    return milliseconds


@contextmanager
def _database(engine: str, exams: int, folder: Path, server: PostgreSQL) -> Iterator[Database]:
    if engine == "PostgreSQL":
        with server.migrated() as database:
            fill(database.name, exams)
            yield database
        return
    database = Database(make(folder / str(exams), exams))
    yield database
    database.close()


def _rows(found: dict[str, list[float]], sizes: Sequence[int]) -> Iterator[list[str]]:
    yield [
        "engine",
        "operation",
        *(f"{exams:,} exams (ms)" for exams in sizes),
        "slowest / smallest",
    ]
    names = dict.fromkeys(key.split(", ", 1)[1].rsplit(", ", 1)[0] for key in found)
    for engine in ("SQLite", "PostgreSQL"):
        for name in names:
            times = [statistics.median(found[_key(engine, name, exams)]) for exams in sizes]
            cells = [f"{one:.2f}" for one in times]
            yield [engine, name, *cells, f"{max(times) / times[0]:.2f}"]


def main() -> None:
    """Measure, print the section, keep it with `--out`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--exams", type=int, nargs="+", help="sizes, the smallest first")
    arguments.add_argument("--quick", action="store_true", help="a look in a minute, no figure")
    arguments.add_argument("--out", type=Path, metavar="FILE", help="the section as JSON")
    given = arguments.parse_args()
    section = grow(given.exams, batches=BATCHES) if given.exams else measure(given.quick)
    print(section.markdown())  # noqa: T201
    if given.out:
        save(section, given.out)


if __name__ == "__main__":
    main()
