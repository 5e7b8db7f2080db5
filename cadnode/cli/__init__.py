"""The `cadnode` command: arguments in, text out; everything else is behind `app`."""

from __future__ import annotations

import sys

import typer

from cadnode import __version__, log
from cadnode.cli import (
    analyze,
    conformance,
    db,
    destinations,
    fetch,
    fsck,
    health,
    jobs,
    jobs_again,
    model,
    network,
    node,
    notify,
    protocol,
    status,
    train,
    users,
)
from cadnode.cli.output import problem
from cadnode.core.errors import CadnodeError, ConfigError
from cadnode.supervisor import SETTINGS_STATUS

cli = typer.Typer(
    name="cadnode",
    help="A DICOM node that reads mammograms and answers with a Mammography CAD SR."
    " Research use, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    # The processes say everything as their settings want it; a command says what went wrong.
    log.configure("error", "console")


node.add_to(cli)
health.add_to(cli)
users.add_to(cli)
status.add_to(cli)
analyze.add_to(cli)
jobs.add_to(cli)
jobs_again.add_to_jobs()
fsck.add_to(cli)
db.add_to(cli)
destinations.add_to(cli)
network.add_to(cli)
conformance.add_to(cli)
fetch.add_to(cli)
train.add_to(cli)
protocol.add_to(cli)
model.add_to(cli)
notify.add_to(cli)


def main() -> None:
    """Run the command; every error this node knows ends as one line.

    Exit status 2 for settings that do not hold (as for bad usage), 1 for any other error.
    """
    try:
        cli()
    except ConfigError as error:
        problem(str(error))
        sys.exit(SETTINGS_STATUS)
    except CadnodeError as error:
        problem(str(error))
        sys.exit(1)
