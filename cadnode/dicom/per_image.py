"""What the kinds with one object for each image have in common."""

from __future__ import annotations

from collections.abc import Sequence

from cadnode.core.exam import ExamReport
from cadnode.dicom.image_library import SourceImage
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
    revision = f", revision {report.revision}" if report.revision > 1 else ""
    return f"{report.algorithm.name} {report.algorithm.version}{revision}\r\n{NOT_FOR_DIAGNOSIS}"


def part_name(source: SourceImage, number: int) -> str:
    """Which object of its kind this one is: number and view, as `1-RCC`."""
    return f"{number}-{source.image.view_name}".replace("?", "x")
