"""The demo from end to end: two exams in, results in an archive, a page that shows them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cadnode import __version__
from cadnode.config import default_models_folder
from cadnode.core.errors import CadnodeError, ModelUnfit
from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause
from cadnode.demo.archive_choice import RunningArchive, running_archive
from cadnode.demo.collecting import Sources, collect, model_facts
from cadnode.demo.exams import DemoDataMissing, DemoExam, rebuild_exams
from cadnode.demo.node_process import (
    MODALITY_AE_TITLE,
    NODE_AE_TITLE,
    RunningNode,
    running_node,
    write_settings,
)
from cadnode.demo.report import DemoResult, ExamResult, ExamView, write_report
from cadnode.demo.running import DemoFailed, free_port, log_tail
from cadnode.demo.watching import watch
from cadnode.dimse.scu import Destination, DicomSender
from cadnode.inference.bundle import Bundle, find_bundle
from cadnode.pictures import percent
from cadnode.storage.database import Database
from cadnode.storage.reading import ExamRecords

MODEL = "calc-resnet50"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the person at the terminal asks for."""

    out: Path
    seconds: float = 900.0
    """How long the exams may take."""
    small_archive: bool = False
    """Use the archive of this repository even where Orthanc is installed."""
    stay: bool = False
    """Keep node and archive running, with the console, until the person ends it."""


@dataclass(slots=True)
class _Stopwatch:
    started: float = field(default_factory=time.monotonic)
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - began))

    @property
    def total(self) -> float:
        return time.monotonic() - self.started


def run_demo(options: DemoOptions, console: Console) -> bool:
    """Run everything and leave the results in `options.out`; True when the archive holds them all.

    Raises DemoFailed with a message for the person at the terminal. Whatever happens, every
    process has ended when this returns or raises.
    """
    logs = options.out / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    (options.out / "report.html").unlink(missing_ok=True)
    stopwatch = _Stopwatch()
    bundle = _bundle()
    with tempfile.TemporaryDirectory(prefix="cadnode-demo-") as scratch:
        with stopwatch.step("Rebuild the exams"), console.status("Rebuilding the exams"):
            exams = _exams(Path(scratch) / "exams")
        result = _with_processes(options, exams, bundle, Path(scratch), console, stopwatch)
    return all(exam.delivered for exam in result.exams)


def _show(options: DemoOptions, result: DemoResult, console: Console, took: float) -> None:
    page = options.out / "report.html"
    write_report(result, page)
    console.print(_table(result))
    console.print(f"Total {took:.0f} s, the node's own work {_own_work(result):.0f} s")
    console.print(f"Open {page}")


def _with_processes(
    options: DemoOptions,
    exams: Sequence[DemoExam],
    bundle: Bundle,
    scratch: Path,
    console: Console,
    stopwatch: _Stopwatch,
) -> DemoResult:
    port, logs = free_port(), options.out / "logs"
    web_port = free_port() if options.stay else None
    began = time.monotonic()
    with (
        running_archive(
            scratch / "archive",
            logs / "archive.log",
            node_ae_title=NODE_AE_TITLE,
            node_port=port,
            small=options.small_archive,
        ) as archive,
        running_node(
            settings := write_settings(
                scratch / "node", port=port, archive=archive.destination, web_port=web_port
            ),
            logs / "node.log",
            port=port,
        ) as node,
    ):
        stopwatch.steps.append(("Start archive and node", time.monotonic() - began))
        console.print(f"Archive: {archive.product}. Node: cadnode {__version__}, port {port}.")
        data_dir = settings.parent / "data"
        database = Database(f"sqlite:///{data_dir / 'cadnode.db'}")
        try:
            records = ExamRecords(database)
            with stopwatch.step("Send, analyze, report, deliver"):
                _send_and_watch(options, exams, node, archive, records, console)
            sources = Sources(data_dir, archive.destination, bundle.spec, options.out)
            with stopwatch.step("Ask the archive, draw the pictures"):
                results = _collect(exams, records, sources, console)
        except (DemoFailed, CadnodeError) as error:
            raise DemoFailed(
                f"{error}\nThe end of the node's log:\n{log_tail(logs / 'node.log')}"
            ) from error
        finally:
            database.close()
        result = _result(archive, bundle, results, stopwatch)
        _show(options, result, console, stopwatch.total)
        if web_port is not None:
            console.print(f"The console: http://127.0.0.1:{web_port}/   Ctrl-C ends everything.")
            _stay(node, archive)
    return result


