"""The page of one exam: its ports over the job database, the spool, the reader and the model."""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cadnode import __version__
from cadnode.app import App, utc_now
from cadnode.core.audit import Instance, InstancesAccessed
from cadnode.core.content_tree import ContentItem
from cadnode.core.errors import (
    CadnodeError,
    ImageFailed,
    ImageUnreachable,
    ModelUnfit,
    NotFound,
)
from cadnode.core.exam import ImageState
from cadnode.core.findings_file import ImageEntry, ModelFacts, findings_file
from cadnode.core.mammogram import ImageHeader, Laterality, PixelSpacing
from cadnode.core.patch_map import PatchMap
from cadnode.core.reasons import Reason
from cadnode.core.records import ExamDetail, ResultRecord, StudyImage
from cadnode.dicom.reader import DicomReader, ReadLimits
from cadnode.dicom.sr_outline import outline
from cadnode.inference.bundle import find_bundle
from cadnode.pictures import draw_marks
from cadnode.pictures.kept import PyramidCache
from cadnode.pictures.pyramid import OVERLAP, TILE_SIZE, Pyramid, deepest_level
from cadnode.storage.viewing import StudyRecords
from cadnode.store import Store
from cadnode.web.viewer.ports import (
    Download,
    OperatingPoints,
    TileSource,
    ViewedExam,
    ViewedImage,
)

ACCESS_AGAIN = timedelta(minutes=10)
"""The same person at the same exam is told to the audit trail once in this time."""
MOST_ACCESSES = 10_000
DECODERS = 2
"""Images decoded at once; each takes a processor, and memory for itself."""
FAILS_AGAIN = timedelta(minutes=1)
"""An image that could not be decoded is not tried again for so long: it is asked for in many tiles,
and each try may take as long as the limit of the decoder."""
MOST_FAILURES = 1000
ZIP_IN_MEMORY = 32 << 20
"""A larger zip file is built on disk."""
UNKNOWN_SPACING = PixelSpacing(0.1, 0.1)
"""Of a picture whose file does not say: only for the scale bar and the size of dots."""


