"""What must hold between exams, files and deliveries, as pure checks on a snapshot of them.

The codes stand in `docs/operations.md` with what to do; a test compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cadnode.core.exam import ImageState
from cadnode.core.jobs import ANALYSIS_LANE, FINISHED, DeliveryStatus, ExamStatus
from cadnode.core.proof import OPEN_PROOFS

STUCK_AFTER = timedelta(hours=1)
"""Work due for so long that nobody has taken is worth a look."""


class Kind(Enum):
    """A way in which the node contradicts itself: code, is it an error, and what it means."""

    DATABASE_DAMAGED = ("F101", True, "the database fails its own integrity check")
    REFERENCE_BROKEN = ("F102", True, "a row refers to one that is not there")
    STATUS_UNKNOWN = ("F103", True, "a status or state that this program does not know")
    IMAGE_MISSING = ("F201", True, "the file of an image is missing")
    IMAGE_ALTERED = ("F202", True, "the file of an image has another size or other bytes")
    RESULT_MISSING = ("F203", True, "the file of a result object is missing")
    RESULT_ALTERED = ("F204", True, "the file of a result object has another size or other bytes")
    FILE_UNKNOWN = ("F205", False, "a file that no exam knows")
    FILE_PARTIAL = ("F206", False, "a file of which only a part was written")
    PERMISSIONS = ("F207", True, "others than the node's own user may read or write")
    IMAGE_LOST = ("F301", True, "an image was acknowledged but is in no exam")
    EXAM_EMPTY = ("F302", True, "an exam that is not finished has no image")
    RESULTS_MISSING = ("F303", True, "an exam is reported but has no result object")
    DELIVERY_OPEN = ("F304", True, "an exam is finished but a delivery or its proof is not")
    NOTHING_PENDING = ("F305", True, "an exam waits for deliveries that have all ended")
    REASON_MISSING = ("F306", True, "an exam failed without a reason or a step to start again at")
    END_MISSING = ("F307", True, "a finished exam has no time at which it ended")
    CURRENT_TWICE = ("F308", True, "a study has two current sets of results")
    SUPERSEDED_WRONGLY = ("F309", True, "an exam is superseded by one that is not its newer one")
    DESTINATION_UNKNOWN = ("F310", True, "a delivery waits for a destination that is not set up")
    DESTINATION_OFF = ("F311", False, "a delivery waits for a destination that is not enabled")
    IMAGE_UNREAD = ("F312", True, "a closed exam has an image that was never looked at")
    STUCK = ("F313", False, "work has been due for more than an hour and nobody has taken it")
    ARCHIVE_LACKS = ("F401", True, "a destination does not hold an object that it stored")

    def __init__(self, code: str, is_error: bool, text: str) -> None:
        self.code = code
        self.is_error = is_error
        """False: worth knowing, nothing is lost and nothing will be."""
        self.text = text


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not hold. Names UIDs, paths and numbers, never a patient."""

    kind: Kind
    subject: str
    """What it is about: a path, a UID, or `exam 17`."""
    detail: str = ""
    exam_id: int | None = None

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.kind.code} {self.subject}: {self.kind.text}{detail}"


@dataclass(frozen=True, slots=True)
class ExamFacts:
    """A row of an exam, its status as it is written."""

    id: int
    study_instance_uid: str
    revision: int
    status: str
    error_code: str | None
    failed_from: str | None
    finished_at: datetime | None
    due_at: datetime
    lease_until: datetime | None
    superseded_by: int | None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A row of an image."""

    exam_id: int
    sop_instance_uid: str
    state: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReplacedFacts:
    """A row of an image that other bytes took the place of; its file stays with its exam."""

    exam_id: int
    sop_instance_uid: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ResultFacts:
    """A row of a result object."""

    id: int
    exam_id: int
    sop_instance_uid: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """A row of a delivery."""

    id: int
    exam_id: int
    result_id: int
    destination: str
    status: str
    due_at: datetime
    lease_until: datetime | None
    proof: str | None = None
    proof_due_at: datetime | None = None

    @property
    def awaits_proof(self) -> bool:
        """The destination has stored it and has still to prove that it holds it."""
        return self.status == DeliveryStatus.DELIVERED and self.proof in OPEN_PROOFS


@dataclass(frozen=True)
class NodeFacts:
    """Everything the database says at one moment."""

    exams: Mapping[int, ExamFacts]
    images: Sequence[ImageFacts]
    results: Sequence[ResultFacts]
    deliveries: Sequence[DeliveryFacts]
    replaced: Sequence[ReplacedFacts] = ()
    acknowledged: frozenset[str] = frozenset()
    """SOP Instance UIDs that the history says were received and kept."""
    silent: frozenset[str] = frozenset()
    """Destinations that do not answer: the node knows, and what waits for them is not stuck."""

    def is_purged(self, exam_id: int) -> bool:
        """True when the exam's files are gone on purpose."""
        exam = self.exams.get(exam_id)
        return exam is not None and exam.status == ExamStatus.PURGED

    def deliveries_of(self) -> Mapping[int, Sequence[DeliveryFacts]]:
        """By exam."""
        found: dict[int, list[DeliveryFacts]] = defaultdict(list)
        for delivery in self.deliveries:
            found[delivery.exam_id].append(delivery)
        return found


