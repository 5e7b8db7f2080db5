"""`cadnode jobs resend` and `cadnode jobs priority`."""

from __future__ import annotations

import getpass
from enum import StrEnum
from typing import Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.jobs import ExamId, jobs
from cadnode.cli.output import ConfigOption, app_for
from cadnode.core.jobs import Priority


class Wanted(StrEnum):
    """As it is typed."""

    URGENT = "urgent"
    NORMAL = "normal"


def add_to_jobs() -> None:
    """Add both to `jobs`."""
    jobs.command()(resend)
    jobs.command()(priority)


def resend(
    exam_id: ExamId,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Only to this destination; else to every enabled one."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Send the stored result objects of a delivered exam again, as they are."""
    app = app_for(config)
    wanted = app.wanted_objects(to)
    store = app.open_store()
    try:
        due = store.exams.resend(exam_id, wanted, by=getpass.getuser(), now=utc_now())
    finally:
        store.close()
    what = "1 delivery is" if due == 1 else f"{due} deliveries are"
    typer.echo(f"Exam {exam_id} is reported again: {what} due.")


def priority(
    exam_id: ExamId,
    to: Annotated[Wanted, typer.Option("--to", help="urgent goes before normal.")],
    config: ConfigOption = None,
) -> None:
    """Put an exam, its results and its later revisions before all others, or among them again."""
    store = app_for(config).open_store()
    try:
        store.exams.set_priority(exam_id, Priority[to.name], by=getpass.getuser(), now=utc_now())
    finally:
        store.close()
    typer.echo(f"Exam {exam_id} is {to} now.")
