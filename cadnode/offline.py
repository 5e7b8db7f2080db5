"""`cadnode analyze`: the node's own pipeline on files, without network and without its database.

The files go through the same store and the same steps as received images, on a throw-away
database, so that the answer is the node's answer.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cadnode import __version__
from cadnode.app import App, once, utc_now
from cadnode.core.errors import CadnodeError, ImageFailed, ImageUnreachable
from cadnode.core.exam import BuiltResult, ExamRules, ImageState
from cadnode.core.findings_file import ImageEntry, ModelFacts, findings_file
from cadnode.core.jobs import Acceptance, Exam, NewImage, StoredResult
from cadnode.core.mammogram import ImageHeader
from cadnode.core.model import ModelSpec
from cadnode.core.ports import MammogramReader
from cadnode.core.records import ImageRecord
from cadnode.pictures import draw_marks, save_png
from cadnode.pipeline import Pipeline
from cadnode.result_parts import REPORTS
from cadnode.store import Store

LEASE = timedelta(days=1)

ALL_AT_ONCE = ExamRules(expected_views=frozenset(), quiet_seconds=0.0)
"""Every file is there already: an exam is complete when they have been looked at."""


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file; `image` where it got as far as the pipeline."""

    path: Path
    state: ImageState
    reason_code: str | None = None
    detail: str = ""
    header: ImageHeader | None = None
    image: ImageRecord | None = None
    picture: Path | None = None

    def line(self, recommended: int) -> str:
        """One line for a person; marks above the `recommended` operating point are optional."""
        if self.image is None or self.reason_code:
            reason = f"{self.reason_code} " if self.reason_code else ""
            return f"{self.path}: {self.state}: {reason}{self.detail}"
        marks = sum(f.operating_point <= recommended for f in self.image.findings)
        optional = len(self.image.findings) - marks
        view = f"{self.image.laterality}{self.image.view}"
        more = f", {optional} optional" if optional else ""
        return f"{self.path}: {view}: {marks or 'no'} mark{'' if marks == 1 else 's'}{more}"


@dataclass(frozen=True, slots=True)
class OfflineRun:
    """The outcome of all files, in the order they were found, and the objects written."""

    files: tuple[FileOutcome, ...]
    results: tuple[tuple[str, Path], ...]
    """Kind and path of each result object."""
    problems: tuple[str, ...]
    """What went wrong beyond single images, one line each."""
    recommended: int
    """The operating point shown by default; marks above it are optional."""

    @property
    def failed(self) -> bool:
        """True when something that should have been analyzed was not."""
        return bool(self.problems) or any(f.state is ImageState.FAILED for f in self.files)


class OutFolder:
    """Result objects side by side in one folder; images stay where they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep_result(self, study_instance_uid: str, built: BuiltResult) -> StoredResult:
        """Write the object as `<study>.<kind>.dcm`, or `<study>.<kind>.<part>.dcm`."""
        name = ".".join(filter(None, (study_instance_uid, built.kind, built.part, "dcm")))
        path = self._folder / name
        path.write_bytes(built.content)
        return StoredResult(
            kind=built.kind,
            sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
            series_instance_uid=built.series_instance_uid,
            path=str(path),
            sha256=hashlib.sha256(built.content).hexdigest(),
            size=len(built.content),
        )

    def path_of(self, relative: str) -> Path:
        """The file itself: paths are absolute here."""
        return Path(relative)

    def remove(self, relative: str) -> None:
        """Delete the file if it is there."""
        Path(relative).unlink(missing_ok=True)


def analyze_files(
    app: App,
    paths: Sequence[Path],
    out: Path,
    progress: Callable[[int, int], None],
    kinds: Collection[str] = REPORTS,
) -> OfflineRun:
    """Analyze DICOM files and folders of them; write result objects, pictures and `findings.json`
    to `out`.

    `kinds` are those of the objects. `progress` gets the number of images done and the number of all. Raises ModelUnfit; whatever
    else goes wrong stands in the returned run.
    """
    classifier = once(app.classifier)
    spec = classifier().spec
    reader = app.reader()
    with tempfile.TemporaryDirectory(prefix="cadnode-") as scratch:
        store = app.open_store(create=True, url=f"sqlite:///{Path(scratch) / 'analyze.db'}")
        try:
            outcomes = [_accept(reader, store, path, named) for path, named in _files(paths)]
            pipeline = app.pipeline(
                store.exams,
                OutFolder(out),
                classifier=classifier,
                senders={},
                exam_rules=ALL_AT_ONCE,
                kinds=kinds,
            )
            problems = _run_all(store, pipeline, progress)
            details = [
                store.records.exam_detail(summary.id)
                for summary in store.records.list_exams(limit=1_000_000)
            ]
        finally:
            store.close()
    images = {image.sop_instance_uid: image for detail in details for image in detail.images}
    outcomes = [_settled(outcome, images) for outcome in outcomes]
    run = OfflineRun(
        files=tuple(_with_picture(outcome, out, reader, spec) for outcome in outcomes),
        results=tuple(
            (result.kind, Path(result.path)) for detail in details for result in detail.results
        ),
        problems=tuple(problems),
        recommended=spec.recommended,
    )
    (out / "findings.json").write_text(json.dumps(as_json(run, spec), indent=2) + "\n")
    return run


def as_json(run: OfflineRun, spec: ModelSpec) -> dict[str, Any]:
    """What `findings.json` holds, see `core.findings_file`."""
    return findings_file(
        version=__version__,
        model=ModelFacts(spec.name, spec.version, spec.thresholds, spec.recommended),
        images=[_file_entry(outcome) for outcome in run.files],
        results=[(kind, path.name) for kind, path in run.results],
        problems=run.problems,
    )


def _file_entry(outcome: FileOutcome) -> ImageEntry:
    header = outcome.header
    return ImageEntry(
        path=str(outcome.path),
        sop_instance_uid=header.sop_instance_uid if header else None,
        study_instance_uid=header.study_instance_uid if header else None,
        laterality=header.laterality if header else None,
        view=header.view if header else None,
        rows=header.rows if header else None,
        columns=header.columns if header else None,
        state=outcome.state,
        reason_code=outcome.reason_code,
        reason_text=outcome.detail,
        findings=outcome.image.findings if outcome.image else (),
        picture=outcome.picture.name if outcome.picture else None,
    )


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file once, and whether it was named itself (rather than found in a folder)."""
    seen = set()
    for path in paths:
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, not path.is_dir()


