"""Walks through a created object: its codes, its content items, its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.dicom import sr_codes as c

KeywordPath = tuple[str, ...]

CONTENT: Final = "ContentSequence"


def coded_concepts(dataset: Dataset) -> Iterator[Code]:
    """Every code in the object, but for what it repeats of its images."""
    for element in dataset:
        if element.VR != "SQ" or element.keyword in _REPEATED:
            continue
        for item in element.value:
            code = c.read_code(item) if "CodingSchemeDesignator" in item else None
            if code is not None:
                yield code
            yield from coded_concepts(item)


_REPEATED: Final = frozenset(
    {
        "ProcedureCodeSequence",
        "RequestedProcedureCodeSequence",
        "DeidentificationMethodCodeSequence",
        "ReferringPhysicianIdentificationSequence",
        "OtherPatientIDsSequence",
        "IssuerOfPatientIDQualifiersSequence",
    }
)
"""Sequences that hold the codes of others, copied from an image."""


def value_types(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """(value type, relationship) of every content item below the root; `R-` marks a reference."""
    for item in dataset.get(CONTENT) or ():
        reference = "ReferencedContentItemIdentifier" in item
        relationship = str(item.RelationshipType)
        yield ("", f"R-{relationship}") if reference else (str(item.ValueType), relationship)
        yield from value_types(item)


def keywords(dataset: Dataset, path: KeywordPath = ()) -> Iterator[tuple[KeywordPath, Any]]:
    """Every attribute of the object outside its content tree, with its element."""
    for element in dataset:
        if element.keyword == CONTENT:
            continue
        here = (*path, element.keyword)
        yield here, element
        if element.VR == "SQ":
            for item in element.value:
                yield from keywords(item, here)
