"""`cadnode destinations ...`: where results go, whether it answers, and what waits for it."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    app_for,
    local,
    print_json,
    print_table,
)

destinations = typer.Typer(help="Where results go, and what waits there.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    """Add `destinations` to the command."""
    cli.add_typer(destinations, name="destinations")


@destinations.command("list")
def list_destinations(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Each destination: does it answer, since when, what waits for it, what was last wrong.

    Those that are no longer in the settings are listed while something waits for them.
    """
    app = app_for(config)
    settings = {table.name: table for table in app.settings.destinations}
    store = app.open_store()
    try:
        records = store.lines.destinations(list(settings))
    finally:
        store.close()

    def setting(name: str) -> str:
        if name not in settings:
            return "not in the settings"
        return "enabled" if settings[name].enabled else "not enabled"

    if as_json:
        print_json([asdict(record) | {"setting": setting(record.name)} for record in records])
        return
    if not records:
        typer.echo("There is no destination: [[destinations]] is empty.")
        return
    print_table(
        [
            "NAME",
            "SETTING",
            "LINE",
            "SINCE",
            "WAITING",
            "OLDEST",
            "FAILED",
            "UNPROVED",
            "LAST ERROR",
        ],
        (
            [
                record.name,
                setting(record.name),
                record.state,
                local(record.since) if record.since else "",
                record.waiting,
                local(record.oldest) if record.oldest else "",
                record.failed,
                record.unproved,
                record.last_error,
            ]
            for record in records
        ),
    )


@destinations.command()
def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The destination's name.")],
    why: Annotated[str, typer.Option(help="The reason; kept with each exam.")],
    config: ConfigOption = None,
) -> None:
    """Give up what waits for a destination that is gone, so that its exams can end."""
    app = app_for(config)
    if any(table.name == name and table.enabled for table in app.settings.destinations):
        raise typer.BadParameter(
            f"{name} is enabled in the settings: take it out, or set enabled = false, first"
        )
    store = app.open_store()
    try:
        dropped = store.exams.drop_destination(name, why=why, by=getpass.getuser(), now=utc_now())
    finally:
        store.close()
    if dropped:
        typer.echo(f"Given up for {name}: {dropped} result objects.")
    else:
        typer.echo(f"Nothing waits for {name}.")
