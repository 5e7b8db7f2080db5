"""What the job database answers an administrator: frozen values, one class for each kind of line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cadnode.core.exam import ExamImage, ImageState
from cadnode.core.findings import Finding
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.core.proof import ProofState


@dataclass(frozen=True, slots=True)
class ExamSummary:
    """One exam in one line: a row of the view `exam_overview`. Images are of this revision."""

    id: int
    study_instance_uid: str
    revision: int
    status: ExamStatus
    created_at: datetime
    last_image_at: datetime
    age_seconds: int
    images: int
    images_waiting: int
    images_analyzed: int
    images_set_aside: int
    images_failed: int
    findings: int
    deliveries_pending: int
    deliveries_failed: int
    proofs_pending: int
    """Deliveries whose destination has not yet proved that it holds the object."""
    error_code: str | None
    error_text: str | None
    waits_for: str
    """A plain sentence: what has to happen next."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image with what became of it."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: str
    size: int
    calling_ae: str
    received_at: datetime
    state: ImageState
    tries: int
    reason_code: str | None
    reason_text: str | None
    detail: str
    laterality: str | None
    view: str | None
    intent: str | None
    rows: int | None
    columns: int | None
    model: str | None
    analyzed_at: datetime | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One result object on disk."""

    id: int
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    path: str
    size: int
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Where one result object stands at one destination."""

    id: int
    sop_instance_uid: str
    kind: str
    destination: str
    status: DeliveryStatus
    tries: int
    due_at: datetime
    first_try_at: datetime | None
    delivered_at: datetime | None
    dicom_status: int | None
    error_code: str | None
    error_text: str | None
    proof: ProofState | None
    """None where no proof is wanted, and while the object is not delivered."""
    proof_text: str | None
    proved_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One thing that happened."""

    exam_id: int | None
    at: datetime
    kind: str
    code: str | None
    text: str
    actor: str
    subject_uid: str | None
    """The image or result object it happened to; None when it happened to the exam."""


@dataclass(frozen=True, slots=True)
class ExamDetail:
    """Everything known of one exam, each part in order of time."""

    exam: ExamSummary
    calling_ae: str
    due_at: datetime
    lease_owner: str | None
    lease_until: datetime | None
    tries: int
    analyzed_at: datetime | None
    finished_at: datetime | None
    failed_from: ExamStatus | None
    superseded_by: int | None
    """The id of the exam that is the study's newer revision."""
    priority: int
    """Above 0: before others."""
    images: tuple[ImageRecord, ...]
    results: tuple[ResultRecord, ...]
    deliveries: tuple[DeliveryRecord, ...]
    events: tuple[EventRecord, ...]


@dataclass(frozen=True, slots=True)
class ExplainLine:
    """One sentence of a history."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class StudyImage:
    """One image that a revision of an exam is about, also one of an earlier revision."""

    exam_id: int
    """The revision that it arrived in."""
    image: ExamImage
    purged: bool
    """Its file is gone."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One exam of the same study."""

    exam_id: int
    revision: int
    status: ExamStatus
    created_at: datetime
