"""The content of a structured report as nested plain values, for showing it to a person."""

from __future__ import annotations

from dataclasses import dataclass

from cadnode.core.findings import Point


@dataclass(frozen=True, slots=True)
class CodedText:
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ContentItem:
    """One content item (PS3.3 C.17.3) with those below it; what it does not have is None or
    empty."""

    path: str
    """1-based positions from the root, as `1.4.2`."""
    relationship: str
    """To the item above it, in the standard's words; empty for the root."""
    value_type: str
    """`CONTAINER`, `CODE`, `NUM`, ...; empty for a reference to another item of the tree."""
    name: CodedText | None
    code: CodedText | None = None
    number: float | None = None
    unit: CodedText | None = None
    text: str | None = None
    """Of TEXT, UIDREF, DATE and TIME."""
    graphic_type: str = ""
    points: tuple[Point, ...] = ()
    """(column, row) as in `core.findings`."""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    """The object that an IMAGE or COMPOSITE item names."""
    target: str | None = None
    """The path of the item that a by-reference relationship names."""
    children: tuple[ContentItem, ...] = ()
