"""`cadnode db backup|copy|upgrade|downgrade|status`: the job database itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.output import ConfigOption, JsonOption, app_for, print_json
from cadnode.storage.database import upgrade as upgrade_schema
from cadnode.storage.moving import copy_all
from cadnode.storage.schema import Backup, back_up, backup_name, check_downgrade, schema_state
from cadnode.storage.schema import downgrade as downgrade_schema

db = typer.Typer(help="The job database: copies of it, and its schema.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    """Add `db` to the command."""
    cli.add_typer(db, name="db")


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not be there yet.")],
    config: ConfigOption = None,
) -> None:
    """Copy the database while the node runs; the copy is checked before it gets its name."""
    _print_backup(back_up(app_for(config).settings.database_url, file.absolute()))


@db.command()
def copy(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of an empty database, as in [database] url.")
    ],
    config: ConfigOption = None,
) -> None:
    """Copy everything into another database, as from SQLite to PostgreSQL; stop the node first."""
    exams = copy_all(app_for(config).settings.database_url, url, now=utc_now())
    copied = f"{exams} exam{'s' * (exams != 1)}"
    typer.echo(f"Copied, with {copied}: let [database] url name it from now on.")


@db.command()
def status(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Where the database is and which schema version it has; exit 1 unless it is the right one."""
    state = schema_state(app_for(config).settings.database_url, now=utc_now())
    if as_json:
        print_json(asdict(state))
    else:
        typer.echo(f"{state.database}")
        typer.echo(f"schema version {state.version or 'none'}, this program needs {state.wanted}")
        if state.bytes is not None:
            typer.echo(f"{state.bytes} bytes")
        typer.echo(f"{state.leases} leases held")
    if state.version != state.wanted:
        raise typer.Exit(1)


@db.command()
def upgrade(config: ConfigOption = None) -> None:
    """Bring the database to the schema of this program, as `serve` does at its start."""
    url = app_for(config).settings.database_url
    before = schema_state(url, now=utc_now())
    upgrade_schema(url)
    if before.version == before.wanted:
        typer.echo(f"The database has schema version {before.wanted} already.")
    else:
        typer.echo(f"Schema version {before.version or 'none'} became {before.wanted}.")


@db.command()
def downgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="An older version, as 0001.")],
    yes: Annotated[bool, typer.Option("--yes", help="Yes, what is newer in it is lost.")] = False,
    copy: Annotated[bool, typer.Option("--backup/--no-backup", help="Copy it first.")] = True,
    config: ConfigOption = None,
) -> None:
    """Take the database back to an older program's schema; refused while a process works on it.

    The next start of this program brings it forward again.
    """
    if not yes:
        raise typer.BadParameter("what the newer schema has added is lost; say --yes to go on")
    url = app_for(config).settings.database_url
    check_downgrade(url, revision, now=utc_now())
    if copy:
        _print_backup(back_up(url, backup_name(url, now=utc_now())))
    downgrade_schema(url, revision, now=utc_now())
    typer.echo(f"The database has schema version {revision}.")


def _print_backup(made: Backup) -> None:
    typer.echo(f"{made.file}: {made.bytes} bytes, schema version {made.version}, checked.")
