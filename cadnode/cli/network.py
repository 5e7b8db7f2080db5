"""`cadnode send` and `cadnode echo`: talking to a destination by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadnode.cli.output import ConfigOption, app_for, problem
from cadnode.core.errors import ImageFailed
from cadnode.core.ports import MammogramReader, OutgoingObject
from cadnode.core.retry import SendCause, is_success
from cadnode.result_parts import RESULT_CLASSES


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(send)
    cli.command()(echo)


def send(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    to: Annotated[str, typer.Option(metavar="DEST", help="A destination of the settings.")],
    config: ConfigOption = None,
) -> None:
    """Send DICOM files to a destination as they are; exit 3 unless it stored all of them."""
    app = app_for(config)
    app.open_audit("send")
    sender = app.sender(app.settings.destination(to))
    reader = app.reader()
    outcomes = sender.send([_outgoing(reader, file) for file in files])
    app.audit.close()
    failed = False
    for file, outcome in zip(files, outcomes, strict=True):
        status = "" if outcome.status is None else f" 0x{outcome.status:04X}"
        stored = (
            outcome.cause is SendCause.ANSWERED
            and outcome.status is not None
            and is_success(outcome.status)
        )
        failed = failed or not stored
        detail = f" ({outcome.detail})" if outcome.detail else ""
        typer.echo(f"{file}: {'stored' if stored else outcome.cause}{status}{detail}")
    if failed:
        raise typer.Exit(3)


def echo(
    destination: Annotated[str, typer.Argument(metavar="DEST")], config: ConfigOption = None
) -> None:
    """C-ECHO a destination and show which result objects it accepts; exit 3 if it is silent."""
    app = app_for(config)
    answer = app.sender(app.settings.destination(destination)).check(tuple(RESULT_CLASSES.values()))
    if not answer.reachable:
        problem(f"{destination} does not answer: {answer.detail}")
        raise typer.Exit(3)
    typer.echo(f"{destination} answers.")
    for kind, uid in RESULT_CLASSES.items():
        typer.echo(f"  {kind}: {'accepted' if answer.accepted.get(uid) else 'not accepted'}")


def _outgoing(reader: MammogramReader, file: Path) -> OutgoingObject:
    try:
        header = reader.header(file)
    except ImageFailed as error:
        problem(f"{file}: {error.detail}")
        raise typer.Exit(2) from error
    return OutgoingObject(header.sop_class_uid, header.sop_instance_uid, file)