class NodeViewer:
    """The `Viewer` of a node. Safe to share between threads."""

    def __init__(self, app: App, store: Store) -> None:
        self._app = app
        self._records = store.records
        self._study = StudyRecords(store.database)
        self._files = app.spool(make=False)
        work = app.settings.work
        limits = ReadLimits(
            max_pixels=work.max_pixels,
            decode_seconds=work.decode_seconds,
            decode_bytes=work.decode_memory_mb << 20,
        )
        self._reader = DicomReader(limits)
        # Each with a decoding process of its own; a hanging asks for four images at once.
        self._decoders: queue.LifoQueue[DicomReader] = queue.LifoQueue()
        for _ in range(DECODERS):
            self._decoders.put(DicomReader(limits))
        # Layers in colour at full resolution: 16 bytes and more for each pixel.
        self._drawing = threading.Lock()
        self._pyramids = PyramidCache(app.settings.web.image_memory_mb << 20)
        self._points: dict[str, OperatingPoints | None] = {}
        self._accesses: dict[tuple[int, str, str], datetime] = {}
        self._failures: dict[str, tuple[ImageFailed, datetime]] = {}
        self._lock = threading.Lock()

    # ---- the exam ----------------------------------------------------------------------------

    def exam(self, exam_id: int) -> ViewedExam:
        """See Viewer.exam."""
        return ViewedExam(
            detail=self._records.exam_detail(exam_id),
            identifiers=self._study.identifiers(exam_id),
            revisions=self._study.revisions(exam_id),
            images=tuple(self._viewed(record) for record in self._study.images(exam_id)),
        )

    def detail(self, exam_id: int) -> ExamDetail:
        """See Viewer.detail."""
        return self._records.exam_detail(exam_id)

    def image(self, exam_id: int, image_id: int) -> ViewedImage:
        """See Viewer.image."""
        return self._viewed(self._study.image(exam_id, image_id))

    def note_access(self, exam_id: int, user: str, host: str) -> None:
        """See Viewer.note_access."""
        now, key = utc_now(), (exam_id, user, host)
        with self._lock:
            last = self._accesses.get(key)
            if last is not None and now - last < ACCESS_AGAIN:
                return
            if len(self._accesses) >= MOST_ACCESSES:
                self._accesses = {
                    k: at for k, at in self._accesses.items() if now - at < ACCESS_AGAIN
                }
            self._accesses[key] = now
        try:
            self._app.audit.record(InstancesAccessed(user, host, self._instances(exam_id)))
        except CadnodeError:
            # The next one is the first.
            with self._lock:
                self._accesses.pop(key, None)
            raise

    # ---- pixels ------------------------------------------------------------------------------

    def tile_source(self, exam_id: int, image_id: int) -> TileSource:
        """See Viewer.tile_source."""
        pyramid = self._pyramid(self._study.image(exam_id, image_id))
        return _tile_source(pyramid.width, pyramid.height)

    def tile(
        self, exam_id: int, image_id: int, level: int, column: int, row: int, extension: str
    ) -> bytes:
        """See Viewer.tile."""
        pyramid = self._pyramid(self._study.image(exam_id, image_id))
        return pyramid.tile(level, column, row, extension)

    def patch_map(self, exam_id: int, image_id: int) -> PatchMap:
        """See Viewer.patch_map."""
        found = self._study.patch_map(self._study.image(exam_id, image_id).image.id)
        if found is None:
            raise NotFound(f"no patch scores are kept of image {image_id}")
        return found

    def picture(self, exam_id: int, image_id: int) -> Download:
        """See Viewer.picture."""
        return self._picture(exam_id, self.image(exam_id, image_id))

    # ---- results -----------------------------------------------------------------------------

    def result(self, exam_id: int, result_id: int) -> ResultRecord:
        """See Viewer.result."""
        for result in self._records.exam_detail(exam_id).results:
            if result.id == result_id:
                return result
        raise NotFound(f"exam {exam_id} has no result {result_id}")

    def result_tree(self, exam_id: int, result_id: int) -> ContentItem:
        """See Viewer.result_tree."""
        return outline(self._file_of(self.result(exam_id, result_id)))

    def result_file(self, exam_id: int, result_id: int) -> Download:
        """See Viewer.result_file."""
        result = self.result(exam_id, result_id)
        return Download(_result_name(exam_id, result), self._file_of(result).read_bytes())

    def findings(self, exam_id: int) -> Mapping[str, Any]:
        """See Viewer.findings."""
        return self._findings(self.exam(exam_id))

    def archive(self, exam_id: int) -> IO[bytes]:
        """See Viewer.archive."""
        exam = self.exam(exam_id)
        # Not closed here: whoever asked reads it.
        file = tempfile.SpooledTemporaryFile(max_size=ZIP_IN_MEMORY)  # noqa: SIM115
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for download in self._files_of(exam):
                archive.writestr(download.name, download.content)
        file.seek(0)
        return file

    # ---- inside ------------------------------------------------------------------------------

    def _instances(self, exam_id: int) -> tuple[Instance, ...]:
        detail = self._records.exam_detail(exam_id)
        study = detail.exam.study_instance_uid
        held = [(r.sop_class_uid, r.path) for r in detail.results] + [
            (r.image.sop_class_uid, r.image.path) for r in self._study.images(exam_id)
        ]
        return tuple(Instance(uid, self._named(path), study) for uid, path in held)

    def _named(self, relative: str) -> Path:
        """Where the audit trail may read whose study it is, if it can be read now."""
        try:
            return self._files.path_of(relative)
        except ImageUnreachable:
            return Path(relative)

    def _files_of(self, exam: ViewedExam) -> Iterator[Download]:
        exam_id = exam.detail.exam.id
        for result in exam.detail.results:
            try:
                yield self.result_file(exam_id, result.id)
            except NotFound:
                continue
        for image in exam.images:
            try:
                yield self._picture(exam_id, image)
            except (ImageFailed, NotFound):
                continue
        content = json.dumps(self._findings(exam), indent=2) + "\n"
        yield Download(f"exam-{exam_id}-findings.json", content.encode())

    def _viewed(self, record: StudyImage) -> ViewedImage:
        image = record.image
        header, no_picture = self._header(record)
        laterality = image.laterality or (header.laterality if header else None)
        view = image.view or (header.view if header else None)
        patch_map = self._study.patch_map(image.id)
        return ViewedImage(
            record=record,
            view_name=f"{laterality or '?'}{view or '?'}",
            tiles=None if no_picture or header is None else _tiles(header),
            spacing=header.spacing if header else None,
            mirrored=header is not None and _is_mirrored(laterality, header),
            no_picture=no_picture,
            operating_points=OperatingPoints(patch_map.thresholds, patch_map.recommended)
            if patch_map
            else self._points_of(image.model),
            has_patch_map=patch_map is not None,
        )

    def _header(self, record: StudyImage) -> tuple[ImageHeader | None, str | None]:
        """What the file says, and why there is no picture if there is none."""
        if record.purged:
            return None, "the file was deleted at the end of the retention time"
        try:
            header = self._reader.header(self._files.path_of(record.image.path))
        except ImageFailed as failure:
            return None, failure.reason.text
        except ImageUnreachable:
            return None, "the file cannot be read at the moment"
        if not header.has_pixel_data or not header.rows or not header.columns:
            return header, Reason.NO_PIXEL_DATA.text
        if header.frames != 1:
            return header, f"it has {header.frames} frames, and only single ones are shown here"
        if header.samples_per_pixel != 1:
            return header, Reason.NOT_MONOCHROME.text
        return header, None

    def _pyramid(self, record: StudyImage) -> Pyramid:
        if record.purged:
            raise NotFound(f"the file of image {record.image.id} was deleted by the retention")
        key = f"{record.image.id} {record.image.sha256}"
        return self._pyramids.get(key, lambda: self._decoded(key, record.image.path))

    def _decoded(self, key: str, relative: str) -> NDArray[np.uint8]:
        with self._lock:
            failed = self._failures.get(key)
        if failed is not None and utc_now() < failed[1]:
            raise ImageFailed(failed[0].reason) from failed[0]
        path = self._files.path_of(relative)
        decoder = self._decoders.get()
        try:
            return decoder.grey(path, decoder.header(path))
        except ImageFailed as failure:
            with self._lock:
                if len(self._failures) >= MOST_FAILURES:
                    self._failures.clear()
                self._failures[key] = (failure, utc_now() + FAILS_AGAIN)
            raise
        finally:
            self._decoders.put(decoder)

    def _picture(self, exam_id: int, image: ViewedImage) -> Download:
        pyramid = self._pyramid(image.record)
        points = image.operating_points
        file = BytesIO()
        with self._drawing:
            drawn = draw_marks(
                np.divide(pyramid.grey, 255, dtype=np.float32),
                image.record.image.findings,
                spacing=image.spacing or UNKNOWN_SPACING,
                view_name=image.view_name,
                recommended=points.recommended if points else 0,
                height=pyramid.height,
            )
            drawn.save(file, "PNG", compress_level=3)
        return Download(_picture_name(exam_id, image), file.getvalue())

    def _findings(self, exam: ViewedExam) -> dict[str, Any]:
        exam_id = exam.detail.exam.id
        return findings_file(
            version=__version__,
            model=_model_facts(exam),
            images=[
                _entry(exam_id, exam.detail.exam.study_instance_uid, image) for image in exam.images
            ],
            results=[(r.kind, _result_name(exam_id, r)) for r in exam.detail.results],
            problems=[exam.detail.exam.error_text] if exam.detail.exam.error_text else [],
        )

    def _file_of(self, result: ResultRecord) -> Path:
        path = self._files.path_of(result.path)
        if not path.is_file():
            raise NotFound(f"the file of result {result.id} was deleted by the retention")
        return path

    def _points_of(self, model: str | None) -> OperatingPoints | None:
        """Of an image read before scores were kept: what the bundle of its model says, if the
        node still has it."""
        folder = self._app.settings.model.folder
        if model is None or folder is None:
            return None
        if model not in self._points:
            name, _, version = model.rpartition(" ")
            try:
                spec = find_bundle(folder, name, version).spec
            except ModelUnfit:
                self._points[model] = None
            else:
                self._points[model] = OperatingPoints(spec.thresholds, spec.recommended)
        return self._points[model]


