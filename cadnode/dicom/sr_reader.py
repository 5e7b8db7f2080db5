"""Reads a Mammography CAD SR or a TID 1500 report, ours or another maker's, to plain values.

For the round trip that every result object of ours must survive, for training on annotations that
come as SR, and for the reports of the demo. Rows that a document leaves out read as None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    MammographyCADSRStorage,
)

from cadnode.core.errors import ResultInvalid
from cadnode.core.findings import Point
from cadnode.core.mammogram import Laterality
from cadnode.dicom import sr_codes as c
from cadnode.dicom.files import PARSE_ERRORS
from cadnode.dicom.sr_items import Item, Path, by_path, parsed

_CIRCLE_POINTS: Final = 32
_MEASUREMENT_REPORTS: Final = frozenset(
    {EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage}
)


@dataclass(frozen=True, slots=True)
class ReadImage:
    """One entry of the Image Library."""

    sop_class_uid: str
    sop_instance_uid: str
    laterality: Laterality | None
    view: str | None
    """Short name, as `MLO`."""
    rows: int | None
    columns: int | None
    horizontal_spacing_mm: float | None
    vertical_spacing_mm: float | None


@dataclass(frozen=True, slots=True)
class ReadFinding:
    """One finding in one image, in that image's pixel grid: (column, row) as in `core.findings`.

    An individual calcification under a cluster is in `calcifications`, one that stands alone is a
    finding of its own.
    """

    sop_instance_uid: str
    concept: tuple[str, str, str]
    """Code value, coding scheme designator, code meaning."""
    center: Point | None
    outline: tuple[Point, ...]
    """Closed polygon, empty where there is none; circles and ellipses become 32 points."""
    score: float | None
    """Certainty of Finding, 0..1."""
    rendering_intent: str | None
    """Code value of CID 6034."""
    operating_point: int | None
    """0 for Presentation Required; None for an optional mark without a number."""
    number_of_calcifications: int | None
    calcifications: tuple[ReadFinding, ...]
    diameter_mm: float | None
    area_mm2: float | None
    tracking_identifier: str | None
    tracking_uid: str | None

    @property
    def is_cluster(self) -> bool:
        return _is(self.concept, c.CALCIFICATION_CLUSTER)

    @property
    def is_calcification(self) -> bool:
        return _is(self.concept, c.INDIVIDUAL_CALCIFICATION)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What an SR object says."""

    kind: str
    """`mammography-cad-sr` or `tid1500-sr`."""
    sop_instance_uid: str
    study_instance_uid: str
    images: tuple[ReadImage, ...]
    findings: tuple[ReadFinding, ...]
    analyzed_uids: tuple[str, ...]
    """Images under Successful Detections."""
    failed_uids: tuple[str, ...]
    """Images under Failed Detections."""
    findings_summary: str | None
    """Code value of CID 6047."""
    detection_summary: str | None
    """Code value of CID 6042."""
    analysis_summary: str | None
    """Code value of CID 6042."""
    maximum_operating_point: int | None
    recommended_operating_point: int | None
    algorithms: tuple[tuple[str, str], ...]
    """Name and version of each detection algorithm, once."""
    predecessor_uids: tuple[str, ...]

    def of_image(self, sop_instance_uid: str) -> tuple[ReadFinding, ...]:
        """The findings in one image."""
        return tuple(one for one in self.findings if one.sop_instance_uid == sop_instance_uid)


def read_report(dataset: Dataset) -> ReadReport:
    """The plain values of an SR object.

    Raises ResultInvalid when it is neither a Mammography CAD SR nor a TID 1500 report, or when its
    values cannot be made sense of.
    """
    try:
        root = parsed(dataset)
        sop_class_uid = str(dataset.get("SOPClassUID") or "")
        if sop_class_uid == MammographyCADSRStorage:
            return _cad_report(dataset, root)
        if sop_class_uid in _MEASUREMENT_REPORTS and root.name == c.IMAGING_MEASUREMENT_REPORT:
            return _measurement_report(dataset, root)
    except PARSE_ERRORS as error:
        # Not the message: pydicom's may quote values, and a value may be a name.
        raise ResultInvalid(f"the SR object cannot be read: {type(error).__name__}") from error
    raise ResultInvalid("neither a Mammography CAD SR nor a TID 1500 report")


