"""What the content trees of the created objects hold, merged over all objects of a kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.conformance.walks import CONTENT
from cadnode.dicom import sr_codes as c


@dataclass(frozen=True, slots=True)
class ContentRow:
    """One content item of an SR tree, merged over all trees."""

    depth: int
    relationship: str
    value_type: str
    concept: Code | None
    multiplicity: str
    """How often under one parent: `1`, `0-1`, `1-n`, `0-n`."""
    values: tuple[str, ...]
    """Codes, units or graphic types; empty where any value may stand."""


def content_tree(datasets: Iterable[Dataset]) -> list[ContentRow]:
    """The rows of the content trees of objects of one kind, in the order they are met; none if
    they have no tree."""
    roots = [dataset for dataset in datasets if "ValueType" in dataset]
    return [_content_row(roots, 0, "1"), *_content(roots, 1)] if roots else []


def _content(parents: Sequence[Dataset], depth: int) -> Iterator[ContentRow]:
    """The children that `parents`, content items of one and the same place, have."""
    places: dict[tuple[str, str, str], list[list[Dataset]]] = {}
    for number, parent in enumerate(parents):
        for item in parent.get(CONTENT) or ():
            place = places.setdefault(_place(item), [[] for _ in parents])
            place[number].append(item)
    for of_parent in places.values():
        least, most = min(map(len, of_parent)), max(map(len, of_parent))
        low = "1" if least else "0"
        many = "n" if most > 1 else "1"
        together = [item for items in of_parent for item in items]
        yield _content_row(together, depth, low if low == many else f"{low}-{many}")
        yield from _content(together, depth + 1)


def _place(item: Dataset) -> tuple[str, str, str]:
    name = _concept(item)
    return (
        str(item.get("RelationshipType", "")),
        _value_type(item),
        f"{name.scheme_designator} {name.value}" if name else "",
    )


def _value_type(item: Dataset) -> str:
    return "IMAGE" if "ReferencedContentItemIdentifier" in item else str(item.ValueType)


def _concept(item: Dataset) -> Code | None:
    names = item.get("ConceptNameCodeSequence")
    return c.read_code(names[0]) if names else None


def _content_row(items: Sequence[Dataset], depth: int, multiplicity: str) -> ContentRow:
    first = items[0]
    by_reference = "R-" if "ReferencedContentItemIdentifier" in first else ""
    return ContentRow(
        depth,
        by_reference + str(first.get("RelationshipType", "")),
        _value_type(first),
        _concept(first),
        multiplicity,
        tuple(sorted({value for item in items for value in _content_values(item)})),
    )


def _content_values(item: Dataset) -> Iterator[str]:
    match item.get("ValueType"):
        case "CODE":
            yield _said(item.ConceptCodeSequence[0])
        case "NUM":
            yield _said(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0])
        case "SCOORD":
            yield str(item.GraphicType)
        case "CONTAINER" if "ContentTemplateSequence" in item:
            yield f"TID {item.ContentTemplateSequence[0].TemplateIdentifier}"


def _said(item: Dataset) -> str:
    code = c.read_code(item)
    return "" if code is None else f"{code.value} {code.scheme_designator} {code.meaning}"
