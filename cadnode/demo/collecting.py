"""Gathers what the node did with an exam, and what the archive says about it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from cadnode.core.errors import DeliveryError
from cadnode.core.model import ModelSpec
from cadnode.core.records import ExamDetail, ImageRecord, ResultRecord
from cadnode.demo.exams import DemoExam
from cadnode.demo.node_process import NODE_AE_TITLE
from cadnode.demo.report import (
    ArchiveAnswer,
    ExamEvent,
    ExamResult,
    ExamView,
    ModelFacts,
    ResultObject,
)
from cadnode.demo.running import DemoFailed
from cadnode.dicom.reader import DicomReader
from cadnode.dicom.sr_items import tree_lines
from cadnode.dimse.find import find_instances
from cadnode.dimse.scu import Destination
from cadnode.inference.bundle import Bundle
from cadnode.pictures import draw_close_ups, draw_view, save_png

CLOSE_UPS_PER_VIEW = 6
"""More would make the page heavy to no use."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an exam's results are to be had."""

    data_dir: Path
    """The node's."""
    archive: Destination
    spec: ModelSpec
    out: Path


def held_by(archive: Destination, study_instance_uid: str) -> frozenset[str]:
    """The SOP Instance UIDs that the archive names for the study. Raises DemoFailed."""
    try:
        found = find_instances(archive, NODE_AE_TITLE, study_instance_uid)
    except DeliveryError as error:
        raise DemoFailed(f"the archive does not answer C-FIND: {error}") from error
    return frozenset(instance.sop_instance_uid for instance in found)


def collect(
    exam: DemoExam, detail: ExamDetail, sources: Sources, on_view: Callable[[], None]
) -> ExamResult:
    """The exam's results, with SR objects and pictures written to a folder of their own in `out`.

    `on_view` is called after each view. Raises DemoFailed when the archive cannot be asked.
    """
    folder = sources.out / exam.label.lower().replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    held = held_by(sources.archive, exam.study_instance_uid)
    objects = tuple(
        _result_object(result, detail, held, sources, folder) for result in detail.results
    )
    views = []
    for image in detail.images:
        views.append(_view(image, sources, folder))
        on_view()
    received = min(image.received_at for image in detail.images)
    delivered = max((d.delivered_at for d in detail.deliveries if d.delivered_at), default=received)
    return ExamResult(
        label=exam.label,
        truth=exam.truth,
        patient_id=exam.patient_id,
        study_instance_uid=exam.study_instance_uid,
        status=str(detail.exam.status),
        received_at=received,
        delivered_at=delivered,
        views=tuple(views),
        objects=objects,
        events=tuple(ExamEvent(event.at, _named(event.text, detail)) for event in detail.events),
    )


def model_facts(bundle: Bundle) -> ModelFacts:
    """What the report says of the model. Raises DemoFailed when its card cannot be read."""
    try:
        card = bundle.card()
    except OSError as error:
        raise DemoFailed(f"the model card cannot be read: {error}") from error
    return ModelFacts(
        name=bundle.spec.name,
        version=bundle.spec.version,
        thresholds=bundle.spec.thresholds,
        recommended=bundle.spec.recommended,
        limits=limits_of(card),
    )


def limits_of(card: str) -> tuple[str, ...]:
    """The paragraphs and list items under the headings of a model card that speak of limits."""
    found: list[str] = []
    inside = False
    for block in re.split(r"\n\s*\n|\n(?=#)|\n(?=[-*] )|(?<=\S)\n(?=\|)", card):
        text = " ".join(block.split())
        if text.startswith("#"):
            heading = text.lstrip("#").strip().lower()
            inside = "limit" in heading or "not for" in heading
        elif inside and text and not text.startswith("|"):
            found.append(re.sub(r"[*`]|^[-] ", "", text))
    return tuple(found)


def _named(text: str, detail: ExamDetail) -> str:
    """The sentence with names in place of UIDs, which nobody reads."""
    for image in detail.images:
        text = text.replace(image.sop_instance_uid, f"{image.laterality or '?'}{image.view or '?'}")
    for result in detail.results:
        text = text.replace(f"{result.sop_instance_uid} ({result.kind})", result.kind)
        text = text.replace(result.sop_instance_uid, result.kind)
    return text


def _result_object(
    result: ResultRecord,
    detail: ExamDetail,
    held: frozenset[str],
    sources: Sources,
    folder: Path,
) -> ResultObject:
    path = folder / f"{result.kind}.dcm"
    shutil.copyfile(sources.data_dir / result.path, path)
    return ResultObject(
        kind=result.kind,
        sop_instance_uid=result.sop_instance_uid,
        file_name=f"{folder.name}/{path.name}",
        size=result.size,
        tree_lines=tree_lines(dcmread(path)),
        answers=tuple(
            ArchiveAnswer(
                destination=delivery.destination,
                status=str(delivery.status),
                dicom_status=delivery.dicom_status,
                found=result.sop_instance_uid in held,
            )
            for delivery in detail.deliveries
            if delivery.sop_instance_uid == result.sop_instance_uid
        ),
    )


def _view(image: ImageRecord, sources: Sources, folder: Path) -> ExamView:
    reader = DicomReader()
    path = sources.data_dir / image.path
    mammogram = reader.mammogram(path, reader.header(path))
    name = f"{image.laterality or '?'}{image.view or '?'}"
    recommended = sources.spec.recommended
    picture = draw_view(
        mammogram.pixels,
        image.findings,
        spacing=mammogram.spacing,
        view_name=name,
        recommended=recommended,
    )
    close_ups = draw_close_ups(
        mammogram.pixels,
        [finding for finding in image.findings if finding.operating_point <= recommended],
        spacing=mammogram.spacing,
        recommended=recommended,
        limit=CLOSE_UPS_PER_VIEW,
    )
    save_png(picture.flat(), folder / f"{name}.png")
    for close_up in close_ups:
        save_png(close_up.marked, folder / f"{name}-mark-{close_up.number}.png")
    return ExamView(
        view_name=name,
        sop_instance_uid=image.sop_instance_uid,
        state=str(image.state),
        reason=image.reason_text or "",
        findings=image.findings,
        spacing=mammogram.spacing,
        rows=mammogram.pixels.shape[0],
        columns=mammogram.pixels.shape[1],
        picture=picture,
        close_ups=tuple(close_ups),
    )
