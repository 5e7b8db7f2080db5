"""How long a page of exams takes among a million of them.

Every kind of search the console has, with the filters that suit it least and the pages that lie
deepest. What is timed is what a page of the console asks: fifty exams and how many there are.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from cadnode.core.jobs import ExamStatus
from cadnode.core.search import Cursor, ExamSearch, Order, guesses, received_on
from cadnode.storage.database import Database
from cadnode.storage.search import SearchRecords
from tests.bench.many_exams import BEGIN, PLACEHOLDER, make
from tests.bench.section import Section, run_alone

EXAMS, QUICK_EXAMS = 1_000_000, 2_000
REPEATS = 25
PAGE = 50
UID = "1.2.826.0.1.3680043.10.1234."

FAILED = frozenset({ExamStatus.FAILED})
CANCELLED = frozenset({ExamStatus.CANCELLED})


def searches(exams: int) -> Iterator[tuple[str, Callable[[int], tuple[ExamSearch, Cursor | None]]]]:
    """Each kind of search, made from a number that differs each time."""

    def fixed(**values: object) -> Callable[[int], tuple[ExamSearch, Cursor | None]]:
        return lambda _: (ExamSearch(**values), None)  # type: ignore[arg-type]

    def made(of: Callable[[int], ExamSearch]) -> Callable[[int], tuple[ExamSearch, Cursor | None]]:
        return lambda number: (of(number), None)

    def anywhere(
        search: ExamSearch, *, backwards: bool = False
    ) -> Callable[[int], tuple[ExamSearch, Cursor | None]]:
        return lambda number: (search, Cursor(_moment(number, exams), 0, backwards))

    day = date(2020, 3, 5)
    yield "all, first page", fixed()
    yield "all, a page in the middle", anywhere(ExamSearch())
    yield "all, backwards from the middle", anywhere(ExamSearch(), backwards=True)
    yield "study UID", made(lambda n: ExamSearch(uid=f"{UID}1.{n}"))
    yield "series UID", made(lambda n: ExamSearch(uid=f"{UID}2.{n}"))
    yield "image UID", made(lambda n: ExamSearch(uid=f"{UID}3.{n}.3"))
    yield "result UID", made(lambda n: ExamSearch(uid=f"{UID}5.{n}"))
    yield "unknown UID", fixed(uid="1.2.3")
    yield "accession number", made(lambda n: ExamSearch(accession_number=f"A{n:08}"))
    yield "Patient ID", made(lambda n: ExamSearch(patient_id=f"P{n % (exams // 3):07}"))
    yield "Patient ID of one exam in twenty", fixed(patient_id=PLACEHOLDER)
    yield "the same, in the middle", anywhere(ExamSearch(patient_id=PLACEHOLDER))
    yield "the same, failed", fixed(patient_id=PLACEHOLDER, statuses=FAILED)
    yield "the same, unknown sender", fixed(patient_id=PLACEHOLDER, calling_ae="NOBODY")
    yield "beginning, some", made(lambda n: _beginning(f"P{n % (exams // 3):07}"[:-2]))
    yield "beginning, a third of all", fixed(patient_id="MRN", by_beginning=True)
    yield "beginning, many, all old", fixed(patient_id="P00", by_beginning=True)
    yield (
        "beginning, one in ten, failed",
        fixed(patient_id="P02", by_beginning=True, statuses=FAILED),
    )
    yield "beginning, nobody", fixed(patient_id="XYZ", by_beginning=True)
    yield (
        "beginning, a third, old sender",
        fixed(patient_id="MRN", by_beginning=True, calling_ae="OLDUNIT"),
    )
    yield (
        "beginning, a third, cancelled",
        fixed(patient_id="MRN", by_beginning=True, statuses=CANCELLED),
    )
    yield "Study Date, a day", fixed(studied_from=day, studied_to=day)
    yield "Study Date, two old years", fixed(studied_from=day, studied_to=day + timedelta(days=730))
    yield (
        "Study Date, two years, failed",
        fixed(studied_from=day, studied_to=day + timedelta(days=730), statuses=FAILED),
    )
    first, last = received_on(day, day + timedelta(days=730))
    yield "received, two years", fixed(received_from=first, received_before=last)
    yield (
        "received, two years, cancelled",
        fixed(received_from=first, received_before=last, statuses=CANCELLED),
    )
    yield "status, rare (failed)", fixed(statuses=FAILED)
    yield (
        "status, frequent (purged), in the middle",
        anywhere(ExamSearch(statuses=frozenset({ExamStatus.PURGED}))),
    )
    yield (
        "every status but one, in the middle",
        anywhere(ExamSearch(statuses=frozenset(ExamStatus) - FAILED)),
    )
    yield "sender, frequent, in the middle", anywhere(ExamSearch(calling_ae="MG1"))
    yield "sender, twenty old exams", fixed(calling_ae="OLDUNIT")
    yield "sender, unknown", fixed(calling_ae="NOBODY")
    yield "sender, frequent, failed", fixed(calling_ae="MG1", statuses=FAILED)
    yield "waiting longest", fixed(order=Order.WAITING_LONGEST)
    yield "error code", fixed(error_code="E602")
    yield "error code nobody has", fixed(error_code="E999")


def _beginning(text: str) -> ExamSearch:
    return ExamSearch(patient_id=text, by_beginning=True)


def _moment(number: int, exams: int) -> datetime:
    return BEGIN + timedelta(days=3650) * (number / exams)


@dataclass
class Timed:
    """One kind of search: how long each page took (ms), the first time included."""

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of this process: what is left when nothing else runs on the machine."""

    @contextmanager
    def once(self) -> Iterator[None]:
        """Time what is in the block."""
        begun = time.perf_counter(), time.process_time()
        yield
        self.wall.append(1000 * (time.perf_counter() - begun[0]))
        self.cpu.append(1000 * (time.process_time() - begun[1]))