def _accept(reader: MammogramReader, store: Store, path: Path, named: bool) -> FileOutcome:
    try:
        header = reader.header(path)
    except ImageFailed as failure:
        if named:
            return FileOutcome(path, ImageState.FAILED, failure.reason.code, failure.reason.text)
        # A folder of images may hold other files.
        return FileOutcome(path, ImageState.SET_ASIDE, None, "not a DICOM file")
    except ImageUnreachable as error:
        return FileOutcome(path, ImageState.FAILED, error.code, error.detail)
    content = path.read_bytes()
    acceptance = store.exams.accept(
        NewImage(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            path=str(path.resolve()),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            calling_ae="ANALYZE",
        ),
        now=utc_now(),
    )
    if acceptance is Acceptance.CONFLICT:
        return FileOutcome(path, ImageState.FAILED, "E202", str(acceptance), header)
    if acceptance is Acceptance.SAME:
        return FileOutcome(path, ImageState.SET_ASIDE, None, "the same image as before", header)
    return FileOutcome(path, ImageState.RECEIVED, header=header)


def _run_all(store: Store, pipeline: Pipeline, progress: Callable[[int, int], None]) -> list[str]:
    total = sum(summary.images for summary in store.records.list_exams(limit=1_000_000))
    done = 0
    problems = []
    while exam := store.exams.claim_exam("analyze", now=utc_now(), lease=LEASE):
        waiting = sum(image.state is ImageState.RECEIVED for image in exam.images)
        progress(done, total)
        problem = _advance(pipeline, exam)
        if problem:
            problems.append(f"study {exam.study_instance_uid}: {problem}")
        done += waiting
    progress(total, total)
    return problems


def _advance(pipeline: Pipeline, exam: Exam) -> str | None:
    try:
        pipeline.advance(exam, lambda: None)
    except CadnodeError as error:
        # The lease stays with us: this exam is not tried again.
        return str(error)
    return None


def _settled(outcome: FileOutcome, images: dict[str, ImageRecord]) -> FileOutcome:
    if outcome.state is not ImageState.RECEIVED or outcome.header is None:
        return outcome
    image = images[outcome.header.sop_instance_uid]
    return replace(
        outcome,
        state=image.state,
        reason_code=image.reason_code,
        detail=image.reason_text or "",
        image=image,
    )


def _with_picture(
    outcome: FileOutcome, out: Path, reader: MammogramReader, spec: ModelSpec
) -> FileOutcome:
    if outcome.state is not ImageState.ANALYZED or not (outcome.header and outcome.image):
        return outcome
    mammogram = reader.mammogram(outcome.path, outcome.header)
    picture = out / f"{outcome.header.sop_instance_uid}.png"
    save_png(
        draw_marks(
            mammogram.pixels,
            outcome.image.findings,
            spacing=mammogram.spacing,
            view_name=f"{mammogram.laterality}{mammogram.view}",
            recommended=spec.recommended,
        ),
        picture,
    )
    return replace(outcome, picture=picture)