def contradictions(
    facts: NodeFacts, *, destinations: Mapping[str, bool], now: datetime
) -> list[Discrepancy]:
    """Everything in `facts` that contradicts itself; `destinations` says which are enabled."""
    found = [item for check in _CHECKS for item in check(facts)]
    found.extend(_destinations(facts, destinations))
    found.extend(_stuck(facts, destinations, now))
    return found


def _of(kind: Kind, exam: ExamFacts, detail: str = "") -> Discrepancy:
    return Discrepancy(kind, f"exam {exam.id}", detail, exam.id)


def _unknown_words(facts: NodeFacts) -> Iterator[Discrepancy]:
    statuses, states = set(ExamStatus), set(ImageState)
    for exam in facts.exams.values():
        if exam.status not in statuses:
            yield _of(Kind.STATUS_UNKNOWN, exam, repr(exam.status))
    for image in facts.images:
        if image.state not in states:
            yield Discrepancy(
                Kind.STATUS_UNKNOWN, image.sop_instance_uid, repr(image.state), image.exam_id
            )
    for delivery in facts.deliveries:
        if delivery.status not in set(DeliveryStatus):
            yield Discrepancy(
                Kind.STATUS_UNKNOWN,
                f"delivery {delivery.id}",
                repr(delivery.status),
                delivery.exam_id,
            )


def _lost_images(facts: NodeFacts) -> Iterator[Discrepancy]:
    for image in facts.images:
        if image.exam_id not in facts.exams:
            yield Discrepancy(Kind.IMAGE_LOST, image.sop_instance_uid, "its exam is gone")
    for uid in sorted(facts.acknowledged - {image.sop_instance_uid for image in facts.images}):
        yield Discrepancy(Kind.IMAGE_LOST, uid, "its row is gone")


def _empty_exams(facts: NodeFacts) -> Iterator[Discrepancy]:
    # An exam may live on the images of other revisions: those of earlier ones are read again for
    # a new model, and an image whose bytes were replaced belongs to the newest one.
    having = {image.exam_id for image in facts.images}
    having |= {image.exam_id for image in facts.replaced}
    alive = {
        exam.study_instance_uid
        for exam in facts.exams.values()
        if exam.id in having and exam.status != ExamStatus.PURGED
    }
    for exam in facts.exams.values():
        if exam.status not in FINISHED and exam.study_instance_uid not in alive:
            yield _of(Kind.EXAM_EMPTY, exam)


def _unreported(facts: NodeFacts) -> Iterator[Discrepancy]:
    have = {result.exam_id for result in facts.results}
    reported = (ExamStatus.REPORTED, ExamStatus.DELIVERED, ExamStatus.COMMITTED)
    for exam in facts.exams.values():
        if exam.status in reported and exam.id not in have:
            yield _of(Kind.RESULTS_MISSING, exam)


def _open_deliveries(facts: NodeFacts) -> Iterator[Discrepancy]:
    ended = FINISHED - {ExamStatus.SKIPPED}
    settled = (ExamStatus.COMMITTED, ExamStatus.PURGED)
    by_exam = facts.deliveries_of()
    for exam in facts.exams.values():
        statuses = [delivery.status for delivery in by_exam.get(exam.id, ())]
        is_open = DeliveryStatus.PENDING in statuses
        awaits_proof = any(delivery.awaits_proof for delivery in by_exam.get(exam.id, ()))
        if (exam.status in ended and is_open) or (exam.status in settled and awaits_proof):
            yield _of(Kind.DELIVERY_OPEN, exam, f"the exam is {exam.status}")
        elif exam.status == ExamStatus.REPORTED and not is_open:
            yield _of(Kind.NOTHING_PENDING, exam)