def timed(records: SearchRecords, exams: int, repeats: int) -> list[Timed]:
    """Every kind of search, each `repeats` times."""
    numbers = [(7919 * number) % exams + 1 for number in range(1, repeats + 1)]
    table = []
    for name, kind in searches(exams):
        table.append(Timed(name))
        for number in numbers:
            search, cursor = kind(number)
            with table[-1].once():
                records.find(search, limit=PAGE, cursor=cursor)
                records.count(search)
    for name, text in (("one box, nothing found", "nobody-4711"), ("one box, a date", "20200305")):
        table.append(Timed(name))
        for _ in numbers:
            with table[-1].once():
                records.first_that_finds(guesses(text, today=date(2026, 3, 1)))
    return table


def measure(quick: bool) -> Section:
    """A million exams; a few for a quick look."""
    return among(QUICK_EXAMS if quick else EXAMS)


def among(exams: int) -> Section:
    """Make so many exams and time the searches."""
    with tempfile.TemporaryDirectory() as folder:
        url = make(Path(folder), exams)
        size = Path(folder, "many.db").stat().st_size
        database = Database(url)
        try:
            found = timed(SearchRecords(database), exams, REPEATS)
        finally:
            database.close()
    rows = [["search", "p50 (ms)", "p95 (ms)", "longest (ms)", "of the processor, p50 (ms)"]]
    for one in found:
        p95 = statistics.quantiles(one.wall, n=20)[-1]
        cells = (statistics.median(one.wall), p95, max(one.wall), statistics.median(one.cpu))
        rows.append([one.name, *(f"{cell:.0f}" for cell in cells)])
    text = (
        f"A page of {PAGE} exams and how many there are, as the console asks the database, among "
        f"**{exams:,} exams** (four images and eight events each, {size / 1e9:.1f} GB of SQLite): "
        f"{REPEATS} pages of each kind, files in the page cache. *The same* is the row above with "
        "one condition more; *one box* tries everything that the text may be. The longest is as a "
        "rule the first of its kind."
    )
    return Section("Searching exams", text, rows, {f"{one.name} (ms)": one.wall for one in found})


if __name__ == "__main__":
    run_alone(measure, __doc__, exams=among)