def _stay(node: RunningNode, archive: RunningArchive) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1.0)
            node.require_alive()
            archive.require_alive()


def _bundle() -> Bundle:
    try:
        return find_bundle(default_models_folder(), MODEL)
    except ModelUnfit as error:
        raise DemoFailed(f"the model is not there: {error}") from error


def _exams(folder: Path) -> list[DemoExam]:
    try:
        return rebuild_exams(folder)
    except DemoDataMissing as error:
        raise DemoFailed(str(error)) from error


def _send_and_watch(
    options: DemoOptions,
    exams: Sequence[DemoExam],
    node: RunningNode,
    archive: RunningArchive,
    records: ExamRecords,
    console: Console,
) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="modality") as modality:
        sending = modality.submit(_send, exams, node.destination)

        def require_alive() -> None:
            node.require_alive()
            archive.require_alive()

        watch(records, exams, sending, require_alive, console, seconds=options.seconds)


def _send(exams: Sequence[DemoExam], node: Destination) -> None:
    """Play the modality: one association per exam, as most of them do."""
    for exam in exams:
        outcomes = DicomSender(node, MODALITY_AE_TITLE).send(
            [
                OutgoingObject(
                    DigitalMammographyXRayImageStorageForPresentation,
                    image.sop_instance_uid,
                    image.path,
                )
                for image in exam.images
            ]
        )
        for image, outcome in zip(exam.images, outcomes, strict=True):
            if outcome.cause is not SendCause.ANSWERED or outcome.status != 0:
                said = f"0x{outcome.status:04X}" if outcome.status is not None else outcome.detail
                raise DemoFailed(
                    f"the node did not take {image.view_name} of {exam.label}:"
                    f" {outcome.cause} {said}"
                )


def _collect(
    exams: Sequence[DemoExam], records: ExamRecords, sources: Sources, console: Console
) -> list[ExamResult]:
    ids = {summary.study_instance_uid: summary.id for summary in reversed(records.list_exams())}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Pictures", total=sum(len(exam.images) for exam in exams))
        return [
            collect(
                exam,
                records.exam_detail(ids[exam.study_instance_uid]),
                sources,
                lambda: progress.advance(task),
            )
            for exam in exams
        ]


def _result(
    archive: RunningArchive,
    bundle: Bundle,
    exams: Sequence[ExamResult],
    stopwatch: _Stopwatch,
) -> DemoResult:
    return DemoResult(
        created_at=datetime.now(UTC).astimezone(),
        node_version=__version__,
        archive=archive.product,
        archive_ae_title=archive.destination.ae_title,
        model=model_facts(bundle),
        timings=(*stopwatch.steps, ("So far, before this page was written", stopwatch.total)),
        exams=tuple(exams),
    )


def _own_work(result: DemoResult) -> float:
    """Seconds from the first image kept to the last result stored, over all exams."""
    first = min(exam.received_at for exam in result.exams)
    return (max(exam.delivered_at for exam in result.exams) - first).total_seconds()


def _table(result: DemoResult) -> Table:
    table = Table("exam", "view", "findings", "destinations", "archive holds", "seconds")
    for exam in result.exams:
        destinations = sorted({a.destination for o in exam.objects for a in o.answers})
        held = sum(all(answer.found for answer in o.answers) for o in exam.objects)
        for number, view in enumerate(exam.views):
            first = number == 0
            table.add_row(
                exam.label if first else "",
                view.view_name,
                _findings(view, result.model.recommended),
                ", ".join(destinations) if first else "",
                f"{held} of {len(exam.objects)} SRs" if first else "",
                f"{exam.seconds:.1f}" if first else "",
                end_section=number == len(exam.views) - 1,
            )
    return table


def _findings(view: ExamView, recommended: int) -> str:
    if view.reason:
        return view.reason
    shown = [f for f in view.findings if f.operating_point <= recommended]
    optional = len(view.findings) - len(shown)
    parts = []
    if shown:
        parts.append(f"{len(shown)}, up to {percent(max(f.score for f in shown))}")
    if optional:
        parts.append(f"{optional} optional")
    return "; ".join(parts) or "none"
