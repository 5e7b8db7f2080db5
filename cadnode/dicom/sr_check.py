"""Our own invariants on a finished result object, where no validator looks.

Each check takes the object as it was read back from its bytes. All raise ResultInvalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import ExamReport
from cadnode.core.findings import Finding, Point
from cadnode.dicom import sr_codes as c
from cadnode.dicom.sr_items import Item, Path, by_path, parsed
from cadnode.dicom.sr_marks import Mark, listed_calcifications, marks_of, shown_marks
from cadnode.dicom.sr_reader import ReadFinding, read_report

# Relative precision of the float32 values of Graphic Data.
_SINGLE: Final = 1e-6

_STRENGTH: Final = {
    c.NOT_FOR_PRESENTATION.value: 0,
    c.PRESENTATION_OPTIONAL.value: 1,
    c.PRESENTATION_REQUIRED.value: 2,
}

# (findings summary, summary of detections, are there findings, successful, failed)
_OUTCOMES: Final = frozenset(
    {
        (c.ALL_WITH_FINDINGS.value, c.SUCCEEDED.value, True, True, False),
        (c.ALL_WITHOUT_FINDINGS.value, c.SUCCEEDED.value, False, True, False),
        (c.SOME_WITH_FINDINGS.value, c.PARTIALLY_SUCCEEDED.value, True, True, True),
        (c.SOME_WITHOUT_FINDINGS.value, c.PARTIALLY_SUCCEEDED.value, False, True, True),
        (c.NONE_SUCCEEDED.value, c.FAILED.value, False, False, True),
    }
)


def check_mammography_cad_sr(dataset: Dataset, report: ExamReport) -> None:
    """Raise ResultInvalid unless the Mammography CAD SR holds together and says what `report` says."""
    root = parsed(dataset)
    items = by_path(root)
    _check_root(dataset, c.MAMMOGRAPHY_CAD_REPORT, "4000")
    _check_references(root, items)
    _check_regions(root, items, by_reference=True)
    _check_evidence(dataset, root)
    _check_summaries(root)
    _check_operating_points(root)
    _check_rendering_intents(root)
    _check_calcification_counts(root)
    _check_round_trip(dataset, report)


def check_tid1500_sr(dataset: Dataset, report: ExamReport) -> None:
    """Raise ResultInvalid unless the TID 1500 report holds together and shows what it should."""
    root = parsed(dataset)
    _check_root(dataset, c.IMAGING_MEASUREMENT_REPORT, "1500")
    _check_regions(root, by_path(root), by_reference=False)
    _check_evidence(dataset, root)
    read = read_report(dataset)
    _check_header(dataset, report)
    shown = shown_marks(report)
    _require(len(read.findings) == len(shown), "not one measurement group for each shown mark")
    for found, mark in zip(read.findings, shown, strict=True):
        _check_mark(found, mark, report)
        _require(
            found.area_mm2 is not None
            and isclose(found.area_mm2, mark.finding.area_mm2, rel_tol=_SINGLE),
            "an area changed on its way into the object",
        )


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ResultInvalid(sentence)


def _check_root(dataset: Dataset, title: Code, template: str) -> None:
    templates = [
        (one.get("MappingResource"), one.get("TemplateIdentifier"))
        for one in dataset.get("ContentTemplateSequence") or ()
    ]
    _require(templates == [("DCMR", template)], f"the root template is not {template} of DCMR")
    _require(c.same_code(parsed(dataset).name, title), f"the document is no {title.meaning}")


def _check_references(root: Item, items: Mapping[Path, Item]) -> None:
    """Every by-reference path ends at an IMAGE of the Image Library (PS3.3 A.35.5)."""
    library = root.first(c.IMAGE_LIBRARY)
    entries = {item.path for item in library.children} if library else set()
    for item in root.walk():
        if item.target is None:
            continue
        target = items.get(item.target)
        _require(
            target is not None and target.value_type == "IMAGE" and target.path in entries,
            f"a reference to {item.target} does not lead to an image of the library",
        )
        _require(
            item.relationship in ("INFERRED FROM", "HAS PROPERTIES", "SELECTED FROM"),
            f"{item.relationship} may not be by reference",
        )


def _check_regions(root: Item, items: Mapping[Path, Item], *, by_reference: bool) -> None:
    sizes = {
        item.referenced_sop[1]: (
            _count(item.first(c.PIXEL_DATA_COLUMNS)),
            _count(item.first(c.PIXEL_DATA_ROWS)),
        )
        for item in items.values()
        if item.value_type == "IMAGE" and item.referenced_sop and item.children
    }
    for item in root.walk():
        if item.value_type != "SCOORD":
            continue
        image = _selected_image(item, items, by_reference=by_reference)
        columns, rows = sizes.get(image, (0, 0))
        _require(
            bool(item.points) and all(0 <= x <= columns and 0 <= y <= rows for x, y in item.points),
            f"a region reaches outside image {image}",
        )
        if item.graphic_type == "POLYLINE":
            _require(
                len(item.points) >= 4 and item.points[0] == item.points[-1],
                f"an outline in image {image} is not a closed polygon",
            )


def _selected_image(region: Item, items: Mapping[Path, Item], *, by_reference: bool) -> str:
    _require(
        len(region.children) == 1
        and region.children[0].relationship == "SELECTED FROM"
        and (region.children[0].target is not None) == by_reference,
        "a region does not select exactly one image in the way of its template",
    )
    child = region.children[0]
    image = items[child.target] if child.target is not None else child
    _require(image.referenced_sop is not None, "a region selects something that is no image")
    return image.referenced_sop[1] if image.referenced_sop else ""


def _check_evidence(dataset: Dataset, root: Item) -> None:
    """Every image of the tree is listed once as evidence (PS3.3 C.17.2.3)."""
    listed = [
        str(reference.ReferencedSOPInstanceUID)
        for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    used = {item.referenced_sop[1] for item in root.walk() if item.referenced_sop}
    _require(len(listed) == len(set(listed)), "an image is listed twice as evidence")
    _require(set(listed) == used, "the evidence is not the images of the tree")


def _check_summaries(root: Item) -> None:
    findings, detections, analyses = (
        root.first(name)
        for name in (c.FINDINGS_SUMMARY, c.SUMMARY_OF_DETECTIONS, c.SUMMARY_OF_ANALYSES)
    )
    if findings is None or detections is None or analyses is None:
        raise ResultInvalid("a summary is missing")
    said = (
        findings.code.value if findings.code else "",
        detections.code.value if detections.code else "",
        findings.first(c.INDIVIDUAL_IMPRESSION) is not None,
        detections.first(c.SUCCESSFUL_DETECTIONS) is not None,
        detections.first(c.FAILED_DETECTIONS) is not None,
    )
    _require(said in _OUTCOMES, f"the summaries contradict the content: {said}")
    _require(
        c.same_code(analyses.code, c.NOT_ATTEMPTED) and not analyses.children,
        "analyses are reported, but the node does none",
    )


def _check_operating_points(root: Item) -> None:
    maxima = [
        _count(item) for item in root.walk() if c.same_code(item.name, c.MAXIMUM_OPERATING_POINT)
    ]
    _require(len(maxima) <= 1, "the maximum operating point is stated more than once")
    highest = maxima[0] if maxima else 0
    for item in root.walk():
        if c.same_code(item.name, c.RECOMMENDED_OPERATING_POINT):
            _require(0 <= _count(item) <= highest, "the recommended operating point is too high")
        if not c.same_code(item.name, c.RENDERING_INTENT):
            continue
        for number in item.named(c.CAD_OPERATING_POINT):
            _require(
                c.same_code(item.code, c.PRESENTATION_OPTIONAL) and 1 <= _count(number) <= highest,
                "an operating point is out of range, or not on an optional mark",
            )


def _check_rendering_intents(root: Item, above: int = max(_STRENGTH.values())) -> None:
    """No item is to be presented more strongly than the one it belongs to (PS3.4 O.2.1.1)."""
    intent = root.first(c.RENDERING_INTENT)
    if intent is not None:
        strength = _STRENGTH.get(intent.code.value if intent.code else "", len(_STRENGTH))
        _require(strength <= above, "a rendering intent is stronger than the one above it")
        above = strength
    for child in root.children:
        _check_rendering_intents(child, above)


def _check_calcification_counts(root: Item) -> None:
    for item in root.walk():
        if not c.same_code(item.code, c.CALCIFICATION_CLUSTER):
            continue
        listed = len(item.named(c.SINGLE_IMAGE_FINDING))
        number = item.first(c.NUMBER_OF_CALCIFICATIONS)
        _require(
            listed <= (_count(number) if number else 0),
            "a cluster lists more calcifications than its number says",
        )


def _check_header(dataset: Dataset, report: ExamReport) -> None:
    _require(
        dataset.get("StudyInstanceUID") == report.study_instance_uid,
        "the object is not in the study of the exam",
    )
    _require(
        (dataset.get("CompletionFlag"), dataset.get("VerificationFlag"))
        == ("COMPLETE", "UNVERIFIED"),
        "the document is not complete and unverified",
    )


def _check_round_trip(dataset: Dataset, report: ExamReport) -> None:
    """What a reader gets is what went in, to float32 precision."""
    _check_header(dataset, report)
    read = read_report(dataset)
    _require(
        [image.sop_instance_uid for image in read.images]
        == [image.sop_instance_uid for image in report.images],
        "the image library is not the images of the report",
    )
    analyzed = {one.sop_instance_uid for one in report.images if one.failure is None}
    failed = {one.sop_instance_uid for one in report.images if one.failure is not None}
    _require(set(read.analyzed_uids) == analyzed, "successful detections name other images")
    _require(set(read.failed_uids) == failed, "failed detections name other images")
    _require(
        set(read.predecessor_uids)
        == {one.sop_instance_uid for one in report.predecessor_documents},
        "the predecessor documents are not those of the report",
    )
    marks = marks_of(report)
    _require(len(read.findings) == len(marks), "not one finding for each that went in")
    for found, mark in zip(read.findings, marks, strict=True):
        _check_mark(found, mark, report)
        _check_finding(found, mark.finding)


def _check_mark(found: ReadFinding, mark: Mark, report: ExamReport) -> None:
    finding = mark.finding
    image = report.images[mark.image_index]
    _require(found.sop_instance_uid == image.sop_instance_uid, "a finding is on another image")
    _require(found.is_cluster, "a finding is no calcification cluster")
    _require(found.tracking_uid == mark.tracking_uid, "a finding lost its tracking identity")
    _require(_same_points(found.outline, finding.outline), "an outline changed on its way")
    _require(
        found.score is not None and isclose(found.score, finding.score, abs_tol=_SINGLE),
        "a score changed on its way into the object",
    )
    _require(
        (found.number_of_calcifications or 0) == len(finding.calcifications),
        "the number of calcifications changed on its way",
    )


def _check_finding(found: ReadFinding, finding: Finding) -> None:
    _require(
        found.center is not None and _same_points((found.center,), (finding.center,)),
        "a center changed on its way into the object",
    )
    _require(
        found.operating_point == finding.operating_point,
        "an operating point changed on its way into the object",
    )
    listed = listed_calcifications(finding.calcifications)
    _require(
        _same_points(
            tuple(one.center or (-1.0, -1.0) for one in found.calcifications),
            tuple(one.center for one in listed),
        )
        and all(one.is_calcification for one in found.calcifications),
        "the individual calcifications changed on their way",
    )


def _same_points(points: tuple[Point, ...], others: tuple[Point, ...]) -> bool:
    return len(points) == len(others) and all(
        isclose(value, other, rel_tol=_SINGLE, abs_tol=_SINGLE)
        for point, twin in zip(points, others, strict=True)
        for value, other in zip(point, twin, strict=True)
    )


def _count(item: Item | None) -> int:
    return round(item.number) if item is not None and item.number is not None else 0
