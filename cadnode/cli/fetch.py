"""`cadnode fetch`: having an archive hand over exams."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cadnode.app import App, utc_now
from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    app_for,
    print_json,
    print_table,
    problem,
)
from cadnode.config.tables import SourceTable
from cadnode.core.dates import date_range
from cadnode.core.errors import CadnodeError, ConfigError, NotFound, TooManyMatches

if TYPE_CHECKING:
    from cadnode.dimse.find import StudyQuery
    from cadnode.fetching import Fetcher, StudyOutcome, StudyPlan

NOT_ALL_KEPT = 3

MOST_NAMED = 3
"""Images that one line of trouble names."""


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(fetch)


def fetch(
    study: Annotated[list[str] | None, typer.Option(help="A Study Instance UID.")] = None,
    accession: Annotated[list[str] | None, typer.Option(help="An Accession Number.")] = None,
    date: Annotated[
        str,
        typer.Option(metavar="RANGE", help="20260131, 20260101-20260131, today or yesterday."),
    ] = "",
    modality: Annotated[str, typer.Option(help='Of the series; "" for any.')] = "MG",
    source: Annotated[
        str, typer.Option("--from", metavar="NAME", help="A source of the settings.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Also what the node holds already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Take no more exams than this.")] = 1000,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Fetch exams from an archive (C-FIND, then C-GET or C-MOVE); exit 3 unless all are kept."""
    app = app_for(config)
    table = _source(app, source)
    queries = _queries(study or [], accession or [], date, modality)
    with _fetcher(app, table) as fetcher:
        plans, troubles = _plan(fetcher, queries, modality, limit, again)
        outcomes = [] if dry_run else _fetch(fetcher, plans)
    for outcome in outcomes:
        troubles.extend(_troubles(outcome))
    if as_json:
        print_json(_as_json(table.name, plans, outcomes, troubles))
    elif plans:
        _print(plans, outcomes, dry_run=dry_run)
    elif not troubles:
        typer.echo(f"Nothing at {table.name} matches.")
    for trouble in troubles:
        problem(trouble)
    if troubles:
        raise typer.Exit(NOT_ALL_KEPT)


@contextmanager
def _fetcher(app: App, source: SourceTable) -> Iterator[Fetcher]:
    from cadnode.fetching import Fetcher

    stopping = threading.Event()
    # What this process writes is for its own user.
    former = os.umask(0o077)
    try:
        app.open_audit("fetch")
        store = app.open_store(create=True)
        try:
            yield Fetcher(app, source, store, app.spool(), stopping)
        finally:
            stopping.set()
            store.close()
            app.audit.close()
    finally:
        os.umask(former)


def _source(app: App, name: str) -> SourceTable:
    if name:
        return app.settings.source(name)
    if len(app.settings.sources) == 1:
        return app.settings.sources[0]
    known = ", ".join(source.name for source in app.settings.sources)
    if not known:
        raise ConfigError("sources: none is set up; add the archive as [[sources]]")
    raise typer.BadParameter(f"which one? {known}", param_hint="--from")


def _queries(
    studies: Sequence[str], accessions: Sequence[str], date: str, modality: str
) -> list[StudyQuery]:
    from cadnode.dimse.find import StudyQuery

    try:
        first, last = date_range(date, utc_now().astimezone().date()) if date else (None, None)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--date") from error
    for value in (*studies, *accessions):
        if "\\" in value or "*" in value or "?" in value or not value.strip():
            raise typer.BadParameter(f"{value!r} is not one exam", param_hint="--study/--accession")
    keys = [{"study_instance_uid": uid} for uid in studies]
    keys += [{"accession_number": number} for number in accessions]
    if not (keys or date):
        raise typer.BadParameter("say which exams: --study, --accession or --date")
    return [
        StudyQuery(**key, first_date=first, last_date=last, modality=modality)
        for key in keys or [{}]
    ]


