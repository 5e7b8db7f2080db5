"""`cadnode conformance`: the DICOM Conformance Statement of this program with these settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadnode.cli.output import ConfigOption, app_for


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(conformance)


def conformance(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write (default: print it).")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the DICOM Conformance Statement (PS3.2), with the site's AE title, ports, TLS and peers."""
    # Imported here: it needs the libraries that build objects, no other command does.
    from cadnode.conformance import conformance_statement

    text = conformance_statement(app_for(config).settings)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--out: {out} cannot be written ({error.strerror})") from error
