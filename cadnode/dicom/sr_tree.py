"""A content tree to be written: nodes by value, references to nodes, and their numbering.

highdicom has the content items but no by-reference relationships, which the Mammography CAD SR
needs (PS3.3 A.35.5): here a `Ref` names a `Node`, and the tree is numbered when it is finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    DateContentItem,
    ImageContentItem,
    NumContentItem,
    ScoordContentItem,
    TextContentItem,
    TimeContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from cadnode.core.findings import Point
from cadnode.dicom.sr_codes import SOURCE

Relationship = Literal[
    "CONTAINS",
    "HAS OBS CONTEXT",
    "HAS ACQ CONTEXT",
    "HAS CONCEPT MOD",
    "HAS PROPERTIES",
    "INFERRED FROM",
    "SELECTED FROM",
]

CONTAINS: Final = "CONTAINS"
OBS_CONTEXT: Final = "HAS OBS CONTEXT"
ACQ_CONTEXT: Final = "HAS ACQ CONTEXT"
CONCEPT_MOD: Final = "HAS CONCEPT MOD"
PROPERTIES: Final = "HAS PROPERTIES"
INFERRED: Final = "INFERRED FROM"
SELECTED: Final = "SELECTED FROM"

_CONTENT_SEQUENCE: Final = Tag("ContentSequence")


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One content item with its children, in the order of its template."""

    item: ContentItem
    children: tuple[Node | Ref, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Ref:
    """A by-reference relationship to a node elsewhere in the same tree (PS3.3 C.17.3.2.5)."""

    relationship: Relationship
    target: Node


Child = Node | Ref


def container(
    relationship: Relationship | None,
    name: Code,
    *children: Child,
    template: str | None = None,
) -> Node:
    """A heading; its parts are separate items."""
    item = ContainerContentItem(
        name=name,
        is_content_continuous=False,
        template_id=template,
        relationship_type=relationship,
    )
    return Node(item, children)


def code(relationship: Relationship, name: Code, value: Code, *children: Child) -> Node:
    """A coded value."""
    return Node(CodeContentItem(name, value, relationship), children)


def text(relationship: Relationship, name: Code, value: str) -> Node:
    """A text value."""
    return Node(TextContentItem(name, value, relationship))


def date(relationship: Relationship, name: Code, value: str) -> Node:
    """A date as `YYYYMMDD`. Raises ValueError on anything else."""
    return Node(DateContentItem(name, value, relationship))


def time(relationship: Relationship, name: Code, value: str) -> Node:
    """A time as `HHMMSS.ffffff`. Raises ValueError on anything else."""
    return Node(TimeContentItem(name, value, relationship))


def uidref(relationship: Relationship, name: Code, value: str) -> Node:
    """A unique identifier."""
    return Node(UIDRefContentItem(name, value, relationship))


def number(relationship: Relationship, name: Code, value: float, unit: Code) -> Node:
    """A measured value; an int is written without decimals (highdicom would write `5.0`)."""
    item = NumContentItem(name, value, unit, relationship_type=relationship)
    if isinstance(value, int):
        item.MeasuredValueSequence[0].NumericValue = str(value)
    return Node(item)


def point(relationship: Relationship, name: Code, at: Point, *children: Child) -> Node:
    """One point, (column, row) in the pixel grid of the selected image (PS3.3 C.18.6)."""
    return _scoord(relationship, name, "POINT", (at,), children)


def polyline(
    relationship: Relationship, name: Code, points: Sequence[Point], *children: Child
) -> Node:
    """A line of points, (column, row); closed when the first is also the last."""
    return _scoord(relationship, name, "POLYLINE", points, children)


def _scoord(
    relationship: Relationship,
    name: Code,
    graphic_type: str,
    points: Sequence[Point],
    children: tuple[Child, ...],
) -> Node:
    # Graphic Data is FL: round once here, so that the checks see what will be read back.
    data = np.asarray(points, dtype=np.float32).astype(np.float64)
    item = ScoordContentItem(name, graphic_type, data, relationship_type=relationship)
    return Node(item, children)


def image(
    relationship: Relationship,
    sop_class_uid: str,
    sop_instance_uid: str,
    *children: Child,
    name: Code | None = None,
) -> Node:
    """A reference to an image by value; TID 4020 has no concept name, TID 1500 needs one."""
    item = ImageContentItem(
        name or SOURCE, sop_class_uid, sop_instance_uid, relationship_type=relationship
    )
    if name is None:
        del item.ConceptNameCodeSequence
    return Node(item, children)


def encoded(root: Node) -> Dataset:
    """The root content item with the whole tree under it, every reference numbered.

    Paths are 1-based positions from the root, which is itself 1 (PS3.3 C.17.3.2.5). Raises
    KeyError when a reference names a node outside the tree.
    """
    paths = dict(_numbered(root, (1,)))
    return _attached(root, paths)


def _numbered(node: Node, path: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    yield id(node), path
    for position, child in enumerate(node.children, start=1):
        if isinstance(child, Node):
            yield from _numbered(child, (*path, position))


def _attached(node: Node, paths: dict[int, tuple[int, ...]]) -> Dataset:
    children = [
        _attached(child, paths)
        if isinstance(child, Node)
        else _reference(child.relationship, paths[id(child.target)])
        for child in node.children
    ]
    if children:
        # As an element: the attribute of highdicom's items refuses by-reference children.
        node.item.add_new(_CONTENT_SEQUENCE, "SQ", DicomSequence(children))
    return node.item


def _reference(relationship: Relationship, path: tuple[int, ...]) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ReferencedContentItemIdentifier = list(path)
    return item
