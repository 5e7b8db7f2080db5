"""`cadnode jobs ...` and `cadnode explain`: what the job database knows."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    age,
    app_for,
    local,
    print_json,
    print_table,
    problem,
)
from cadnode.core.errors import IllegalMove, NotFound
from cadnode.core.jobs import ANALYSIS_LANE, ExamStatus
from cadnode.core.records import ExamDetail, ExamSummary
from cadnode.core.search import ExamSearch
from cadnode.store import Store

jobs = typer.Typer(help="Exams in the job database.", no_args_is_help=True)
STUDY_WIDTH, WAITS_WIDTH = 20, 54
"""Letters of a UID and of a sentence in a list that shall fit into 120 columns."""

MOST_EXPLAINED = 1000
"""Exams of one patient whose history is told."""

MOST_OTHERS = 20
"""Exams of other studies that are named under one accession number."""

PatientOption = Annotated[
    str | None, typer.Option("--patient", help="Only exams of this Patient ID.")
]
AccessionOption = Annotated[
    str | None, typer.Option("--accession", help="Only exams under this accession number.")
]
ExamId = Annotated[int, typer.Argument(metavar="ID", help="The exam's number in `jobs list`.")]


def add_to(cli: typer.Typer) -> None:
    """Add `jobs` and `explain` to the command."""
    cli.add_typer(jobs, name="jobs")
    cli.command()(explain)


@jobs.command("list")
def list_jobs(
    status: Annotated[ExamStatus | None, typer.Option(help="Only exams in this status.")] = None,
    patient: PatientOption = None,
    accession: AccessionOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    wide: Annotated[
        bool, typer.Option("--wide", help="Whole UIDs and sentences, however long the lines.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Exams, the newest first, and what each one waits for."""
    with _store(config) as store:
        if patient or accession:
            exams = _found(store, patient, accession, status, limit + offset)[offset:]
        else:
            exams = store.records.list_exams(status, limit=limit, offset=offset)
    if as_json:
        print_json([asdict(exam) for exam in exams])
        return
    if not exams:
        nobody = f"No exam is {status}." if status else "No exam has been received yet."
        typer.echo("No exam fits." if patient or accession else nobody)
        return
    print_table(
        ["ID", "STATUS", "AGE", "IMAGES", "MARKS", "STUDY", "REV", "WAITS FOR"],
        (
            [
                exam.id,
                exam.status,
                age(exam.age_seconds),
                f"{exam.images_analyzed}/{exam.images}",
                exam.findings,
                exam.study_instance_uid if wide else _end(exam.study_instance_uid),
                exam.revision,
                exam.waits_for if wide else _begin(exam.waits_for),
            ]
            for exam in exams
        ),
    )


def _end(uid: str) -> str:
    """The end of a long UID: what tells it from others."""
    return uid if len(uid) <= STUDY_WIDTH else f"…{uid[1 - STUDY_WIDTH :]}"


def _begin(sentence: str) -> str:
    return sentence if len(sentence) <= WAITS_WIDTH else f"{sentence[: WAITS_WIDTH - 1]}…"