def _cad_report(dataset: Dataset, root: Item) -> ReadReport:
    items = by_path(root)
    summary = root.first(c.FINDINGS_SUMMARY)
    detections = root.first(c.SUMMARY_OF_DETECTIONS)
    analyses = root.first(c.SUMMARY_OF_ANALYSES)
    performed = [
        item
        for item in (detections.walk() if detections else ())
        if c.same_code(item.name, c.DETECTION_PERFORMED)
    ]
    return ReadReport(
        kind="mammography-cad-sr",
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        images=_library(root),
        findings=tuple(_single_image_findings(summary, items)) if summary else (),
        analyzed_uids=_detected(detections, c.SUCCESSFUL_DETECTIONS, items),
        failed_uids=_detected(detections, c.FAILED_DETECTIONS, items),
        findings_summary=_value(summary),
        detection_summary=_value(detections),
        analysis_summary=_value(analyses),
        maximum_operating_point=_whole(_below(performed, c.MAXIMUM_OPERATING_POINT)),
        recommended_operating_point=_whole(_below(performed, c.RECOMMENDED_OPERATING_POINT)),
        algorithms=_algorithms(performed),
        predecessor_uids=_predecessors(dataset),
    )


def _measurement_report(dataset: Dataset, root: Item) -> ReadReport:
    items = by_path(root)
    groups = [item for item in root.walk() if c.same_code(item.name, c.MEASUREMENT_GROUP)]
    return ReadReport(
        kind="tid1500-sr",
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        images=_library(root),
        findings=tuple(_group_finding(group, items) for group in groups),
        analyzed_uids=(),
        failed_uids=(),
        findings_summary=None,
        detection_summary=None,
        analysis_summary=None,
        maximum_operating_point=None,
        recommended_operating_point=None,
        algorithms=_algorithms(groups),
        predecessor_uids=_predecessors(dataset),
    )


def _library(root: Item) -> tuple[ReadImage, ...]:
    library = root.first(c.IMAGE_LIBRARY)
    if library is None:
        return ()
    return tuple(_image(item) for item in library.walk() if item.value_type == "IMAGE")


def _image(item: Item) -> ReadImage:
    sop_class_uid, sop_instance_uid = item.referenced_sop or ("", "")
    side, view = item.first(c.IMAGE_LATERALITY), item.first(c.IMAGE_VIEW)
    return ReadImage(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        laterality=c.laterality_of(side.code) if side else None,
        view=c.view_of(view.code) if view else None,
        rows=_whole(item.first(c.PIXEL_DATA_ROWS)),
        columns=_whole(item.first(c.PIXEL_DATA_COLUMNS)),
        horizontal_spacing_mm=_length(item.first(c.HORIZONTAL_PIXEL_SPACING)),
        vertical_spacing_mm=_length(item.first(c.VERTICAL_PIXEL_SPACING)),
    )


def _single_image_findings(item: Item, items: Mapping[Path, Item]) -> Iterator[ReadFinding]:
    """Single Image Findings wherever they stand (TID 4003, 4004), those of a cluster inside it."""
    for child in item.children:
        if c.same_code(child.name, c.SINGLE_IMAGE_FINDING) and child.code is not None:
            yield _finding(child, child.code, items)
        else:
            yield from _single_image_findings(child, items)


def _finding(item: Item, concept: Code, items: Mapping[Path, Item]) -> ReadFinding:
    center, outline = item.first(c.CENTER), item.first(c.OUTLINE)
    intent = item.first(c.RENDERING_INTENT)
    region = center or outline or item.first(c.IMAGE_REGION)
    return ReadFinding(
        sop_instance_uid=_selected(region, items) if region else "",
        concept=_plain(concept),
        center=center.points[0] if center and center.points else None,
        outline=_polygon(outline) if outline else (),
        score=_fraction(item.first(c.CERTAINTY_OF_FINDING)),
        rendering_intent=_value(intent),
        operating_point=_operating_point(intent),
        number_of_calcifications=_whole(item.first(c.NUMBER_OF_CALCIFICATIONS)),
        calcifications=tuple(_single_image_findings(item, items)),
        diameter_mm=_length(item.first(c.DIAMETER)),
        area_mm2=None,
        tracking_identifier=_text(item.first(c.TRACKING_IDENTIFIER)),
        tracking_uid=_text(item.first(c.TRACKING_UNIQUE_IDENTIFIER)),
    )


