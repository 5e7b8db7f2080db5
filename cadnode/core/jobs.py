"""The states of an exam and of a delivery, and every move between them, each as one table.

receiving -> analyzed -> reported -> delivered -> committed -> purged
    |                                     \\_________________-> purged
    \\-> skipped -> purged
any of receiving, analyzed, reported -> failed -> (a person) retry or give up
any of receiving, analyzed, reported, failed -> superseded -> purged
delivered, committed -> reported       (a destination does not hold what it said it stored, or a
                                        person wants it sent again)
any that is not finished -> cancelled -> purged                  (a person)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType

from cadnode.core.exam import ExamImage
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers


class ExamStatus(StrEnum):
    """A fact already on disk about an exam, never an intention."""

    RECEIVING = "receiving"
    """Images are kept; more may come, or some are still to be analyzed."""
    ANALYZED = "analyzed"
    """The exam is closed: every image is analyzed, set aside or failed, each with its reason."""
    REPORTED = "reported"
    """The result objects are files on disk."""
    DELIVERED = "delivered"
    """Every enabled destination answered that it stored its objects; proofs may be missing."""
    COMMITTED = "committed"
    """Every destination that is to prove what it holds has committed or was found to hold it."""
    PURGED = "purged"
    """The retention is over: the files are deleted, the rows stay."""
    SKIPPED = "skipped"
    """Nothing in it that this node reads; no result object was due."""
    FAILED = "failed"
    """A step ended for good; a person decides."""
    CANCELLED = "cancelled"
    """A person gave it up, with a reason."""
    SUPERSEDED = "superseded"
    """A newer revision of the exam was reported before anybody had got this one."""


_S = ExamStatus
_ENDS = (_S.CANCELLED, _S.SUPERSEDED)

MOVES: Mapping[ExamStatus, frozenset[ExamStatus]] = MappingProxyType(
    {
        _S.RECEIVING: frozenset({_S.ANALYZED, _S.SKIPPED, _S.FAILED, *_ENDS}),
        _S.ANALYZED: frozenset({_S.REPORTED, _S.FAILED, *_ENDS}),
        _S.REPORTED: frozenset({_S.DELIVERED, _S.FAILED, *_ENDS}),
        _S.DELIVERED: frozenset({_S.COMMITTED, _S.REPORTED, _S.PURGED}),
        _S.COMMITTED: frozenset({_S.REPORTED, _S.PURGED}),
        _S.SKIPPED: frozenset({_S.PURGED}),
        _S.FAILED: frozenset({_S.RECEIVING, _S.ANALYZED, _S.REPORTED, *_ENDS}),
        _S.CANCELLED: frozenset({_S.PURGED}),
        _S.SUPERSEDED: frozenset({_S.PURGED}),
        _S.PURGED: frozenset(),
    }
)

ANALYSIS_LANE = frozenset({_S.RECEIVING, _S.ANALYZED})
"""What the analysis lane claims; the delivery lane claims deliveries, not exams."""

FINISHED = frozenset({_S.DELIVERED, _S.COMMITTED, _S.SKIPPED, *_ENDS, _S.PURGED})
"""Nothing further happens by itself except proofs and the end of the retention time."""


class DeliveryStatus(StrEnum):
    """Where one result object stands at one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Refused for good, or out of patience; a person decides."""
    SUPERSEDED = "superseded"
    """Not sent any more: a newer revision of the exam was reported first."""
    CANCELLED = "cancelled"


def status_after_deliveries(deliveries: Iterable[DeliveryStatus]) -> ExamStatus | None:
    """The status of a reported exam given its deliveries, or None while one is pending.

    One that nobody got is `delivered` only when nobody was to get it.
    """
    seen = set(deliveries)
    if DeliveryStatus.PENDING in seen:
        return None
    if DeliveryStatus.FAILED in seen:
        return ExamStatus.FAILED
    if not seen or DeliveryStatus.DELIVERED in seen:
        return ExamStatus.DELIVERED
    superseded = DeliveryStatus.SUPERSEDED in seen
    return ExamStatus.SUPERSEDED if superseded else ExamStatus.CANCELLED


class Priority(IntEnum):
    """Which exams go first, in the analysis lane and to each destination."""

    NORMAL = 0
    URGENT = 1


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that has just been written to the spool, synced and renamed."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: str
    """Relative to the data directory."""
    size: int
    sha256: str
    calling_ae: str
    identifiers: ExamIdentifiers = NO_IDENTIFIERS
    """What its exam is to be found by; empty when the site keeps none."""


class Acceptance(StrEnum):
    """What became of a received image."""

    NEW = "new"
    SAME = "the same bytes were kept before"
    CHANGED = "other bytes under a SOP Instance UID that is kept: they take its place"
    CONFLICT = "this SOP Instance UID is kept in another study"


@dataclass(frozen=True, slots=True)
class Exam:
    """One exam at one revision, as claimed by a worker.

    `images` are all images of the study up to this revision, in order of arrival; those of earlier
    revisions keep their findings.
    """

    id: int
    study_instance_uid: str
    revision: int
    status: ExamStatus
    owner: str
    lease_until: datetime
    tries: int
    """Claims since the last step that went well, this one included."""
    created_at: datetime
    last_image_at: datetime
    analyzed_at: datetime | None
    """When the exam was closed; the creation time written into its result objects."""
    images: tuple[ExamImage, ...]
    renews: bool = False
    """Something of the earlier revision no longer holds (an image was replaced, a person asked):
    this one is reported even when none of its own images is new to read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a step did not go well, as it is kept in the database."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One result object on disk."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    path: str
    """Relative to the data directory."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One result object due at one destination, as claimed by a sender."""

    id: int
    exam_id: int
    destination: str
    owner: str
    result: StoredResult
    tries: int
    """Claims so far, this one included."""
    first_try_at: datetime
