"""The context groups and templates that created objects use (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.sr.codedict import codes as codes_of_the_standard

from cadnode.conformance.objects import CodeUse

LANGUAGES: Final = 5000
"""Context group of the tags of RFC 5646, which nobody lists."""

GROUPS: Final[Mapping[int, tuple[str, str]]] = {
    244: ("Laterality", "Image Laterality in TID 1602"),
    270: ("Observer Type", "Observer Type"),
    4014: ("View for Mammography", "Image View"),
    4015: ("View Modifier for Mammography", "Image View Modifier"),
    5000: ("Language", "Language of Content Item and Descendants"),
    6014: ("Mammography Single Image Finding", "Single Image Finding, Detection Performed"),
    6022: ("Side", "Image Laterality in TID 4020, Finding Site"),
    6034: ("Intended Use of CAD Output", "Rendering Intent"),
    6042: ("Status of Results", "Summary of Detections, Summary of Analyses"),
    6047: ("CAD Processing and Findings Summary", "CAD Processing and Findings Summary"),
}
"""By context ID: its name, and the concept names whose values are taken from it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template of PS3.16 and the rows of it that are used."""

    number: int
    name: str
    kinds: str
    used: str


TEMPLATES: Final[Sequence[Template]] = (
    Template(4000, "Mammography CAD Document Root", "mammography-cad-sr", "all"),
    Template(1204, "Language of Content Item and Descendants", "both", "language; no country"),
    Template(
        4020, "CAD Image Library Entry", "mammography-cad-sr", "all that a projection image tells"
    ),
    Template(
        4001, "Mammography CAD Overall Impression/Recommendation", "mammography-cad-sr", "rows 1, 3"
    ),
    Template(
        4003,
        "Mammography CAD Individual Impression/Recommendation",
        "mammography-cad-sr",
        "rendering intent and single image findings; no composite features (TID 4004)",
    ),
    Template(
        4006,
        "Mammography CAD Single Image Finding",
        "mammography-cad-sr",
        "rendering intent, operating point, tracking, algorithm, certainty, geometry, and for a"
        " cluster its count and its calcifications",
    ),
    Template(
        4010, "Mammography CAD Calcification Cluster", "mammography-cad-sr", "number only (row 3)"
    ),
    Template(4015, "CAD Detections Performed", "mammography-cad-sr", "all"),
    Template(
        4017,
        "CAD Detection Performed",
        "mammography-cad-sr",
        "algorithm, images by reference, operating points",
    ),
    Template(
        4019, "CAD Algorithm Identification", "both", "name, version, manufacturer, parameters"
    ),
    Template(4021, "CAD Geometry", "mammography-cad-sr", "center and outline"),
    Template(
        4023, "CAD Operating Points", "mammography-cad-sr", "maximum and recommended; no table"
    ),
    Template(4108, "Tracking Identifier", "both", "identifier and unique identifier"),
    Template(
        1500, "Measurement Report", "tid1500-sr", "the first rows, image library, groups of 1410"
    ),
    Template(1002, "Observer Context", "tid1500-sr", "device"),
    Template(1004, "Device Observer Identifying Attributes", "tid1500-sr", "all but its location"),
    Template(1600, "Image Library", "tid1500-sr", "one group"),
    Template(1601, "Image Library Entry", "tid1500-sr", "with 1602 and 1603"),
    Template(1602, "Image Library Entry Descriptors", "tid1500-sr", "modality, laterality, size"),
    Template(
        1603,
        "Image Library Entry Descriptors for Projection Radiography",
        "tid1500-sr",
        "view, orientation, spacing",
    ),
    Template(
        1410,
        "Planar ROI Measurements and Qualitative Evaluations",
        "tid1500-sr",
        "one for each mark: area, count, certainty, closed outline",
    ),
)


def grouped(codes: Sequence[CodeUse]) -> Iterator[tuple[int, list[CodeUse]]]:
    """For each context group: the codes of it that are written."""
    for number in GROUPS:
        yield number, [one for one in codes if _is_member(one, number)]


def _is_member(code: CodeUse, number: int) -> bool:
    if number == LANGUAGES:
        return code.scheme == "RFC5646"
    group = getattr(codes_of_the_standard, f"cid{number}")
    return any(
        (one.scheme_designator, one.value) == (code.scheme, code.value)
        for one in group.concepts.values()
    )
