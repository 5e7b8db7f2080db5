"""Every benchmark, each in a process of its own, into docs/performance.md: `make bench`.

A module of this folder with `def measure(quick: bool) -> Section` is a benchmark. What it gave is
kept in bench-out/, so that one of them can be run again (`--only inference`) and the page be
written with the others as they were.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.machine import facts
from tests.bench.section import Section, load, table

HERE = Path(__file__).parent
KEPT = Path("bench-out")
ORDER = ("receive", "inference", "end_to_end", "burst", "memory", "growth", "search", "training")
"""The sections in reading order; others follow by name."""
MARK = "def measure("


def main() -> None:
    """Measure, then write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", metavar="NAME", choices=benchmarks())
    arguments.add_argument("--quick", action="store_true", help="a look, no figures")
    arguments.add_argument("--docs", type=Path, metavar="FILE", help="the page to be written")
    given = arguments.parse_args()
    KEPT.mkdir(exist_ok=True)
    failed = [name for name in given.only or benchmarks() if not run(name, quick=given.quick)]
    if given.docs:
        kept = [KEPT / f"{name}.json" for name in benchmarks()]
        given.docs.write_text(page([load(path) for path in kept if path.exists()]), "utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def benchmarks() -> list[str]:
    """Their names, in the order of the page."""
    names = [path.stem for path in HERE.glob("*.py") if _measures(path)]
    place = {name: index for index, name in enumerate(ORDER)}
    return sorted(names, key=lambda name: (place.get(name, len(ORDER)), name))


def run(name: str, *, quick: bool) -> bool:
    """Whether the benchmark came to its end."""
    command = [sys.executable, "-m", f"tests.bench.{name}", "--out", str(KEPT / f"{name}.json")]
    return not subprocess.run([*command, *(["--quick"] if quick else [])], check=False).returncode


def page(sections: Sequence[Section]) -> str:
    """The text of docs/performance.md."""
    parts = [
        "# Performance\n",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; never edited by hand. Ratios are"
        " of runs made in turn on the same machine, and medians where nothing else is said.\n",
        f"## The machine\n\n{table(facts())}",
        *(section.markdown() for section in sections),
        "## Raw numbers\n",
        *(section.raw_markdown() for section in sections),
    ]
    return "\n".join(parts)


def _measures(path: Path) -> bool:
    return any(line.startswith(MARK) for line in path.read_text("utf-8").splitlines())


if __name__ == "__main__":
    main()