def _without_reason(facts: NodeFacts) -> Iterator[Discrepancy]:
    for exam in facts.exams.values():
        if exam.status == ExamStatus.FAILED and not (exam.error_code and exam.failed_from):
            yield _of(Kind.REASON_MISSING, exam)
        if exam.status in FINISHED and exam.finished_at is None:
            yield _of(Kind.END_MISSING, exam)


def _superseding(facts: NodeFacts) -> Iterator[Discrepancy]:
    current: dict[str, list[ExamFacts]] = defaultdict(list)
    for exam_id in sorted({result.exam_id for result in facts.results}):
        exam = facts.exams.get(exam_id)
        if exam is not None and exam.superseded_by is None:
            current[exam.study_instance_uid].append(exam)
    for exams in current.values():
        if len(exams) > 1:
            others = ", ".join(f"exam {exam.id}" for exam in exams[:-1])
            yield _of(Kind.CURRENT_TWICE, exams[-1], f"not superseded: {others}")
    for exam in facts.exams.values():
        if exam.superseded_by is None:
            continue
        newer = facts.exams.get(exam.superseded_by)
        if (
            newer is None
            or newer.study_instance_uid != exam.study_instance_uid
            or newer.revision <= exam.revision
        ):
            yield _of(Kind.SUPERSEDED_WRONGLY, exam, f"exam {exam.superseded_by}")


def _unread_images(facts: NodeFacts) -> Iterator[Discrepancy]:
    # While a revision is open, or a person may open one again, any image of its study may be
    # waiting for it.
    at_rest = {*FINISHED, ExamStatus.ANALYZED, ExamStatus.REPORTED} - {ExamStatus.CANCELLED}
    moving = {e.study_instance_uid for e in facts.exams.values() if e.status not in at_rest}
    for image in facts.images:
        exam = facts.exams.get(image.exam_id)
        if (
            exam is not None
            and exam.study_instance_uid not in moving
            and exam.status != ExamStatus.PURGED
            and image.state == ImageState.RECEIVED
        ):
            yield Discrepancy(Kind.IMAGE_UNREAD, image.sop_instance_uid, f"exam {exam.id}", exam.id)


def _destinations(facts: NodeFacts, destinations: Mapping[str, bool]) -> Iterator[Discrepancy]:
    for delivery in facts.deliveries:
        waits = delivery.status == DeliveryStatus.PENDING or delivery.awaits_proof
        if not waits or destinations.get(delivery.destination):
            continue
        known = delivery.destination in destinations
        kind = Kind.DESTINATION_OFF if known else Kind.DESTINATION_UNKNOWN
        exam = f"exam {delivery.exam_id}"
        yield Discrepancy(kind, f"delivery {delivery.id}", f"{exam}, {delivery.destination}")


def _stuck(
    facts: NodeFacts, destinations: Mapping[str, bool], now: datetime
) -> Iterator[Discrepancy]:
    def is_late(due_at: datetime, lease_until: datetime | None) -> bool:
        free_since = due_at if lease_until is None else max(due_at, lease_until)
        return now - free_since > STUCK_AFTER

    for exam in facts.exams.values():
        if exam.status in ANALYSIS_LANE and is_late(exam.due_at, exam.lease_until):
            yield _of(Kind.STUCK, exam, "is a worker running?")
    for delivery in facts.deliveries:
        due_at = delivery.proof_due_at if delivery.awaits_proof else delivery.due_at
        is_open = delivery.awaits_proof or delivery.status == DeliveryStatus.PENDING
        if (
            is_open
            and due_at is not None
            and destinations.get(delivery.destination)
            and delivery.destination not in facts.silent
            and is_late(due_at, delivery.lease_until)
        ):
            yield Discrepancy(
                Kind.STUCK,
                f"delivery {delivery.id}",
                f"exam {delivery.exam_id} to {delivery.destination}",
                delivery.exam_id,
            )


_CHECKS: tuple[Callable[[NodeFacts], Iterator[Discrepancy]], ...] = (
    _unknown_words,
    _lost_images,
    _empty_exams,
    _unreported,
    _open_deliveries,
    _without_reason,
    _superseding,
    _unread_images,
)
