"""`cadnode status`: the page of the day in a terminal, for persons and for cron."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import typer
from rich.text import Text

from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    age,
    app_for,
    console,
    local,
    print_json,
    print_table,
)
from cadnode.core.node_status import Alert, DiskStatus, Durations, NodeStatus
from cadnode.core.processes import ProcessRecord
from cadnode.core.words import destination_state, disk_outlook, duration, size
from cadnode.status import StatusReader


def add_to(cli: typer.Typer) -> None:
    """Add `status` to the command."""
    cli.command()(status)


def status(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """How the node is doing: exams, destinations, disk, model, processes, and what is wrong.

    Exit status 0 when all is well, 1 when something needs a person.
    """
    app = app_for(config)
    store = app.open_store()
    try:
        found = StatusReader(app, store).status()
    finally:
        store.close()
    if as_json:
        print_json(asdict(found) | {"is_well": found.is_well})
    else:
        _print(found)
    if not found.is_well:
        raise typer.Exit(1)


def _print(found: NodeStatus) -> None:
    console.print(
        Text(f"{found.station_name}, cadnode {found.version}, {local(found.at)}", style="bold")
    )
    if not found.alerts:
        console.print(Text("All is well.", style="green"))
    for alert in found.alerts:
        _print_alert(alert)
    console.print()
    _print_exams(found)
    _print_disk(found.disk)
    if found.destinations:
        console.print()
        print_table(
            ["DESTINATION", "STATE", "WAITING", "FAILED", "UNPROVED", "LAST STORED"],
            (
                [
                    item.name,
                    destination_state(item, found.at),
                    item.waiting,
                    item.failed,
                    item.unproved,
                    local(item.delivered_at),
                ]
                for item in found.destinations
            ),
        )
    if found.pulls:
        console.print()
        print_table(
            ["PULL FROM", "MODALITY", "LAST TURN", "IMAGES", "FAILED", "NEXT TURN"],
            (
                [
                    pull.source,
                    pull.modality or "any",
                    local(pull.ended_at) or "none yet",
                    pull.fetched,
                    pull.error or pull.failed,
                    "running now" if pull.running else local(pull.due_at),
                ]
                for pull in found.pulls
            ),
        )
    console.print()
    print_table(
        ["PROCESS", "HOST", "PID", "SEEN", "STARTED", "RUNS ON"],
        (
            [
                record.label,
                record.host,
                record.pid,
                _seen(record, found.at),
                local(record.started_at),
                _runs_on(record),
            ]
            for record in found.processes
        ),
    )


def _print_alert(alert: Alert) -> None:
    mark, style = ("PROBLEM", "bold red") if alert.urgent else ("NOTE", "bold yellow")
    _say(Text(f"{mark}  ", style=style) + Text(f"{alert.what}.", style=""))
    if alert.do:
        _say(Text(f"{' ' * len(mark)}  {alert.do}"))


def _say(text: Text | str) -> None:
    """One line; broken where a terminal ends, and nowhere else."""
    console.print(text, soft_wrap=not console.is_terminal)


def _print_exams(found: NodeStatus) -> None:
    day = found.day
    failed = ", ".join(f"{item.code}: {item.exams}" for item in day.failed)
    lines = [
        ("today", "1 exam" if day.today == 1 else f"{day.today} exams"),
        ("waiting", f"{day.waiting}"),
        ("running", f"{day.running}"),
        ("delivering", f"{day.delivering}"),
        ("failed", f"{day.failed_exams}" + (f" ({failed})" if failed else "")),
    ]
    if day.oldest:
        waited = age((found.at - day.oldest.since).total_seconds())
        lines.append(("oldest", f"exam {day.oldest.id}, {day.oldest.status}, since {waited}"))
    lines.append(("last image to stored result", f"{_took(day.took_today)} today"))
    lines.append(("", f"{_took(day.took_week)} in the last 7 days"))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        _say(f"{name:{width}}  {text}")


def _print_disk(disk: DiskStatus) -> None:
    if disk.problem:
        _say(f"disk: {disk.problem}")
        return
    _say(
        f"disk: {size(disk.free)} free of {size(disk.total)} at {disk.folder},"
        f" {size(disk.reserve)} kept free; {disk_outlook(disk)}"
    )


def _took(took: Durations) -> str:
    if took.p50_seconds is None or took.p95_seconds is None:
        return "no exam delivered"
    exams = "1 exam" if took.exams == 1 else f"{took.exams} exams"
    return f"half within {duration(took.p50_seconds)}, 95 % within {duration(took.p95_seconds)} ({exams})"


def _seen(record: ProcessRecord, now: datetime) -> str:
    ago = age(max(0.0, (now - record.beat_at).total_seconds()))
    return f"{ago} ago" if record.is_seen(now) else f"NOT SEEN for {ago}"


def _runs_on(record: ProcessRecord) -> str:
    facts = record.facts
    lanes = ", ".join(record.part)
    if facts.problem:
        return facts.problem
    if facts.model is None:
        return lanes
    rate = f", {facts.patches_per_second:.0f} patches/s" if facts.patches_per_second else ""
    return (
        f"{facts.model} {facts.model_version} ({(facts.model_sha256 or '')[:12]})"
        f" on {facts.device}, {facts.precision}{rate}{f'; {lanes} only' if lanes else ''}"
    )
