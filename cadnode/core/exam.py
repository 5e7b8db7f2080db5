"""An exam: its images, when it is complete, and what was found in it. Pure values and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cadnode.core.findings import Finding
from cadnode.core.mammogram import Intent, Laterality
from cadnode.core.reasons import Reason


class ImageState(StrEnum):
    """Where one image of an exam stands."""

    RECEIVED = "received"
    """Kept, not looked at yet, or a For Processing image held until its exam is complete."""
    ANALYZED = "analyzed"
    """The model has scored it; it may have findings or none."""
    SET_ASIDE = "set aside"
    """Not of a kind this node reads (N1xx)."""
    FAILED = "failed"
    """It should have been read but could not be (N2xx)."""


@dataclass(frozen=True, slots=True)
class ExamImage:
    """One image as the job database knows it."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: str
    """Relative to the data directory."""
    size: int
    sha256: str
    revision: int
    """The revision of the exam that the image arrived in."""
    received_at: datetime
    calling_ae: str
    state: ImageState = ImageState.RECEIVED
    tries: int = 0
    reason: Reason | None = None
    detail: str = ""
    laterality: Laterality | None = None
    view: str | None = None
    intent: Intent | None = None
    source_uids: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    model: str | None = None
    analyzed_at: datetime | None = None
    findings: tuple[Finding, ...] = ()
    returned: bool = False
    """Came again, unchanged, after it was purged; a result of its exam had been delivered."""

    @property
    def view_name(self) -> str:
        """`RCC`, `LMLO`, ...; `?` where the image does not say."""
        return f"{self.laterality or '?'}{self.view or '?'}"


@dataclass(frozen=True, slots=True)
class ExamRules:
    """When an exam is complete."""

    expected_views: frozenset[str]
    """View names with laterality, as `RCC`."""
    quiet_seconds: float
    """How long after its last image an exam without all expected views is closed."""


class CompletedBy(StrEnum):
    """Why an exam was closed."""

    VIEWS = "all expected views are there"
    QUIET = "no further image came in the quiet time"


def completed_by(
    images: Sequence[ExamImage], rules: ExamRules, *, last_image_at: datetime, now: datetime
) -> CompletedBy | None:
    """Why the exam is complete at `now`, or None while images may still be missing.

    For Processing images count towards completeness only through the quiet time: while it runs,
    their For Presentation image may still come (FIELD: both kinds arrive at some sites).
    """
    done = {
        image.view_name
        for image in images
        if image.state in (ImageState.ANALYZED, ImageState.FAILED)
        and image.intent is not Intent.PROCESSING
    }
    waiting = any(image.state is ImageState.RECEIVED and image.intent is None for image in images)
    if rules.expected_views and rules.expected_views <= done and not waiting:
        return CompletedBy.VIEWS
    if (now - last_image_at).total_seconds() >= rules.quiet_seconds:
        return CompletedBy.QUIET
    return None


def superseded_by_presentation(image: ExamImage, images: Sequence[ExamImage]) -> bool:
    """True for a For Processing image whose view was analyzed from a For Presentation image.

    The link is backward only (Source Image Sequence of the For Presentation image); where a
    sender leaves it out, the same laterality and view is taken as the same exposure.
    """
    if image.intent is not Intent.PROCESSING:
        return False
    return any(
        other.intent is Intent.PRESENTATION
        and other.state is ImageState.ANALYZED
        and (
            image.sop_instance_uid in other.source_uids
            or (not other.source_uids and other.view_name == image.view_name)
        )
        for other in images
    )


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What analyzed the images, as the result objects name it (TID 4019)."""

    name: str
    version: str
    manufacturer: str
    parameters: tuple[str, ...] = ()
    maximum_operating_point: int = 0
    recommended_operating_point: int = 0


@dataclass(frozen=True, slots=True)
class AnalyzedImage:
    """One image in a result object: read with its findings, or failed with its reason."""

    path: Path
    """The stored DICOM file, absolute: the builders copy patient, study and geometry from it."""
    sop_instance_uid: str
    laterality: Laterality | None
    view: str | None
    findings: tuple[Finding, ...] = ()
    failure: Reason | None = None
    sop_class_uid: str = ""
    series_instance_uid: str = ""
    """With the SOP class, as they were received: a failed image whose file cannot be parsed is
    still named in the result objects, and a reference to it needs both."""

    @property
    def view_name(self) -> str:
        """`RCC`, `LMLO`, ...; `?` for what is not known."""
        return f"{self.laterality or '?'}{self.view or '?'}"


SR_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.88."
"""The SOP class UIDs of SR documents begin so."""


@dataclass(frozen=True, slots=True)
class DocumentReference:
    """A result object of an earlier revision, named as a predecessor."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    kind: str


@dataclass(frozen=True, slots=True)
class ExamReport:
    """Everything a result object is built from.

    Two equal reports give byte-identical objects: UIDs derive from study, images, algorithm
    version and revision, and `created_at` is the time on the exam's row, not of the call.
    `images` holds the analyzed and the failed ones, never those set aside; it is not empty.
    """

    study_instance_uid: str
    revision: int
    created_at: datetime
    """Timezone-aware."""
    algorithm: Algorithm
    images: tuple[AnalyzedImage, ...]
    predecessors: tuple[DocumentReference, ...] = ()

    @property
    def predecessor_documents(self) -> tuple[DocumentReference, ...]:
        """The predecessors that are SR documents: only a document has predecessor documents
        (PS3.3 C.17.2.3), an image or a presentation state has none."""
        return tuple(one for one in self.predecessors if one.sop_class_uid.startswith(SR_DOCUMENTS))


@dataclass(frozen=True, slots=True)
class BuiltResult:
    """One result object, encoded as a DICOM file (PS3.10), not yet on disk."""

    kind: str
    """`mammography-cad-sr`, `tid1500-sr`, ..."""
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    content: bytes
    part: str = ""
    """Which object of its kind it is, where an exam gets several: `1-RCC`, `2-LCC`, ..."""
