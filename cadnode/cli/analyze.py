"""`cadnode analyze`: find calcifications in files, without network or database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    app_for,
    print_json,
    problem,
    progress_bar,
)
from cadnode.core.exam import ImageState
from cadnode.result_parts import REPORTS, RESULT_CLASSES


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(analyze)


def analyze(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, metavar="PATH...", help="DICOM files or folders.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the results go.")],
    objects: Annotated[
        str, typer.Option(metavar="KIND,...", help="Result objects to write, or `all`.")
    ] = ",".join(REPORTS),
    json_wanted: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find calcifications in DICOM files; write result objects, pictures and findings.json.

    Kinds of object: mammography-cad-sr, tid1500-sr, gsps, secondary-capture, segmentation.

    Exit status: 0 when every file was analyzed or properly set aside, 2 for bad usage, 3 when
    something failed.
    """
    from cadnode.offline import analyze_files, as_json

    kinds = _kinds(objects)
    app = app_for(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem(f"{out}: {error.strerror}")
        raise typer.Exit(2) from error
    with progress_bar("analyzing") as bar:
        task = bar.add_task("images", total=None)
        run = analyze_files(
            app,
            paths,
            out,
            lambda done, total: bar.update(task, completed=done, total=total),
            kinds,
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


def _kinds(named: str) -> frozenset[str]:
    kinds = frozenset(RESULT_CLASSES if named == "all" else filter(None, named.split(",")))
    unknown = sorted(kinds - set(RESULT_CLASSES))
    if unknown:
        problem(f"--objects: there is no {unknown[0]!r} (known: {', '.join(RESULT_CLASSES)})")
        raise typer.Exit(2)
    return kinds
