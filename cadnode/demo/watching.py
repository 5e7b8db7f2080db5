"""Follows the exams in the node's job database until they are done, with a progress display."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cadnode.core.errors import DatabaseUnavailable, ModelUnfit
from cadnode.core.jobs import ExamStatus
from cadnode.core.records import ExamSummary
from cadnode.demo.exams import DemoExam
from cadnode.demo.running import DemoFailed
from cadnode.storage.reading import ExamRecords

DONE = frozenset({ExamStatus.DELIVERED, ExamStatus.COMMITTED})
_LOST = frozenset({ExamStatus.FAILED, ExamStatus.SKIPPED, ExamStatus.CANCELLED})
_REPORTED = DONE | {ExamStatus.REPORTED}

_POLL_SECONDS = 0.2


def watch(
    records: ExamRecords,
    exams: Sequence[DemoExam],
    sending: Future[None],
    require_alive: Callable[[], None],
    console: Console,
    *,
    seconds: float,
) -> Mapping[str, ExamSummary]:
    """The last summary of every exam by Study Instance UID, once all are delivered.

    Raises DemoFailed when an exam ends otherwise or `seconds` have passed, and whatever `sending`
    raised and `require_alive` raises, which is called again and again.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + seconds
    with Progress(*columns, console=console) as progress:
        tasks = {
            exam.study_instance_uid: progress.add_task(
                exam.label, total=2 * len(exam.images) + 2, state="to be sent"
            )
            for exam in exams
        }
        while True:
            require_alive()
            if sending.done():
                sending.result()
            found = _latest(records)
            for exam in exams:
                summary = found.get(exam.study_instance_uid)
                if summary is not None:
                    _show(progress, tasks[exam.study_instance_uid], exam, summary)
            if all(
                (summary := found.get(uid)) is not None and summary.status in DONE for uid in tasks
            ):
                return {uid: found[uid] for uid in tasks}
            if time.monotonic() > deadline:
                raise DemoFailed(f"not done after {seconds:.0f} s: {_where(exams, found.get)}")
            time.sleep(_POLL_SECONDS)


def _latest(records: ExamRecords) -> dict[str, ExamSummary]:
    try:
        summaries = records.list_exams()
    except DatabaseUnavailable:
        # The node may be making it just now; the deadline ends this.
        return {}
    # The newest first: an older revision does not replace it.
    return {summary.study_instance_uid: summary for summary in reversed(summaries)}


def _show(progress: Progress, task: TaskID, exam: DemoExam, summary: ExamSummary) -> None:
    images = len(exam.images)
    read = summary.images_analyzed + summary.images_failed + summary.images_set_aside
    reported, delivered = summary.status in _REPORTED, summary.status in DONE
    parts = [f"received {summary.images}/{images}", f"analyzed {read}/{images}"]
    parts += ["reported"] * reported + ["delivered"] * delivered
    progress.update(
        task, completed=summary.images + read + reported + delivered, state=", ".join(parts)
    )
    if delivered:
        progress.stop_task(task)
    # A model that cannot be used is waited for by the node, but nobody mends it during a demo.
    if summary.status in _LOST or summary.error_code == ModelUnfit.code:
        why = f"{summary.error_code} {summary.error_text}" if summary.error_code else ""
        raise DemoFailed(f"{exam.label} is {summary.status}. {why or summary.waits_for}")


def _where(exams: Sequence[DemoExam], find: Callable[[str], ExamSummary | None]) -> str:
    lines = []
    for exam in exams:
        summary = find(exam.study_instance_uid)
        lines.append(f"{exam.label} {summary.waits_for if summary else 'has not arrived'}")
    return "; ".join(lines)
