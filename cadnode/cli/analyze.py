"""`cadnode analyze`: find calcifications in files, without network or database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cadnode.cli.output import ConfigOption, JsonOption, app_for, print_json, problem
from cadnode.core.exam import ImageState


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(analyze)


def analyze(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, metavar="PATH...", help="DICOM files or folders.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the results go.")],
    json_wanted: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find calcifications in DICOM files; write SR objects, pictures and findings.json.

    Exit status: 0 when every file was analyzed or properly set aside, 2 for bad usage, 3 when
    something failed.
    """
    from cadnode.offline import analyze_files, as_json

    app = app_for(config)
    columns = (
        TextColumn("analyzing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem(f"{out}: {error.strerror}")
        raise typer.Exit(2) from error
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=None)
        run = analyze_files(
            app, paths, out, lambda done, total: bar.update(task, completed=done, total=total)
        )
    recommended = run.recommended
    if not run.files:
        problem("no file was found")
        raise typer.Exit(2)
    if json_wanted:
        print_json(as_json(run, app.bundle().spec))
    for outcome in run.files:
        if outcome.state is ImageState.FAILED:
            problem(outcome.line(recommended))
        elif not json_wanted:
            typer.echo(outcome.line(recommended))
    for text in run.problems:
        problem(text)
    if not json_wanted:
        typer.echo(f"{len(run.results)} result object(s), pictures and findings.json in {out}")
    if run.failed:
        raise typer.Exit(3)
