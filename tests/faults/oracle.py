"""Says after a round what was lost, duplicated or stuck: a pure function of what was seen.

lost        an acknowledged image, or a result said to be delivered, that is not where it must be
duplicated  an exam with more than one current result set at an archive, or one nobody explains
stuck       an exam that does not end, or an image without an answer
other       files or processes left over, and whatever `cadnode fsck` finds
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from tests.faults.archive import Held
from tests.faults.ledger import SentImage

FINISHED = frozenset({"delivered", "committed", "skipped", "cancelled", "superseded", "purged"})
LOOKED_AT = frozenset({"analyzed", "set aside", "failed"})


@dataclass(frozen=True)
class ImageRow:
    """One row of `images`, with what lies on disk under its path."""

    sop_instance_uid: str
    job_id: int
    state: str
    reason: str | None
    sha256: str
    sha256_on_disk: str | None
    """None where there is no file."""


@dataclass(frozen=True)
class ResultRow:
    """One row of `results`, with its file."""

    sop_instance_uid: str
    job_id: int
    sop_class_uid: str
    predecessors: frozenset[str]
    """As the file names them."""
    whole: bool
    """The file is there with the right hash."""
    delivered_to: frozenset[str] = frozenset()
    """Archives of which the node believes that they hold it, by proof where one is wanted."""
    unproved_at: frozenset[str] = frozenset()
    """Archives that are still to prove that they hold it."""


@dataclass(frozen=True)
class ExamRow:
    """One row of `jobs`."""

    id: int
    study_instance_uid: str
    revision: int
    status: str
    error_code: str | None


@dataclass(frozen=True)
class Seen:
    """What there was to see once everything had come to rest, or had been given time to."""

    acknowledged: Sequence[SentImage]
    exams: Sequence[ExamRow]
    images: Sequence[ImageRow]
    results: Sequence[ResultRow]
    archives: Mapping[str, Mapping[str, Held]]
    """By archive and SOP Instance UID."""
    partial_files: Sequence[str] = ()
    orphans: Sequence[str] = ()
    fsck: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """Sentences; an empty verdict is a good one."""

    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Nothing was found."""
        return not (self.lost or self.duplicated or self.stuck or self.other)


@dataclass
class _Index:
    exams: dict[int, ExamRow] = field(default_factory=dict)
    images: dict[str, ImageRow] = field(default_factory=dict)


def judge(seen: Seen) -> Verdict:
    """What the invariants say of `seen`."""
    index = _Index(
        {exam.id: exam for exam in seen.exams},
        {image.sop_instance_uid: image for image in seen.images},
    )
    return Verdict(
        lost=(*_lost_images(seen, index), *_lost_results(seen, index)),
        duplicated=tuple(_duplicated(seen)),
        stuck=(*_stuck_exams(seen), *_unanswered_images(seen), *_unproved(seen, index)),
        other=(
            *(f"a partial file is left: {name}" for name in seen.partial_files),
            *(f"a process is left: {name}" for name in seen.orphans),
            *(f"fsck: {line}" for line in seen.fsck),
        ),
    )


def is_settled(exams: Iterable[ExamRow], images: Iterable[ImageRow]) -> bool:
    """Nothing is under way any more."""
    waiting = {image.job_id for image in images if image.state not in LOOKED_AT}
    return all(
        exam.status == "failed" or (exam.status in FINISHED and exam.id not in waiting)
        for exam in exams
    )


def _lost_images(seen: Seen, index: _Index) -> Iterator[str]:
    for image in seen.acknowledged:
        row = index.images.get(image.sop_instance_uid)
        if row is None:
            yield f"image {image.sop_instance_uid} was acknowledged and is not in the database"
        elif row.sha256 != image.sha256:
            yield f"image {image.sop_instance_uid} is in the database with other bytes"
        elif index.exams[row.job_id].status == "purged":
            continue
        elif row.sha256_on_disk is None:
            yield f"image {image.sop_instance_uid} was acknowledged and its file is gone"
        elif row.sha256_on_disk != image.sha256:
            yield f"image {image.sop_instance_uid} was acknowledged and its file is damaged"


