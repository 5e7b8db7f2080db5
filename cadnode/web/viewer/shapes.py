"""One exam as the API gives it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from cadnode.core.exam import ImageState
from cadnode.core.findings import Finding
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.patch_map import PatchMap
from cadnode.web.viewer.ports import OperatingPoints, TileSource, ViewedImage


class ReasonAnswer(BaseModel):
    """Why an image has no marks."""

    code: str
    text: str
    detail: str


class ImageAnswer(BaseModel):
    """One image with what was found in it. Points are (column, row) in received pixels, 0, 0 at
    the outer top-left corner of the first one (PS3.3 C.18.6)."""

    id: int
    exam_id: int
    """The exam in which it arrived: this one, or an earlier revision."""
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    view_name: str
    calling_ae: str
    received_at: datetime
    state: ImageState
    reason: ReasonAnswer | None
    model: str | None
    analyzed_at: datetime | None
    purged: bool
    tiles: TileSource | None
    spacing: PixelSpacing | None
    mirrored: bool
    operating_points: OperatingPoints | None
    has_patch_scores: bool
    findings: tuple[Finding, ...]


class HeatAnswer(BaseModel):
    """Value [r][c] covers the received pixels from (c * column_step, r * row_step) on."""

    row_step: float
    column_step: float
    values: list[list[float]]


class PatchScoresAnswer(BaseModel):
    """What the model said of each patch of one image."""

    rows: int
    columns: int
    thresholds: tuple[float, ...]
    recommended_operating_point: int
    boxes: list[list[float]]
    """First column, first row, last column, last row of each patch, in received pixels."""
    probability: list[float]
    heat: HeatAnswer


class FindingsAnswer(BaseModel):
    """The same as `cadnode analyze` writes into findings.json."""

    software: dict[str, str]
    model: dict[str, Any] | None
    images: list[dict[str, Any]]
    results: list[dict[str, str]]
    problems: list[str]


def image_answer(image: ViewedImage) -> ImageAnswer:
    """One image."""
    record, known = image.record, image.record.image
    reason = known.reason
    return ImageAnswer(
        id=known.id,
        exam_id=record.exam_id,
        sop_instance_uid=known.sop_instance_uid,
        sop_class_uid=known.sop_class_uid,
        series_instance_uid=known.series_instance_uid,
        view_name=image.view_name,
        calling_ae=known.calling_ae,
        received_at=known.received_at,
        state=known.state,
        reason=reason and ReasonAnswer(code=reason.code, text=reason.text, detail=known.detail),
        model=known.model,
        analyzed_at=known.analyzed_at,
        purged=record.purged,
        tiles=image.tiles,
        spacing=image.spacing,
        mirrored=image.mirrored,
        operating_points=image.operating_points,
        has_patch_scores=image.has_patch_map,
        findings=known.findings,
    )


def patch_scores_answer(patch_map: PatchMap) -> PatchScoresAnswer:
    """The scores of one image."""
    heat = patch_map.heat
    return PatchScoresAnswer(
        rows=patch_map.image_shape[0],
        columns=patch_map.image_shape[1],
        thresholds=patch_map.thresholds,
        recommended_operating_point=patch_map.recommended,
        boxes=patch_map.boxes.round(2).tolist(),
        probability=patch_map.probability.astype(float).round(4).tolist(),
        heat=HeatAnswer(
            row_step=heat.row_step,
            column_step=heat.column_step,
            values=heat.values.astype(float).round(3).tolist(),
        ),
    )