def _group_finding(group: Item, items: Mapping[Path, Item]) -> ReadFinding:
    finding = group.first(c.FINDING)
    region = next((item for item in group.children if item.value_type == "SCOORD"), None)
    outline = _polygon(region) if region and region.graphic_type != "POINT" else ()
    return ReadFinding(
        sop_instance_uid=_selected(region, items) if region else "",
        concept=_plain(finding.code) if finding and finding.code else ("", "", ""),
        center=region.points[0] if region and region.graphic_type == "POINT" else None,
        outline=outline,
        score=_fraction(group.first(c.CERTAINTY_OF_FINDING)),
        rendering_intent=None,
        operating_point=None,
        number_of_calcifications=_whole(group.first(c.NUMBER_OF_CALCIFICATIONS)),
        calcifications=(),
        diameter_mm=None,
        area_mm2=_number(group.first(c.AREA)),
        tracking_identifier=_text(group.first(c.TRACKING_IDENTIFIER)),
        tracking_uid=_text(group.first(c.TRACKING_UNIQUE_IDENTIFIER)),
    )


def _detected(detections: Item | None, name: Code, items: Mapping[Path, Item]) -> tuple[str, ...]:
    if detections is None:
        return ()
    targets = (
        items.get(item.target)
        for heading in detections.named(name)
        for item in heading.walk()
        if item.target is not None
    )
    uids = (item.referenced_sop[1] for item in targets if item and item.referenced_sop)
    return tuple(dict.fromkeys(uids))


def _selected(region: Item, items: Mapping[Path, Item]) -> str:
    """The image a region was drawn on, selected by value or by reference."""
    for child in region.children:
        image = items.get(child.target) if child.target is not None else child
        if image is not None and image.referenced_sop is not None:
            return image.referenced_sop[1]
    return ""


def _polygon(region: Item) -> tuple[Point, ...]:
    points = region.points
    if region.graphic_type == "CIRCLE" and len(points) == 2:
        (x, y), (px, py) = points
        radius = hypot(px - x, py - y)
        return _ring((x, y), (radius, 0.0), (0.0, radius))
    if region.graphic_type == "ELLIPSE" and len(points) == 4:
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
        center = ((ax + bx) / 2, (ay + by) / 2)
        return _ring(center, ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2))
    return points


def _ring(center: Point, first: Point, second: Point) -> tuple[Point, ...]:
    steps = [2 * pi * step / _CIRCLE_POINTS for step in range(_CIRCLE_POINTS)]
    ring = [
        (
            center[0] + first[0] * cos(angle) + second[0] * sin(angle),
            center[1] + first[1] * cos(angle) + second[1] * sin(angle),
        )
        for angle in steps
    ]
    return (*ring, ring[0])


def _operating_point(intent: Item | None) -> int | None:
    if intent is None:
        return None
    if c.same_code(intent.code, c.PRESENTATION_REQUIRED):
        return 0
    return _whole(intent.first(c.CAD_OPERATING_POINT))


def _below(items: list[Item], name: Code) -> Item | None:
    return next((found for item in items if (found := item.first(name))), None)


def _algorithms(items: list[Item]) -> tuple[tuple[str, str], ...]:
    named = (
        (_text(item.first(c.ALGORITHM_NAME)), _text(item.first(c.ALGORITHM_VERSION)))
        for item in items
    )
    return tuple(dict.fromkeys((name, version or "") for name, version in named if name))


def _predecessors(dataset: Dataset) -> tuple[str, ...]:
    return tuple(
        str(reference.ReferencedSOPInstanceUID)
        for study in dataset.get("PredecessorDocumentsSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for reference in series.get("ReferencedSOPSequence") or ()
    )


def _plain(code: Code) -> tuple[str, str, str]:
    known = c.member(code, (c.CALCIFICATION_CLUSTER, c.INDIVIDUAL_CALCIFICATION)) or code
    return known.value, known.scheme_designator, known.meaning


def _is(concept: tuple[str, str, str], code: Code) -> bool:
    return concept[:2] == (code.value, code.scheme_designator)


def _value(item: Item | None) -> str | None:
    return item.code.value if item is not None and item.code is not None else None


def _text(item: Item | None) -> str | None:
    return item.text if item is not None else None


def _number(item: Item | None) -> float | None:
    return item.number if item is not None else None


def _whole(item: Item | None) -> int | None:
    value = _number(item)
    return None if value is None else round(value)


def _fraction(item: Item | None) -> float | None:
    value = _number(item)
    return None if value is None else value / 100.0


def _length(item: Item | None) -> float | None:
    """In mm; other makers write micrometers too (TID 4020)."""
    value = _number(item)
    if item is None or value is None:
        return None
    unit = item.unit
    return value / 1000.0 if unit is not None and unit.value == "um" else value
