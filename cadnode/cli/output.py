"""What the commands share: the settings option, tables, JSON, and one way to print a problem."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cadnode.app import App
from cadnode.config import load_with_origins

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings file (default: $CADNODE_CONFIG)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

console = Console(markup=False, emoji=False)


def app_for(config: Path | None) -> App:
    """The node as the settings describe it. Raises ConfigError."""
    return App(*load_with_origins(config))


def problem(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"cadnode: {text}\n")


def print_json(value: Any) -> None:
    """JSON on standard output, ready for `jq`."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on standard output; plain and unwrapped when that is not a terminal."""
    table = Table(*headings, title=title or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=400, markup=False, emoji=False).print(table)


def local(moment: datetime | None) -> str:
    """A moment in local time, to the second, with the zone it is in."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def age(seconds: float) -> str:
    """A duration as a person says it: `40 s`, `12 min`, `3 h`, `5 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Shown while its block runs, with the time left; gone after it."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar
