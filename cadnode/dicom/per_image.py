"""What the kinds with one object for each image have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydicom import Dataset
from pydicom import Sequence as DicomSequence

from cadnode.core.exam import ExamReport
from cadnode.dicom.image_library import SourceImage
from cadnode.dicom.object_header import DocumentKind, revised
from cadnode.dicom.sr_marks import Mark, shown_marks

NOT_FOR_DIAGNOSIS = "Research use, not for diagnosis"


def marks_by_image(report: ExamReport) -> Sequence[Sequence[Mark]]:
    """For each image of the report, the marks shown at the recommended operating point."""
    by_image: list[list[Mark]] = [[] for _ in report.images]
    for mark in shown_marks(report):
        by_image[mark.image_index].append(mark)
    return by_image


def notice(report: ExamReport) -> str:
    """What made the marks, and what they are not for."""
    return f"{report.algorithm.name} {report.algorithm.version}{revised(report)}\r\n{NOT_FOR_DIAGNOSIS}"


def part_name(source: SourceImage, number: int) -> str:
    """Which object of its kind this one is: number and view, as `1-RCC`."""
    return f"{number}-{source.image.view_name}".replace("?", "x")


def of_side(kind: DocumentKind, source: SourceImage) -> tuple[DocumentKind, str]:
    """The kind as a series of the image's side, and that side, empty where it is not known.

    Laterality is an attribute of the series (PS3.3 C.7.3.1), so each side has its own.
    """
    match source.side:
        case "R":
            return replace(kind, series_description=f"{kind.series_description}, right"), "R"
        case "L":
            named = f"{kind.series_description}, left"
            return replace(
                kind, series_number=kind.series_number + 1, series_description=named
            ), "L"
    return kind, ""


def image_reference(source: SourceImage) -> Dataset:
    """Class and instance of the image (PS3.3 table 10-11)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.sop_class_uid
    reference.ReferencedSOPInstanceUID = source.image.sop_instance_uid
    return reference


def series_reference(source: SourceImage, as_: Literal["images", "instances"]) -> Dataset:
    """The image and its series, as an item of Referenced Series Sequence."""
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    references = DicomSequence([image_reference(source)])
    if as_ == "images":
        series.ReferencedImageSequence = references
    else:
        series.ReferencedInstanceSequence = references
    return series
