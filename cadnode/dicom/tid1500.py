"""The TID 1500 twin of the Mammography CAD SR, for viewers that show only that.

A Comprehensive SR (88.33) with one TID 1410 group for each cluster. The template knows no rendering
intent, so it holds only the marks shown at the recommended operating point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.uid import ComprehensiveSRStorage

from cadnode.core.exam import Algorithm, BuiltResult, ExamReport
from cadnode.dicom import sr_codes as c
from cadnode.dicom import sr_tree as t
from cadnode.dicom.image_library import (
    SourceImage,
    orientation,
    pixel_data_size,
    pixel_spacing,
    read_sources,
)
from cadnode.dicom.object_header import (
    DocumentKind,
    Equipment,
    built,
    file_bytes,
    from_bytes,
)
from cadnode.dicom.sr_check import check_tid1500_sr
from cadnode.dicom.sr_header import sr_document
from cadnode.dicom.sr_marks import (
    Mark,
    algorithm_rows,
    calcification_count,
    certainty,
    language,
    shown_marks,
    tracking,
)

TID1500_SR: Final = DocumentKind(
    kind="tid1500-sr",
    sop_class_uid=ComprehensiveSRStorage,
    series_number=9002,
    series_description="Mammography CAD measurements",
)


class Tid1500Sr:
    """Builds the TID 1500 report of an exam; there is none without a mark to show."""

    kind = TID1500_SR.kind

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """See OutputBuilder.objects."""
        result = self.build(report)
        if result is not None:
            yield result

    def build(self, report: ExamReport) -> BuiltResult | None:
        """The object, or None when no finding shows at the recommended operating point.

        Raises ResultInvalid when it breaks an invariant or no image is readable.
        """
        shown = shown_marks(report)
        if not shown:
            return None
        sources = read_sources(report)
        document = sr_document(
            TID1500_SR,
            report,
            sources,
            [one for one in report.predecessors if one.kind == self.kind],
            t.encoded(_root(report.algorithm, sources, shown, self._equipment)),
            self._equipment,
        )
        content = file_bytes(document)
        check_tid1500_sr(from_bytes(content), report)
        return built(document, TID1500_SR, content)


def _root(
    algorithm: Algorithm,
    sources: Sequence[SourceImage],
    shown: Sequence[Mark],
    equipment: Equipment,
) -> t.Node:
    return t.container(
        None,
        c.IMAGING_MEASUREMENT_REPORT,
        language(),
        *_observer(equipment),
        t.code(t.CONCEPT_MOD, c.PROCEDURE_REPORTED, c.IMAGING_PROCEDURE),
        t.container(
            t.CONTAINS,
            c.IMAGE_LIBRARY,
            t.container(
                t.CONTAINS, c.IMAGE_LIBRARY_GROUP, *(_library_entry(one) for one in sources)
            ),
        ),
        t.container(
            t.CONTAINS,
            c.IMAGING_MEASUREMENTS,
            *(_group(mark, algorithm, sources[mark.image_index]) for mark in shown),
        ),
        template="1500",
    )


def _observer(equipment: Equipment) -> Iterator[t.Node]:
    """TID 1002 and 1004: the device that observed."""
    yield t.code(t.OBS_CONTEXT, c.OBSERVER_TYPE, c.DEVICE)
    yield t.uidref(t.OBS_CONTEXT, c.DEVICE_OBSERVER_UID, equipment.device_uid)
    for name, value in (
        (c.DEVICE_OBSERVER_NAME, equipment.station_name),
        (c.DEVICE_OBSERVER_MANUFACTURER, equipment.manufacturer),
        (c.DEVICE_OBSERVER_MODEL_NAME, equipment.model_name),
        (c.DEVICE_OBSERVER_SERIAL_NUMBER, equipment.device_serial_number),
    ):
        yield t.text(t.OBS_CONTEXT, name, value)


def _library_entry(source: SourceImage) -> t.Node:
    """TID 1601 with the descriptors of TID 1602 and 1603."""
    rows: list[t.Child] = [t.code(t.ACQ_CONTEXT, c.MODALITY, c.MAMMOGRAPHY)]
    if source.side is not None:
        rows.append(t.code(t.ACQ_CONTEXT, c.IMAGE_LATERALITY, c.LATERALITIES[source.side]))
    rows += pixel_data_size(source)
    if source.code_of_view is not None:
        rows.append(t.code(t.ACQ_CONTEXT, c.IMAGE_VIEW, source.code_of_view))
    rows += orientation(source)
    rows += pixel_spacing(source)
    return t.image(
        t.CONTAINS, source.sop_class_uid, source.image.sop_instance_uid, *rows, name=c.SOURCE
    )


def _group(mark: Mark, algorithm: Algorithm, source: SourceImage) -> t.Node:
    """TID 1410: one region in one image, and what was measured in it."""
    finding = mark.finding
    rows: list[t.Child] = [
        *tracking(mark),
        t.code(t.CONTAINS, c.FINDING_CATEGORY, c.ABNORMAL_STRUCTURE),
        t.code(t.CONTAINS, c.FINDING, c.CALCIFICATION_CLUSTER),
    ]
    if source.side is not None:
        rows.append(t.code(t.CONCEPT_MOD, c.FINDING_SITE, c.SIDES[source.side]))
    rows += algorithm_rows(t.CONCEPT_MOD, algorithm)
    rows.append(t.number(t.CONTAINS, c.AREA, float(finding.area_mm2), c.SQUARE_MILLIMETER))
    rows += calcification_count(t.CONTAINS, finding)
    rows.append(certainty(t.CONTAINS, finding))
    rows.append(t.code(t.CONTAINS, c.GEOMETRIC_PURPOSE, c.OUTLINE))
    selected = t.image(
        t.SELECTED, source.sop_class_uid, source.image.sop_instance_uid, name=c.SOURCE
    )
    rows.append(t.polyline(t.CONTAINS, c.IMAGE_REGION, finding.outline, selected))
    return t.container(t.CONTAINS, c.MEASUREMENT_GROUP, *rows, template="1410")