def _lost_results(seen: Seen, index: _Index) -> Iterator[str]:
    for result in seen.results:
        for archive in sorted(result.delivered_to):
            if result.sop_instance_uid not in seen.archives[archive]:
                yield f"result {result.sop_instance_uid} is delivered, but {archive} has it not"
        if not result.whole and index.exams[result.job_id].status != "purged":
            yield f"the file of result {result.sop_instance_uid} is gone or damaged"
    made = {result.job_id for result in seen.results}
    for exam in seen.exams:
        if exam.status in ("reported", "delivered", "committed") and exam.id not in made:
            yield f"exam {exam.id} is {exam.status} without a result"


def _duplicated(seen: Seen) -> Iterator[str]:
    known = {result.sop_instance_uid: result for result in seen.results}
    replaced = {uid for result in seen.results for uid in result.predecessors}
    for exam_id, kind in _repeated((r.job_id, r.sop_class_uid) for r in seen.results):
        yield f"exam {exam_id} has several results of class {kind}"
    for name, held in seen.archives.items():
        for uid, item in held.items():
            if uid not in known:
                yield f"{name} holds {uid}, which no exam knows"
            if len(item.contents) > 1:
                yield f"{name} got {uid} with different bytes"
        current = held.keys() - replaced
        sorts = [(held[uid].study_instance_uid, held[uid].sop_class_uid) for uid in current]
        for study, kind in _repeated(sorts):
            yield f"{name} holds several current results of class {kind} of study {study}"
        yield from _not_newest(name, current, seen)


def _not_newest(name: str, current: Set[str], seen: Seen) -> Iterator[str]:
    """Where the newest revision of a study is delivered, its results are the current ones."""
    newest: dict[str, ExamRow] = {}
    for exam in sorted(seen.exams, key=lambda exam: exam.revision):
        if exam.status not in ("skipped", "cancelled", "superseded"):
            newest[exam.study_instance_uid] = exam
    owners = {result.sop_instance_uid: result.job_id for result in seen.results}
    revisions = {exam.id: exam for exam in seen.exams}
    for uid in sorted(current & owners.keys()):
        exam = revisions[owners[uid]]
        last = newest.get(exam.study_instance_uid, exam)
        if last.id != exam.id and last.status in ("delivered", "committed"):
            yield f"{name} holds {uid} of an older revision as current"


def _stuck_exams(seen: Seen) -> Iterator[str]:
    for exam in seen.exams:
        if exam.status == "failed":
            if not exam.error_code:
                yield f"exam {exam.id} is failed without a reason"
        elif exam.status not in FINISHED:
            yield f"exam {exam.id} is still {exam.status}"
    studies = {exam.study_instance_uid for exam in seen.exams}
    for study in {image.study_instance_uid for image in seen.acknowledged} - studies:
        yield f"study {study} has acknowledged images and no exam"


def _unanswered_images(seen: Seen) -> Iterator[str]:
    statuses = {exam.id: exam.status for exam in seen.exams}
    for image in seen.images:
        if image.state not in LOOKED_AT:
            if statuses[image.job_id] not in ("failed", "cancelled"):
                yield f"image {image.sop_instance_uid} is still {image.state}"
        elif image.state != "analyzed" and not image.reason:
            yield f"image {image.sop_instance_uid} is {image.state} without a reason"


def _unproved(seen: Seen, index: _Index) -> Iterator[str]:
    for result in seen.results:
        if index.exams[result.job_id].status in FINISHED:
            for archive in sorted(result.unproved_at):
                yield f"result {result.sop_instance_uid} is still unproved at {archive}"


def _repeated(pairs: Iterable[tuple[object, object]]) -> list[tuple[object, object]]:
    return [pair for pair, count in Counter(pairs).items() if count > 1]
