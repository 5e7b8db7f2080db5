"""What a benchmark gives: one section of docs/performance.md, and the numbers behind it."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.machine import commit


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page."""

    title: str
    text: str
    """Plain Markdown before the table: what was measured, on what load, and what it says."""
    rows: Sequence[Sequence[str]]
    """The table; the first row names the columns."""
    raw: Mapping[str, Sequence[float]]
    """Every measured value by what it is, its unit in the name: `ours, batch 16 (patches/s)`."""
    measured: str = ""
    """When, and on which commit: sections are kept from one page to the next."""

    def markdown(self) -> str:
        """The section without its raw numbers."""
        when = f"Measured {self.measured}.\n\n" if self.measured else ""
        return f"## {self.title}\n\n{self.text.strip()}\n\n{when}{table(self.rows)}"

    def raw_markdown(self) -> str:
        """The raw numbers alone."""
        rows = [["value", "runs, in the order they were made"]]
        rows += [[name, " ".join(f"{v:.5g}" for v in values)] for name, values in self.raw.items()]
        return f"### {self.title}\n\n{table(rows)}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row names the columns."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("---" for _ in rows[0]) + " |")
    return "\n".join(lines) + "\n"


def interleaved(measures: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Each measure called `runs` times, one after the other in turn, so that all of them see the
    same machine."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of runs made side by side."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def save(section: Section, path: Path) -> None:
    """As JSON, for `load`, with the day and the commit unless it has them."""
    measured = section.measured or f"{datetime.now(UTC):%Y-%m-%d} at {commit()}"
    path.write_text(json.dumps(asdict(section) | {"measured": measured}, indent=1) + "\n", "utf-8")


def load(path: Path) -> Section:
    """What `save` has written."""
    return Section(**json.loads(path.read_text("utf-8")))


def run_alone(
    measure: Callable[[bool], Section], about: str | None, **sized: Callable[[int], Section]
) -> None:
    """The `main` of a benchmark: measure, print the section, keep it with `--out`.

    `sized` are further ways to measure: `exams=f` gives the option `--exams N`, which calls f(N).
    """
    arguments = argparse.ArgumentParser(description=about)
    arguments.add_argument("--quick", action="store_true", help="a look in a minute, no figure")
    arguments.add_argument("--out", type=Path, metavar="FILE", help="the section as JSON")
    for name in sized:
        arguments.add_argument(f"--{name}", type=int, metavar="N", help="so many, no figure")
    given = arguments.parse_args()
    asked = [name for name in sized if getattr(given, name)]
    section = sized[asked[0]](getattr(given, asked[0])) if asked else measure(given.quick)
    print(section.markdown())  # noqa: T201
    if given.out:
        save(section, given.out)
