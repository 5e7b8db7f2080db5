"""The tables of the annexes: what is in each kind of created object."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cadnode.conformance import notes
from cadnode.conformance.codes import GROUPS, TEMPLATES, grouped
from cadnode.conformance.content import ContentRow
from cadnode.conformance.names import name_of
from cadnode.conformance.objects import AttributeRow, Built, Objects
from cadnode.conformance.tables import code, table
from cadnode.conformance.walks import value_types as value_types_of
from cadnode.dicom.iod_modules import module_of

ATTRIBUTE_HEADINGS = ("Attribute", "Tag", "VR", "Value", "Presence", "Source")
CONTENT_HEADINGS = ("Relationship", "Value type", "Concept name", "Number", "Value", "Condition")

_SHOWN_VALUES = 3
"""More codes than this stand in a table of their own."""


@dataclass(frozen=True, slots=True)
class KindAnnex:
    """What the statement says of one kind of object."""

    kind: str
    sop_class_uid: str
    sop_class: str
    transfer_syntaxes: str
    series: str
    """Modality, Series Number and Series Description of a first revision."""
    attributes: str
    content: str
    """Empty for what is no SR document."""


def per_kind(objects: Objects) -> list[KindAnnex]:
    """One annex for each kind, in the order in which they are built."""
    common = set(_common(objects))
    annexes = []
    number = itertools.count(2)
    for kind, sop_class_uid in objects.kinds.items():
        own = [row for row in objects.attributes[kind] if row not in common]
        content = objects.content[kind]
        annexes.append(
            KindAnnex(
                kind,
                sop_class_uid,
                name_of(sop_class_uid),
                ", ".join(name_of(uid) for uid in objects.transfer_syntaxes(kind)),
                _series(objects.of(kind)),
                _attributes(f"Table 9-{next(number)}. Attributes of {kind}", own, sop_class_uid),
                _content(f"Table 9-{next(number)}. Content of {kind}", content) if content else "",
            )
        )
    return annexes


def _series(built: Sequence[Built]) -> str:
    first = min(one.sample for one in built)
    series = {
        (int(one.dataset.SeriesNumber), one.dataset.Modality, one.dataset.SeriesDescription)
        for one in built
        if one.sample == first
    }
    return "; ".join(
        f"{modality} {number} {code(text)}" for number, modality, text in sorted(series)
    )


def common_table(objects: Objects) -> str:
    """The attributes that every kind has in the same way."""
    first = next(iter(objects.kinds.values()))
    return _attributes("Table 9-1. Attributes of every created object", _common(objects), first)


def _common(objects: Objects) -> list[AttributeRow]:
    of_each = [objects.attributes[kind] for kind in objects.kinds]
    return [row for row in of_each[0] if all(row in rows for rows in of_each[1:])]


def _attributes(caption: str, rows: Sequence[AttributeRow], sop_class_uid: str) -> str:
    return table(caption, ATTRIBUTE_HEADINGS, _by_module(rows, sop_class_uid))


def _by_module(rows: Sequence[AttributeRow], sop_class_uid: str) -> Iterator[Sequence[str]]:
    """The rows under the names of their modules, these in the order of the IOD."""
    modules: dict[str, list[AttributeRow]] = {}
    for row in rows:
        module = module_of(sop_class_uid, row.path[0])
        modules.setdefault(module.name if module else "Document Content", []).append(row)
    for name, of_module in modules.items():
        yield (f"**{name}**", "", "", "", "", "")
        for row in of_module:
            yield (row.name, row.tag, row.vr, _value(row), row.presence, row.source)


def _value(row: AttributeRow) -> str:
    note = notes.of_attribute(row)
    if note:
        return note
    if row.source == "COPY":
        return "of the image" + (", when it has one" if row.presence == "ANAP" else "")
    if row.source == "FIXED" and row.values:
        return ", ".join(name_of(v) if row.vr == "UI" else code(v) for v in row.values)
    return ""


def _content(caption: str, rows: Sequence[ContentRow]) -> str:
    return table(
        caption,
        CONTENT_HEADINGS,
        [
            (
                ">" * row.depth + " " + row.relationship,
                row.value_type,
                _concept(row),
                row.multiplicity,
                _values(row),
                notes.of_content(row),
            )
            for row in rows
        ],
    )


def _concept(row: ContentRow) -> str:
    if row.concept is None:
        return ""
    return f"({row.concept.value}, {row.concept.scheme_designator}, {row.concept.meaning})"


def _values(row: ContentRow) -> str:
    if len(row.values) > _SHOWN_VALUES:
        return "of its context group, see 9.3"
    return "; ".join(row.values)


def codes_table(objects: Objects) -> str:
    """Every code that is written."""
    return table(
        "Table 9-A. Codes written",
        ("Code value", "Coding scheme designator", "Code meaning", "Written in"),
        [
            (code(one.value), one.scheme, one.meaning, ", ".join(one.kinds))
            for one in objects.codes()
        ],
    )


def groups_table(objects: Objects) -> str:
    """The context groups, and which of their codes are written."""
    return table(
        "Table 9-B. Context groups",
        ("Context group", "Used for", "Codes written"),
        [
            (
                f"CID {number} {GROUPS[number][0]}",
                GROUPS[number][1],
                "; ".join(f"{one.value} {one.scheme} {one.meaning}" for one in codes),
            )
            for number, codes in grouped(objects.codes())
        ],
    )


def templates_table() -> str:
    """The templates, and what of them is used."""
    return table(
        "Table 9-C. Templates",
        ("Template", "In", "Used"),
        [(f"TID {one.number} {one.name}", one.kinds, one.used) for one in TEMPLATES],
    )


def values_of(objects: Objects, concept: str) -> list[str]:
    """The codes that are written as values of one concept name of DICOM, in words."""
    found = {
        value
        for kind in objects.kinds
        for row in objects.content[kind]
        if row.concept is not None and row.concept.value == concept
        for value in row.values
    }
    return sorted(found)


def value_types(objects: Objects) -> list[tuple[str, str, str]]:
    """Kind, value types and relationship types of each SR document."""
    rows = []
    for kind in objects.kinds:
        pairs = {pair for one in objects.of(kind) for pair in value_types_of(one.dataset)}
        if pairs:
            types = sorted({value for value, _ in pairs if value} | {"CONTAINER"})
            relationships = sorted({relationship for _, relationship in pairs})
            rows.append((kind, ", ".join(types), ", ".join(relationships)))
    return rows