@jobs.command()
def show(exam_id: ExamId, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """One exam: its images, result objects, deliveries and events."""
    with _store(config) as store:
        detail = store.records.exam_detail(exam_id)
        others = [one.exam for one in store.search.others_of_accession(exam_id, limit=MOST_OTHERS)]
    if as_json:
        print_json(asdict(detail) | {"others_of_accession": [exam.id for exam in others]})
    else:
        _print_detail(detail, others)


@jobs.command()
def retry(
    exam_ids: Annotated[list[int] | None, typer.Argument(metavar="[ID...]")] = None,
    code: Annotated[
        str | None, typer.Option(help="Every exam that failed with this code, as E602.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start failed exams again at the step that failed: by number, or all of one cause."""
    if bool(exam_ids) == bool(code):
        raise typer.BadParameter("name the exams, or a --code")
    with _store(config) as store:
        if code:
            failed = store.records.list_exams(ExamStatus.FAILED, limit=1_000_000)
            exam_ids = [exam.id for exam in failed if exam.error_code == code]
        for exam_id in exam_ids or ():
            status = store.exams.retry(exam_id, by=getpass.getuser(), now=utc_now())
            if status is ExamStatus.DELIVERED:
                typer.echo(f"Exam {exam_id}: the proofs still missing are asked for at once.")
            else:
                typer.echo(f"Exam {exam_id} is {status} again.")
    if not exam_ids:
        typer.echo(f"No exam has failed with {code}.")


@jobs.command()
def cancel(
    exam_id: ExamId,
    why: Annotated[str, typer.Option(help="The reason; kept with the exam.")],
    config: ConfigOption = None,
) -> None:
    """Give an exam up for good, or the proofs that a delivered one waits for."""
    with _store(config) as store:
        store.exams.cancel(exam_id, why=why, by=getpass.getuser(), now=utc_now())
        after = store.records.exam_detail(exam_id).exam.status
    if after is ExamStatus.DELIVERED:
        typer.echo(f"Exam {exam_id} stays delivered; the proofs still missing are given up.")
    else:
        typer.echo(f"Exam {exam_id} is {after}.")


@jobs.command()
def reanalyze(
    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|STUDY...]", help="Exam numbers or Study Instance UIDs."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every study that is neither at work, cancelled nor purged."),
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="With --all: only studies whose last image came at this local time or later.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Have exams read again with the model now in the settings; new results replace the old ones.

    Exit status 1 when one of them could not be begun again, with the reason.
    """
    if bool(which) == everything or (since and not everything):
        raise typer.BadParameter("name exams or studies, or say --all (with --since, if you like)")
    refused = 0
    with _store(config) as store:
        wanted = _since(store, since) if everything else _named(store, which or [])
        for exam_id in wanted:
            try:
                new = store.exams.reanalyze(exam_id, by=getpass.getuser(), now=utc_now())
            except IllegalMove as error:
                problem(f"exam {exam_id}: {error}")
                refused += 1
            else:
                typer.echo(f"Exam {exam_id} is read again as exam {new}.")
    if not wanted:
        typer.echo("No such exam.")
    if refused:
        raise typer.Exit(1)


def _newest(store: Store) -> dict[str, ExamSummary]:
    """The newest revision of each study, by Study Instance UID, the oldest study first."""
    exams = store.records.list_exams(limit=1_000_000)
    return {exam.study_instance_uid: exam for exam in reversed(exams)}


_PASSED_OVER = ANALYSIS_LANE | {ExamStatus.CANCELLED, ExamStatus.PURGED}
"""Read soon anyway, given up, or gone: `--all` does not mean these."""


def _since(store: Store, since: datetime | None) -> list[int]:
    first = None if since is None else since.astimezone()
    return [
        exam.id
        for exam in _newest(store).values()
        if exam.status not in _PASSED_OVER and (first is None or exam.last_image_at >= first)
    ]


def _named(store: Store, which: Sequence[str]) -> list[int]:
    numbers_only = all(name.isdecimal() for name in which)
    newest = {} if numbers_only else _newest(store)
    unknown = [name for name in which if not name.isdecimal() and name not in newest]
    if unknown:
        raise NotFound(f"study {unknown[0]} is not known here")
    return [int(name) if name.isdecimal() else newest[name].id for name in which]


def explain(
    uid: Annotated[
        str | None, typer.Argument(help="A study, series, image or result object UID.")
    ] = None,
    patient: PatientOption = None,
    accession: AccessionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What happened to a study, a series, an image or a result object, in order of time; or to
    every study of a patient or under an accession number."""
    if bool(uid) == bool(patient or accession):
        raise typer.BadParameter("name a UID, or a --patient or --accession")
    with _store(config) as store:
        if uid:
            lines = list(store.records.explain(uid))
        else:
            exams = _found(store, patient, accession, None, MOST_EXPLAINED)
            studies = dict.fromkeys(exam.study_instance_uid for exam in reversed(exams))
            lines = [line for study in studies for line in store.records.explain(study)]
            lines.sort(key=lambda line: line.at)
    if not (uid or lines):
        raise NotFound("no such exam is known here")
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    for line in lines:
        typer.echo(f"{local(line.at)}  {line.text}")


def _found(
    store: Store,
    patient: str | None,
    accession: str | None,
    status: ExamStatus | None,
    limit: int,
) -> Sequence[ExamSummary]:
    search = ExamSearch(
        patient_id=patient,
        accession_number=accession,
        statuses=frozenset() if status is None else frozenset({status}),
    )
    return [found.exam for found in islice(store.search.stream(search), limit)]


@contextmanager
def _store(config: Path | None) -> Iterator[Store]:
    store = app_for(config).open_store()
    try:
        yield store
    finally:
        store.close()


def _print_detail(detail: ExamDetail, others: Sequence[ExamSummary]) -> None:
    exam = detail.exam
    typer.echo(f"Exam {exam.id}: {exam.status}, {exam.waits_for}")
    typer.echo(f"study {exam.study_instance_uid}, revision {exam.revision}")
    typer.echo(f"from {detail.calling_ae}, last image {local(exam.last_image_at)}")
    if detail.priority:
        typer.echo("urgent")
    if exam.error_code:
        typer.echo(f"{exam.error_code} {exam.error_text}")
    if detail.superseded_by:
        typer.echo(f"superseded by exam {detail.superseded_by}")
    if others:
        named = ", ".join(f"{other.id} ({other.status})" for other in others)
        typer.echo(f"other exams under this accession number: {named}")
    typer.echo()
    print_table(
        ["IMAGE", "VIEW", "STATE", "MARKS", "REASON"],
        (
            [
                image.sop_instance_uid,
                f"{image.laterality or '?'}{image.view or '?'}",
                image.state,
                len(image.findings) if image.model else "",
                f"{image.reason_code} {image.reason_text}" if image.reason_code else "",
            ]
            for image in detail.images
        ),
    )
    if exam.revision > 1:
        typer.echo(
            "Read with them: every image of the earlier revisions"
            f" (cadnode explain {exam.study_instance_uid})"
        )
    if detail.results:
        typer.echo()
        print_table(
            ["RESULT", "KIND", "FILE"],
            ([result.sop_instance_uid, result.kind, result.path] for result in detail.results),
        )
    if detail.deliveries:
        typer.echo()
        print_table(
            ["DESTINATION", "KIND", "STATUS", "PROOF", "TRIES", "WHEN", "WHY"],
            (
                [
                    delivery.destination,
                    delivery.kind,
                    delivery.status,
                    delivery.proof or "",
                    delivery.tries,
                    local(delivery.proved_at or delivery.delivered_at or delivery.due_at),
                    f"{delivery.error_code} {delivery.error_text}"
                    if delivery.error_code
                    else delivery.proof_text or "",
                ]
                for delivery in detail.deliveries
            ),
        )
    typer.echo()
    print_table(
        ["WHEN", "EVENT", "WHAT", "WHO"],
        ([local(event.at), event.kind, event.text, event.actor] for event in detail.events),
    )
