"""What the page of one exam asks of the node, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol

from cadnode.core.content_tree import ContentItem
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.patch_map import PatchMap
from cadnode.core.records import ExamDetail, ResultRecord, Revision, StudyImage


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """How the scores of the model that read an image are to be read."""

    thresholds: tuple[float, ...]
    """By operating point, the strictest first."""
    recommended: int


@dataclass(frozen=True, slots=True)
class TileSource:
    """A picture as Deep Zoom tiles: the deepest level is the image pixel for pixel."""

    width: int
    height: int
    tile_size: int
    overlap: int
    max_level: int


@dataclass(frozen=True, slots=True)
class ViewedImage:
    """One image of an exam, with what its file says beside what the database knows."""

    record: StudyImage
    view_name: str
    """`RCC`, `LMLO`, ...; `?` for what nobody knows."""
    tiles: TileSource | None
    """None when there is no picture."""
    spacing: PixelSpacing | None
    mirrored: bool
    """True when the chest wall lies on the other side than where the view is hung."""
    no_picture: str | None
    """Why it cannot be shown, as a plain sentence; None when it can, as far as its header says."""
    operating_points: OperatingPoints | None
    has_patch_map: bool

    @property
    def id(self) -> int:
        """The number of the image."""
        return self.record.image.id


@dataclass(frozen=True, slots=True)
class ViewedExam:
    """One exam with its whole study up to its revision."""

    detail: ExamDetail
    identifiers: ExamIdentifiers
    revisions: tuple[Revision, ...]
    """All of the study, this one too, the first one first."""
    images: tuple[ViewedImage, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """One file to take away; its name names no patient."""

    name: str
    content: bytes


class Viewer(Protocol):
    """One exam. Every call raises NotFound for what is not there, and may raise
    DatabaseUnavailable."""

    def exam(self, exam_id: int) -> ViewedExam:
        """Everything its page shows but pixels."""
        ...

    def detail(self, exam_id: int) -> ExamDetail:
        """Where it stands, quickly: no file is opened."""
        ...

    def image(self, exam_id: int, image_id: int) -> ViewedImage:
        """One of its images."""
        ...

    def note_access(self, exam_id: int, user: str, host: str) -> None:
        """A person is shown images or results of this exam: the audit trail is told, once in a
        while for the same person and exam."""
        ...

    def tile_source(self, exam_id: int, image_id: int) -> TileSource:
        """The measures of one image's tiles. Decodes it: raises ImageFailed with its reason."""
        ...

    def tile(
        self, exam_id: int, image_id: int, level: int, column: int, row: int, extension: str
    ) -> bytes:
        """One tile, `png` or `jpg`. Raises ImageFailed with the reason it cannot be decoded."""
        ...

    def patch_map(self, exam_id: int, image_id: int) -> PatchMap:
        """The patch scores of an image."""
        ...

    def result(self, exam_id: int, result_id: int) -> ResultRecord:
        """One result object of this exam."""
        ...

    def result_tree(self, exam_id: int, result_id: int) -> ContentItem:
        """Its content. Raises ResultInvalid when it has no content tree."""
        ...

    def result_file(self, exam_id: int, result_id: int) -> Download:
        """The DICOM file as it is sent."""
        ...

    def picture(self, exam_id: int, image_id: int) -> Download:
        """The image with its marks, as PNG at full resolution. Raises ImageFailed."""
        ...

    def findings(self, exam_id: int) -> Mapping[str, Any]:
        """What `cadnode analyze` writes into findings.json, see `core.findings_file`."""
        ...

    def archive(self, exam_id: int) -> IO[bytes]:
        """A zip file with every result object, every picture and the findings; the caller closes
        it."""
        ...