def _plan(
    fetcher: Fetcher, queries: Sequence[StudyQuery], modality: str, limit: int, again: bool
) -> tuple[list[StudyPlan], list[str]]:
    """What to do for every exam that was found, and what could not be found."""
    plans: dict[str, StudyPlan] = {}
    troubles = []
    for query in queries:
        asked = query.study_instance_uid or query.accession_number
        try:
            studies = fetcher.find(query, limit)
            if asked and not studies:
                troubles.append(str(NotFound(f"{asked}: the source holds no such exam")))
            for study in studies:
                if study.study_instance_uid not in plans:
                    plan = fetcher.plan(study, modality, again=again)
                    plans[study.study_instance_uid] = plan
        except TooManyMatches as error:
            troubles.append(f"{error} (--limit {limit})")
        except CadnodeError as error:
            # The next query would fare no better, but what is found already can be fetched.
            troubles.append(str(error))
            break
    return list(plans.values()), troubles


def _fetch(fetcher: Fetcher, plans: Sequence[StudyPlan]) -> list[StudyOutcome]:
    outcomes: list[StudyOutcome] = []
    with _bar(sum(len(plan.wanted) for plan in plans)) as show:
        for plan in plans:
            done = sum(outcome.fetched for outcome in outcomes)
            failed = sum(len(outcome.failed) for outcome in outcomes)
            outcomes.append(fetcher.fetch(plan, _after(show, done, failed)))
    return outcomes


def _after(show: Callable[[int, int], None], done: int, failed: int) -> Callable[[int, int], None]:
    return lambda now_done, now_failed: show(done + now_done, failed + now_failed)


@contextmanager
def _bar(images: int) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, if that is a terminal; call it with done and failed."""
    screen = Console(stderr=True)
    columns = (
        TextColumn("fetching"),
        BarColumn(),
        TextColumn(
            "{task.fields[done]} done, {task.fields[left]} left, {task.fields[failed]} failed"
        ),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=images, done=0, left=images, failed=0)

        def show(done: int, failed: int) -> None:
            left = max(0, images - done - failed)
            bar.update(task, completed=done + failed, done=done, left=left, failed=failed)

        yield show


def _troubles(outcome: StudyOutcome) -> list[str]:
    """One line for each cause, naming its images."""
    by_reason: dict[str, list[str]] = {}
    for uid, reason in outcome.failed.items():
        by_reason.setdefault(reason, []).append(uid)
    lines = []
    for reason, uids in by_reason.items():
        named = ", ".join(uids[:MOST_NAMED])
        more = f" and {len(uids) - MOST_NAMED} more" if len(uids) > MOST_NAMED else ""
        study = outcome.plan.study.study_instance_uid
        lines.append(f"E204 study {study}: not kept: {named}{more}: {reason}")
    return lines


def _print(plans: Sequence[StudyPlan], outcomes: Sequence[StudyOutcome], *, dry_run: bool) -> None:
    results = {outcome.plan.study.study_instance_uid: outcome for outcome in outcomes}
    headings = ["Study Instance UID", "date", "modalities", "images", "here already"]
    rows = []
    for plan in plans:
        study = plan.study
        row: list[object] = [
            study.study_instance_uid,
            study.study_date,
            ",".join(study.modalities),
            plan.images,
            plan.images - len(plan.wanted),
        ]
        if dry_run:
            row.append(len(plan.wanted))
        else:
            outcome = results[study.study_instance_uid]
            row += [outcome.fetched, len(outcome.failed)]
        rows.append(row)
    print_table([*headings, *(["to fetch"] if dry_run else ["fetched", "failed"])], rows)


def _as_json(
    source: str,
    plans: Sequence[StudyPlan],
    outcomes: Sequence[StudyOutcome],
    troubles: Sequence[str],
) -> dict[str, object]:
    results = {outcome.plan.study.study_instance_uid: outcome for outcome in outcomes}
    studies = []
    for plan in plans:
        uid = plan.study.study_instance_uid
        outcome = results.get(uid)
        studies.append(
            {
                "study_instance_uid": uid,
                "study_date": plan.study.study_date,
                "modalities": plan.study.modalities,
                "images": plan.images,
                "wanted": plan.wanted,
                "fetched": outcome.fetched if outcome else None,
                "failed": dict(outcome.failed) if outcome else None,
            }
        )
    return {"source": source, "studies": studies, "problems": list(troubles)}
