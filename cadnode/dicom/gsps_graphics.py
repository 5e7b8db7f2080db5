"""The marks of one image as graphic annotations of a presentation state (PS3.3 C.10.5).

Annotations are in PIXEL units, which count as findings do: 0, 0 is the outer top-left corner of the
first pixel, columns, rows the outer bottom-right one of the last (C.10.5.1.2). So no coordinate is
changed on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import GraphicAnnotation, GraphicLayer, GraphicObject, TextObject
from pydicom import Dataset

from cadnode.core.findings import Calcification, Point
from cadnode.core.mammogram import PixelSpacing
from cadnode.dicom.sr_marks import Mark, listed_calcifications

_SMALLEST_RING_MM: Final = 0.27
"""Radius of the ring around a calcification: it must not cover what it shows."""
_TEXT_MM: Final = (14.0, 3.0)
_GAP_MM: Final = 0.5
_LEAST_TEXT: Final = (24.0, 8.0)
_ORANGE: Final = CIELabColor.from_rgb(255, 170, 40)


def _layer(name: str, order: int, description: str) -> GraphicLayer:
    layer = GraphicLayer(name, order, description, display_color=_ORANGE)
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = 65535
    return layer


OUTLINES: Final = _layer("CAD MARKS", 1, "Outlines of calcification clusters")
CALCIFICATIONS: Final = _layer("CAD CALCS", 2, "Rings around single calcifications")
SCORES: Final = _layer("CAD SCORES", 3, "Names and scores of the marks")
NOTE: Final = _layer("CAD NOTE", 4, "What made the marks, and how many there are")
LAYERS: Final = (OUTLINES, CALCIFICATIONS, SCORES, NOTE)


def graphic_annotations(
    image: Dataset, marks: Sequence[Mark], spacing: PixelSpacing, note: str, *, note_right: bool
) -> Iterator[GraphicAnnotation]:
    """One annotation for each layer that has something to show; the note is always there.

    `image` has Rows, Columns and the identifiers to refer to it. `note` stands in a bottom corner
    of the displayed area, the right one if `note_right`.
    """
    size = (float(image.Columns), float(image.Rows))
    outlines = [
        GraphicObject(
            "POLYLINE",
            np.array(mark.finding.outline),
            "PIXEL",
            tracking_id=mark.tracking_identifier,
            tracking_uid=mark.tracking_uid,
        )
        for mark in marks
    ]
    rings = [
        _ring(calcification, spacing, size)
        for mark in marks
        for calcification in listed_calcifications(mark.finding.calcifications)
    ]
    scores = [_score(mark, spacing, size) for mark in marks]
    left, right = (0.45, 0.99) if note_right else (0.01, 0.55)
    justification = "RIGHT" if note_right else "LEFT"
    noted = TextObject(note, "DISPLAY", (left, 0.9, right, 0.99), None, justification)
    for layer, graphics, texts in (
        (OUTLINES, outlines, []),
        (CALCIFICATIONS, rings, []),
        (SCORES, [], scores),
        (NOTE, [], [noted]),
    ):
        if graphics or texts:
            yield GraphicAnnotation([image], layer, graphic_objects=graphics, text_objects=texts)


def _ring(calcification: Calcification, spacing: PixelSpacing, size: Point) -> GraphicObject:
    """A circle on the detector: in pixels that are no squares it is an ellipse."""
    radius_mm = max(_SMALLEST_RING_MM, calcification.diameter_mm * 0.9)
    x, y = calcification.center
    across, down = radius_mm / spacing.column, radius_mm / spacing.row
    if abs(across - down) < 0.01 * down and x + across <= size[0]:
        return GraphicObject("CIRCLE", np.array([(x, y), (x + across, y)]), "PIXEL")
    # The ends of an ellipse have to lie in the image, and the longer axis goes first.
    across, down = min(across, x, size[0] - x), min(down, y, size[1] - y)
    if min(across, down) <= 0:
        return GraphicObject("POINT", np.array([(x, y)]), "PIXEL")
    horizontal, vertical = [(x - across, y), (x + across, y)], [(x, y - down), (x, y + down)]
    ends = horizontal + vertical if across >= down else vertical + horizontal
    return GraphicObject("ELLIPSE", np.array(ends), "PIXEL")


def _score(mark: Mark, spacing: PixelSpacing, size: Point) -> TextObject:
    """Above the outline, below it where there is no room."""
    xs, ys = zip(*mark.finding.outline, strict=True)
    wide = min(max(_TEXT_MM[0] / spacing.column, _LEAST_TEXT[0]), size[0])
    high = min(max(_TEXT_MM[1] / spacing.row, _LEAST_TEXT[1]), size[1])
    gap = _GAP_MM / spacing.row
    # Always left-justified: some viewers take no notice of the justification.
    left = min(min(xs), size[0] - wide)
    above = min(ys) - gap - high
    top = above if above >= 0 else min(max(ys) + gap, size[1] - high)
    return TextObject(
        f"{mark.tracking_identifier} {_percent(mark.finding.score)}",
        "PIXEL",
        (left, top, left + wide, top + high),
        None,
        "LEFT",
        tracking_id=mark.tracking_identifier,
        tracking_uid=mark.tracking_uid,
    )


def _percent(score: float) -> str:
    """Never 0 % or 100 %, which no model can claim."""
    if score >= 0.995:
        return ">99 %"
    return "<1 %" if score < 0.005 else f"{score * 100:.0f} %"
