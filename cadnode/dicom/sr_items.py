"""A content tree that was read: items with their paths, and the same tree as text lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.core.findings import Point
from cadnode.dicom.sr_codes import read_code, same_code

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One content item as it stands in an object; what an item does not have reads as None."""

    dataset: Dataset
    path: Path
    """1-based positions from the root, which is (1,)."""
    name: Code | None
    code: Code | None
    children: tuple[Item, ...]

    @property
    def relationship(self) -> str:
        return str(self.dataset.get("RelationshipType") or "")

    @property
    def value_type(self) -> str:
        """Empty for a by-reference relationship."""
        return str(self.dataset.get("ValueType") or "")

    @property
    def number(self) -> float | None:
        """The measured value; the floating point form where there is one."""
        for measured in self.dataset.get("MeasuredValueSequence") or ():
            value = measured.get("FloatingPointValue")
            value = measured.get("NumericValue") if value is None else value
            if value is not None and value != "":
                return float(value)
        return None

    @property
    def unit(self) -> Code | None:
        for measured in self.dataset.get("MeasuredValueSequence") or ():
            return _code(measured, "MeasurementUnitsCodeSequence")
        return None

    @property
    def text(self) -> str | None:
        for keyword in ("TextValue", "UID", "Date", "Time", "PersonName"):
            value = self.dataset.get(keyword)
            if value is not None:
                return str(value)
        return None

    @property
    def target(self) -> Path | None:
        """The path that a by-reference relationship names."""
        value = self.dataset.get("ReferencedContentItemIdentifier")
        if value is None:
            return None
        return (int(value),) if isinstance(value, int) else tuple(int(part) for part in value)

    @property
    def graphic_type(self) -> str:
        return str(self.dataset.get("GraphicType") or "")

    @property
    def points(self) -> tuple[Point, ...]:
        """(column, row) pairs of Graphic Data."""
        data = [float(value) for value in self.dataset.get("GraphicData") or ()]
        return tuple(zip(data[0::2], data[1::2], strict=False))

    @property
    def referenced_sop(self) -> tuple[str, str] | None:
        """Class and instance UID of the object that an IMAGE or COMPOSITE item names."""
        for reference in self.dataset.get("ReferencedSOPSequence") or ():
            return (
                str(reference.get("ReferencedSOPClassUID") or ""),
                str(reference.get("ReferencedSOPInstanceUID") or ""),
            )
        return None

    def walk(self) -> Iterator[Item]:
        """This item and everything below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def named(self, name: Code) -> tuple[Item, ...]:
        """The children with this concept name."""
        return tuple(child for child in self.children if same_code(child.name, name))

    def first(self, name: Code) -> Item | None:
        """The first child with this concept name."""
        return next(iter(self.named(name)), None)


def parsed(dataset: Dataset) -> Item:
    """The content tree of an SR object."""
    return _item(dataset, (1,))


def by_path(root: Item) -> Mapping[Path, Item]:
    """Every item of the tree under its path."""
    return {item.path: item for item in root.walk()}


def tree_lines(dataset: Dataset) -> tuple[str, ...]:
    """The content tree as readable lines, indented by level."""
    return tuple("  " * (len(item.path) - 1) + _line(item) for item in parsed(dataset).walk())


def _item(dataset: Dataset, path: Path) -> Item:
    children = tuple(
        _item(child, (*path, position))
        for position, child in enumerate(dataset.get("ContentSequence") or (), start=1)
    )
    return Item(
        dataset=dataset,
        path=path,
        name=_code(dataset, "ConceptNameCodeSequence"),
        code=_code(dataset, "ConceptCodeSequence"),
        children=children,
    )


def _code(dataset: Dataset, keyword: str) -> Code | None:
    for item in dataset.get(keyword) or ():
        return read_code(item)
    return None


def _line(item: Item) -> str:
    relationship = f"{item.relationship.lower()} " if item.relationship else ""
    if item.target is not None:
        return f"{relationship}-> {'.'.join(map(str, item.target))}"
    name = item.name.meaning if item.name else ""
    head = f"{relationship}{item.value_type}" + (f" {name}" if name else "")
    value = _value(item)
    return f"{head}: {value}" if value else head


def _value(item: Item) -> str:
    if item.value_type == "CODE":
        code = item.code
        return f"{code.meaning} ({code.value}, {code.scheme_designator})" if code else ""
    if item.value_type == "NUM":
        return _measured(item)
    if item.value_type == "SCOORD":
        shown = " ".join(f"{column:g},{row:g}" for column, row in item.points)
        return f"{item.graphic_type} {shown}"
    if item.value_type in ("IMAGE", "COMPOSITE"):
        return item.referenced_sop[1] if item.referenced_sop else ""
    return item.text or ""


def _measured(item: Item) -> str:
    if item.number is None:
        return ""
    return f"{item.number:g} {item.unit.value}" if item.unit else f"{item.number:g}"
