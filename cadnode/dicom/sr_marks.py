"""The findings of a report as both result objects number and name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cadnode.core.exam import Algorithm, ExamReport
from cadnode.core.findings import Calcification, Finding
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes as c
from cadnode.dicom import sr_tree as t

LISTED_CALCIFICATIONS: Final = 50
"""Individual calcifications written for one cluster at most; their number states them all."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One finding with its tracking identity, the same in every result object of the exam."""

    finding: Finding
    image_index: int
    """Index into the images of the report."""
    tracking_identifier: str
    """View name and running number, as `LCC-1`."""
    tracking_uid: str
    """Stays the same in later revisions: image, algorithm and place name the finding."""


def marks_of(report: ExamReport) -> tuple[Mark, ...]:
    """All findings of the report, in the order of its images."""
    return tuple(_marks(report))


def shown_marks(report: ExamReport) -> tuple[Mark, ...]:
    """The marks at or below the recommended operating point."""
    recommended = report.algorithm.recommended_operating_point
    return tuple(mark for mark in marks_of(report) if mark.finding.operating_point <= recommended)


def listed_calcifications(calcifications: Sequence[Calcification]) -> tuple[Calcification, ...]:
    """Those that are written one by one: the ones that stand out most, in their order."""
    if len(calcifications) <= LISTED_CALCIFICATIONS:
        return tuple(calcifications)
    ranked = sorted(range(len(calcifications)), key=lambda i: (-calcifications[i].contrast, i))
    return tuple(calcifications[index] for index in sorted(ranked[:LISTED_CALCIFICATIONS]))


def _marks(report: ExamReport) -> Iterator[Mark]:
    numbers: Counter[str] = Counter()
    for image_index, image in enumerate(report.images):
        for index, finding in enumerate(image.findings):
            numbers[image.view_name] += 1
            tracking_uid = derive_uid(
                "finding",
                image.sop_instance_uid,
                report.algorithm.name,
                report.algorithm.version,
                str(index),
                *(f"{value:.3f}" for value in finding.center),
            )
            identifier = f"{image.view_name}-{numbers[image.view_name]}"
            yield Mark(finding, image_index, identifier, tracking_uid)


def tracking(mark: Mark) -> tuple[t.Node, t.Node]:
    """TID 4108: tracking identifier and tracking unique identifier."""
    return (
        t.text(t.OBS_CONTEXT, c.TRACKING_IDENTIFIER, mark.tracking_identifier),
        t.uidref(t.OBS_CONTEXT, c.TRACKING_UNIQUE_IDENTIFIER, mark.tracking_uid),
    )


def algorithm_rows(relationship: t.Relationship, algorithm: Algorithm) -> Iterator[t.Node]:
    """TID 4019: what found it, in the relationship of the including template."""
    yield t.text(relationship, c.ALGORITHM_NAME, algorithm.name)
    yield t.text(relationship, c.ALGORITHM_VERSION, algorithm.version)
    if algorithm.manufacturer:
        yield t.text(relationship, c.ALGORITHM_MANUFACTURER, algorithm.manufacturer)
    for parameter in algorithm.parameters:
        yield t.text(relationship, c.ALGORITHM_PARAMETERS, parameter)


def language() -> t.Node:
    """TID 1204."""
    return t.code(t.CONCEPT_MOD, c.LANGUAGE, c.ENGLISH)


def certainty(relationship: t.Relationship, finding: Finding) -> t.Node:
    """Certainty of Finding: the score in percent."""
    return t.number(relationship, c.CERTAINTY_OF_FINDING, finding.score * 100.0, c.PERCENT)


def calcification_count(relationship: t.Relationship, finding: Finding) -> Iterator[t.Node]:
    """Number of calcifications, where any were located."""
    if finding.calcifications:
        count = len(finding.calcifications)
        yield t.number(relationship, c.NUMBER_OF_CALCIFICATIONS, count, c.NO_UNITS)
