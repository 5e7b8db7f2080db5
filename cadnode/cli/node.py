"""`cadnode serve|receive|work|celery-worker|web`, `check` and `config show`: running the node itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cadnode import log
from cadnode.app import App
from cadnode.checks import Check, run_checks
from cadnode.cli.output import ConfigOption, JsonOption, app_for, print_json, print_table
from cadnode.config.origin import masked
from cadnode.core.processes import ANALYSIS, DELIVERY, LANES

config_commands = typer.Typer(help="The settings.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (serve, receive, work, celery_worker, web, check):
        cli.command()(command)
    cli.add_typer(config_commands, name="config")


def serve(config: ConfigOption = None) -> None:
    """Run the whole node: receive, work and console, until SIGTERM or Ctrl-C."""
    from cadnode import processes

    processes.serve(_logging(app_for(config)), config)


def receive(config: ConfigOption = None) -> None:
    """Answer C-ECHO and C-STORE, until SIGTERM or Ctrl-C."""
    from cadnode import processes

    processes.receive(_logging(app_for(config)))


def work(
    device: Annotated[
        str, typer.Option(help='What the model runs on: "cpu" or the number of a GPU.')
    ] = "",
    lanes: Annotated[
        str, typer.Option(help=f"What to do of: {', '.join(LANES)}. All of it by default.")
    ] = ",".join(LANES),
    config: ConfigOption = None,
) -> None:
    """Analyze, report and deliver, until SIGTERM or Ctrl-C."""
    from cadnode import processes

    processes.work(_logging(app_for(config)), device, _chosen(lanes))


def celery_worker(
    lane: Annotated[
        str, typer.Option(help="analysis, delivery, or all: a process for each of the two.")
    ] = "all",
    concurrency: Annotated[
        int, typer.Option(min=1, help="Processes that analyze, each with the model in memory.")
    ] = 1,
    device: Annotated[
        str, typer.Option(help='What the model runs on: "cpu" or the number of a GPU.')
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Analyze and deliver when the message broker says so, until SIGTERM or Ctrl-C."""
    from cadnode import processes

    if lane not in (ANALYSIS, DELIVERY, "all"):
        raise typer.BadParameter(f"{lane!r}: analysis, delivery or all")
    processes.celery_worker(
        _logging(app_for(config)), config, lane, device=device, concurrency=concurrency
    )


def web(config: ConfigOption = None) -> None:
    """The console in a browser, until SIGTERM or Ctrl-C."""
    from cadnode import processes

    processes.web(_logging(app_for(config)))


def check(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Look at settings, database, disk, model and every destination; exit 1 if one is not well."""
    results: list[Check] = []
    for result in run_checks(app_for(config)):
        results.append(result)
        if not as_json:
            mark = {True: "ok  ", False: "FAIL", None: "note"}[result.well]
            typer.echo(f"{mark}  {result.name}: {result.detail}")
    if as_json:
        print_json([{"name": r.name, "well": r.well, "detail": r.detail} for r in results])
    if any(result.well is False for result in results):
        raise typer.Exit(1)


@config_commands.command("show")
def show(
    origin: Annotated[
        bool, typer.Option("--origin", help="A table that says where each setting came from.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """The settings in force, as JSON, secrets hidden; with --origin, where each one came from."""
    app = app_for(config)
    if not origin:
        print_json(masked(app.settings))
        return
    found = app.origins.in_force(app.settings)
    if as_json:
        print_json(asdict(found))
        return
    print_table(
        ["SETTING", "VALUE", "ORIGIN"],
        ([line.name, line.value, f"{line.source} {line.where}".strip()] for line in found.lines),
    )


def _chosen(lanes: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(name.strip() for name in lanes.split(",")))
    for name in chosen:
        if name not in LANES:
            raise typer.BadParameter(f"{name!r}: lanes are {', '.join(LANES)}")
    return chosen


def _logging(app: App) -> App:
    log.configure(app.settings.log.level, app.settings.log.format)
    return app
