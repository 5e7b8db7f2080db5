"""The Mammography CAD SR of an exam (PS3.3 A.35.5, PS3.16 TID 4000).

It can say all four outcomes: findings, no findings, partly analyzed, all failed. Of the templates,
rows that a detection-only device does not need are left out: TID 4002, composite features, the
operating point table, image quality findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pydicom.sr.coding import Code
from pydicom.uid import MammographyCADSRStorage

from cadnode.core.exam import Algorithm, BuiltResult, ExamReport
from cadnode.core.findings import Calcification
from cadnode.dicom import sr_codes as c
from cadnode.dicom import sr_tree as t
from cadnode.dicom.image_library import SourceImage, library_entry, read_sources
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    built,
    file_bytes,
    from_bytes,
)
from cadnode.dicom.sr_check import check_mammography_cad_sr
from cadnode.dicom.sr_header import sr_document
from cadnode.dicom.sr_marks import (
    Mark,
    algorithm_rows,
    calcification_count,
    certainty,
    language,
    listed_calcifications,
    marks_of,
    tracking,
)

MAMMOGRAPHY_CAD_SR: Final = DocumentKind(
    kind="mammography-cad-sr",
    sop_class_uid=MammographyCADSRStorage,
    series_number=9001,
    series_description="Mammography CAD",
)
_DETECTIONS: Final = (c.INDIVIDUAL_CALCIFICATION, c.CALCIFICATION_CLUSTER)


class MammographyCadSr:
    """Builds the Mammography CAD SR of an exam; there is one for every report."""

    kind = MAMMOGRAPHY_CAD_SR.kind

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """See OutputBuilder.objects."""
        yield self.build(report)

    def build(self, report: ExamReport) -> BuiltResult:
        """The object. Raises ResultInvalid when it breaks an invariant or no image is readable."""
        sources = read_sources(report)
        document = sr_document(
            MAMMOGRAPHY_CAD_SR,
            report,
            sources,
            report.predecessor_documents,
            t.encoded(_root(report, sources)),
            self._equipment,
        )
        content = file_bytes(document)
        check_mammography_cad_sr(from_bytes(content), report)
        return built(document, MAMMOGRAPHY_CAD_SR, content)


def _root(report: ExamReport, sources: Sequence[SourceImage]) -> t.Node:
    entries = tuple(library_entry(source) for source in sources)
    analyzed = [entry for entry, one in zip(entries, sources, strict=True) if one.analyzed]
    failed = [entry for entry, one in zip(entries, sources, strict=True) if not one.analyzed]
    marks = marks_of(report)
    return t.container(
        None,
        c.MAMMOGRAPHY_CAD_REPORT,
        language(),
        t.container(t.CONTAINS, c.IMAGE_LIBRARY, *entries),
        t.code(
            t.CONTAINS,
            c.FINDINGS_SUMMARY,
            _findings_summary(found=bool(marks), analyzed=bool(analyzed), failed=bool(failed)),
            *(_impression(mark, report.algorithm, entries[mark.image_index]) for mark in marks),
        ),
        t.code(
            t.CONTAINS,
            c.SUMMARY_OF_DETECTIONS,
            _detection_summary(analyzed=bool(analyzed), failed=bool(failed)),
            *_detections(report.algorithm, analyzed, failed),
        ),
        t.code(t.CONTAINS, c.SUMMARY_OF_ANALYSES, c.NOT_ATTEMPTED),
        template="4000",
    )


def _findings_summary(*, found: bool, analyzed: bool, failed: bool) -> Code:
    if not analyzed:
        return c.NONE_SUCCEEDED
    if failed:
        return c.SOME_WITH_FINDINGS if found else c.SOME_WITHOUT_FINDINGS
    return c.ALL_WITH_FINDINGS if found else c.ALL_WITHOUT_FINDINGS


def _detection_summary(*, analyzed: bool, failed: bool) -> Code:
    if not analyzed:
        return c.FAILED
    return c.PARTIALLY_SUCCEEDED if failed else c.SUCCEEDED


def _detections(
    algorithm: Algorithm, analyzed: Sequence[t.Node], failed: Sequence[t.Node]
) -> Iterator[t.Node]:
    """TID 4015: what was run on which images, well or badly."""
    if analyzed:
        yield t.container(
            t.INFERRED,
            c.SUCCESSFUL_DETECTIONS,
            *(_detection(what, algorithm, analyzed, succeeded=True) for what in _DETECTIONS),
        )
    if failed:
        yield t.container(
            t.INFERRED,
            c.FAILED_DETECTIONS,
            *(_detection(what, algorithm, failed, succeeded=False) for what in _DETECTIONS),
        )


def _detection(
    what: Code, algorithm: Algorithm, images: Iterable[t.Node], *, succeeded: bool
) -> t.Node:
    """TID 4017, with the operating points (TID 4023 rows 1 and 2) of the cluster detection."""
    rows: list[t.Child] = [*algorithm_rows(t.PROPERTIES, algorithm)]
    rows += (t.Ref(t.PROPERTIES, entry) for entry in images)
    if succeeded and what is c.CALCIFICATION_CLUSTER and algorithm.maximum_operating_point > 0:
        rows += (
            t.number(
                t.PROPERTIES,
                c.MAXIMUM_OPERATING_POINT,
                algorithm.maximum_operating_point,
                c.ARBITRARY_UNIT,
            ),
            t.number(
                t.PROPERTIES,
                c.RECOMMENDED_OPERATING_POINT,
                algorithm.recommended_operating_point,
                c.FROM_ZERO,
            ),
        )
    return t.code(t.CONTAINS, c.DETECTION_PERFORMED, what, *rows)


def _impression(mark: Mark, algorithm: Algorithm, entry: t.Node) -> t.Node:
    """TID 4003: one container for one cluster."""
    strictest = mark.finding.operating_point == 0
    intent = c.PRESENTATION_REQUIRED if strictest else c.PRESENTATION_OPTIONAL
    return t.container(
        t.INFERRED,
        c.INDIVIDUAL_IMPRESSION,
        t.code(t.CONCEPT_MOD, c.RENDERING_INTENT, intent),
        _cluster(mark, algorithm, entry),
    )


def _cluster(mark: Mark, algorithm: Algorithm, entry: t.Node) -> t.Node:
    """TID 4006 for a calcification cluster, with its calcifications (row 25)."""
    finding = mark.finding
    return t.code(
        t.CONTAINS,
        c.SINGLE_IMAGE_FINDING,
        c.CALCIFICATION_CLUSTER,
        _rendering_intent(finding.operating_point),
        *tracking(mark),
        *algorithm_rows(t.PROPERTIES, algorithm),
        certainty(t.PROPERTIES, finding),
        t.point(t.PROPERTIES, c.CENTER, finding.center, t.Ref(t.SELECTED, entry)),
        t.polyline(t.PROPERTIES, c.OUTLINE, finding.outline, t.Ref(t.SELECTED, entry)),
        *calcification_count(t.PROPERTIES, finding),
        *(
            _calcification(calcification, algorithm, entry)
            for calcification in listed_calcifications(finding.calcifications)
        ),
    )


def _rendering_intent(operating_point: int) -> t.Node:
    """Bin 0 is to be shown; a higher bin at its operating point (PS3.17 E.4)."""
    if operating_point == 0:
        return t.code(t.CONCEPT_MOD, c.RENDERING_INTENT, c.PRESENTATION_REQUIRED)
    point = t.number(t.PROPERTIES, c.CAD_OPERATING_POINT, operating_point, c.FROM_ONE)
    return t.code(t.CONCEPT_MOD, c.RENDERING_INTENT, c.PRESENTATION_OPTIONAL, point)


def _calcification(calcification: Calcification, algorithm: Algorithm, entry: t.Node) -> t.Node:
    """TID 4006 for one calcification: optional, so never stronger than its cluster, and without
    an operating point of its own: the viewer's choice (PS3.4 O.4.1.1)."""
    return t.code(
        t.INFERRED,
        c.SINGLE_IMAGE_FINDING,
        c.INDIVIDUAL_CALCIFICATION,
        t.code(t.CONCEPT_MOD, c.RENDERING_INTENT, c.PRESENTATION_OPTIONAL),
        t.text(t.PROPERTIES, c.ALGORITHM_NAME, algorithm.name),
        t.text(t.PROPERTIES, c.ALGORITHM_VERSION, algorithm.version),
        t.point(t.PROPERTIES, c.CENTER, calcification.center, t.Ref(t.SELECTED, entry)),
        t.number(t.PROPERTIES, c.DIAMETER, float(calcification.diameter_mm), c.MILLIMETER),
    )