def _tiles(header: ImageHeader) -> TileSource | None:
    if not header.columns or not header.rows:
        return None
    return _tile_source(header.columns, header.rows)


def _tile_source(width: int, height: int) -> TileSource:
    return TileSource(width, height, TILE_SIZE, OVERLAP, deepest_level(width, height))


def _is_mirrored(laterality: Laterality | None, header: ImageHeader) -> bool:
    """True when the rows do not run as they are hung: the right breast's towards the chest wall,
    the left one's away from it. What the header does not say is taken as hung."""
    hung = {Laterality.RIGHT: "P", Laterality.LEFT: "A"}.get(laterality) if laterality else None
    direction = header.patient_orientation[0][:1] if header.patient_orientation else ""
    return hung is not None and direction in ("A", "P") and direction != hung


def _model_facts(exam: ViewedExam) -> ModelFacts | None:
    for image in exam.images:
        model, points = image.record.image.model, image.operating_points
        if model and points:
            name, _, version = model.rpartition(" ")
            return ModelFacts(name, version, points.thresholds, points.recommended)
    return None


def _entry(exam_id: int, study_instance_uid: str, image: ViewedImage) -> ImageEntry:
    known = image.record.image
    return ImageEntry(
        path=known.path,
        sop_instance_uid=known.sop_instance_uid,
        study_instance_uid=study_instance_uid,
        laterality=known.laterality,
        view=known.view,
        rows=known.rows,
        columns=known.columns,
        state=known.state,
        reason_code=known.reason.code if known.reason else None,
        reason_text=known.reason.text if known.reason else "",
        findings=known.findings,
        picture=_picture_name(exam_id, image) if known.state is ImageState.ANALYZED else None,
    )


def _picture_name(exam_id: int, image: ViewedImage) -> str:
    view = image.view_name.replace("?", "")
    return f"exam-{exam_id}-image-{image.id}{'-' if view else ''}{view}.png"


def _result_name(exam_id: int, result: ResultRecord) -> str:
    return f"exam-{exam_id}-{result.kind}-{result.id}.dcm"
