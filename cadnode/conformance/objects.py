"""What the created objects hold, found out by building every kind from every sample.

Presence is as in PS3.2: ALWAYS (with a value), VNAP (present, the value not always), ANAP (not
always present), EMPTY (present without a value). The source is found by what a value changes with.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import dictionary_description, tag_for_keyword

from cadnode.app import App
from cadnode.config import Settings
from cadnode.conformance.content import ContentRow, content_tree
from cadnode.conformance.samples import Sample, samples
from cadnode.conformance.walks import CONTENT, KeywordPath, coded_concepts

_OTHER_STATION: Final = "ANOTHER"
_BULK: Final = frozenset({"OB", "OW", "OF", "OD", "OL", "OV"})


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """One object of one kind, and the sample that it was built from."""

    kind: str
    sop_class_uid: str
    transfer_syntax_uid: str
    dataset: Dataset
    sample: int
    station: str
    """How the site calls its device."""


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """One attribute of an IOD table."""

    path: KeywordPath
    vr: str
    presence: str
    source: str
    """FIXED, COPY, CONFIG or AUTO; empty for a sequence whose items have theirs."""
    values: tuple[str, ...]
    """What stands there when it is fixed."""

    @property
    def tag(self) -> str:
        """As `(0008,0016)`."""
        number = tag_for_keyword(self.path[-1]) or 0
        return f"({number >> 16:04X},{number & 0xFFFF:04X})"

    @property
    def name(self) -> str:
        """The standard's name, with one `>` for each sequence around it."""
        depth = ">" * (len(self.path) - 1)
        return depth + dictionary_description(self.path[-1])


@dataclass(frozen=True, slots=True)
class CodeUse:
    """One coded concept that is written."""

    value: str
    scheme: str
    meaning: str
    kinds: tuple[str, ...]
    """The kinds of object that it is written in."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Every kind of object that the node creates, as built from the samples."""

    built: tuple[Built, ...]
    attributes: Mapping[str, Sequence[AttributeRow]]
    """By kind: the rows of its IOD table, without the content tree."""
    content: Mapping[str, Sequence[ContentRow]]
    """By kind: the rows of its content tree, in the order they are met; none if it has no tree."""

    @property
    def kinds(self) -> Mapping[str, str]:
        """SOP class UID of each kind."""
        return _kinds(self.built)

    def of(self, kind: str) -> list[Built]:
        """The objects of one kind."""
        return [one for one in self.built if one.kind == kind]

    def transfer_syntaxes(self, kind: str) -> list[str]:
        """In which the objects of a kind are encoded."""
        return sorted({one.transfer_syntax_uid for one in self.of(kind)})

    def codes(self) -> list[CodeUse]:
        """Every coded concept, each once."""
        kinds: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for one in self.built:
            for code in coded_concepts(one.dataset):
                kinds[code.scheme_designator, code.value, code.meaning].add(one.kind)
        order = list(self.kinds)
        return [
            CodeUse(value, scheme, meaning, tuple(sorted(used, key=order.index)))
            for (scheme, value, meaning), used in sorted(kinds.items())
        ]


def build_objects(settings: Settings) -> Objects:
    """Build every kind of result object from every sample, as the settings would have it."""
    other = settings.node.model_copy(update={"station_name": _OTHER_STATION})
    apps = App(settings), App(settings.model_copy(update={"node": other}))
    with tempfile.TemporaryDirectory(prefix="cadnode-") as folder:
        made = samples(Path(folder))
        # What the site calls its device shows in any two exams.
        built = [*_built(apps[0], made), *_built(apps[1], made[:2])]
    sources = [_by_keyword(sample.images) for sample in made]
    by_kind = {kind: [one for one in built if one.kind == kind] for kind in _kinds(built)}
    return Objects(
        tuple(built),
        attributes={kind: _rows(of_kind, sources) for kind, of_kind in by_kind.items()},
        content={
            kind: content_tree(one.dataset for one in of_kind) for kind, of_kind in by_kind.items()
        },
    )


def _kinds(built: Iterable[Built]) -> Mapping[str, str]:
    return {one.kind: one.sop_class_uid for one in built}


def _built(app: App, made: Sequence[Sample]) -> Iterator[Built]:
    for builder in app.builders():
        for number, sample in enumerate(made):
            for result in builder.objects(sample.report):
                dataset = dcmread(BytesIO(result.content))
                yield Built(
                    result.kind,
                    result.sop_class_uid,
                    str(dataset.file_meta.TransferSyntaxUID),
                    dataset,
                    number,
                    app.settings.node.station_name,
                )


@dataclass(slots=True)
class _Seen:
    present: int = 0
    empty: int = 0
    vr: str = ""
    values: list[tuple[int, str, str]] = field(default_factory=list)
    """(sample, station, value)."""


def _rows(
    built: Sequence[Built], sources: Sequence[Mapping[str, frozenset[str]]]
) -> list[AttributeRow]:
    seen: dict[KeywordPath, _Seen] = defaultdict(_Seen)
    items: dict[KeywordPath, int] = defaultdict(int)
    for one in built:
        _look(one.dataset, (), one, seen, items)
    rows = [
        _row(path, found, items[path[:-1]], items[()], sources)
        for path, found in sorted(seen.items(), key=lambda row: _order(row[0]))
    ]
    return _whole(rows, frozenset().union(*sources))


def _row(
    path: KeywordPath,
    found: _Seen,
    parents: int,
    objects: int,
    sources: Sequence[Mapping[str, frozenset[str]]],
) -> AttributeRow:
    source = "" if found.vr == "SQ" else _source(path, found, objects, sources)
    values = {value for _, _, value in found.values} if source == "FIXED" else set()
    return AttributeRow(path, found.vr, _presence(found, parents), source, tuple(sorted(values)))


def _whole(rows: Sequence[AttributeRow], known: frozenset[str]) -> list[AttributeRow]:
    """A sequence that is copied from the images stands for all that is in it."""
    copied: set[KeywordPath] = set()
    for row in rows:
        inner = [one for one in rows if one.path[: len(row.path)] == row.path and one.source]
        if row.vr == "SQ" and row.path[-1] in known and inner:
            sources = {one.source for one in inner}
            if sources == {"COPY"}:
                copied.add(row.path)
    return [
        replace(row, source="COPY") if row.path in copied else row
        for row in rows
        if not any(row.path[:depth] in copied for depth in range(1, len(row.path)))
    ]


def _look(
    dataset: Dataset,
    path: KeywordPath,
    one: Built,
    seen: dict[KeywordPath, _Seen],
    items: dict[KeywordPath, int],
) -> None:
    items[path] += 1
    for element in dataset:
        if element.keyword == CONTENT:
            continue
        here = (*path, element.keyword or f"{element.tag}")
        found = seen[here]
        found.present += 1
        found.vr = str(element.VR)
        if element.is_empty:
            found.empty += 1
        elif element.VR == "SQ":
            for item in element.value:
                _look(item, here, one, seen, items)
        else:
            found.values.append((one.sample, one.station, shown(element)))


def _presence(found: _Seen, parents: int) -> str:
    if found.present < parents:
        return "ANAP"
    if not found.empty:
        return "ALWAYS"
    return "EMPTY" if found.empty == found.present else "VNAP"


def _source(
    path: KeywordPath,
    found: _Seen,
    objects: int,
    sources: Sequence[Mapping[str, frozenset[str]]],
) -> str:
    values = {value for _, _, value in found.values}
    of_image = all(value in sources[sample].get(path[-1], ()) for sample, _, value in found.values)
    # One that is not always there and says what the image says, was not made up.
    if values and of_image and (len(values) > 1 or len(found.values) < objects):
        return "COPY"
    if len(values) <= 1:
        return "FIXED"
    by_station: dict[str, set[str]] = defaultdict(set)
    for _, station, value in found.values:
        by_station[station].add(value)
    return "CONFIG" if all(len(same) == 1 for same in by_station.values()) else "AUTO"


def _by_keyword(images: Iterable[Dataset]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for image in images:
        for element in image.iterall():
            if not element.is_empty:
                found[element.keyword].add("" if element.VR == "SQ" else shown(element))
    return {keyword: frozenset(values) for keyword, values in found.items()}


def _order(path: KeywordPath) -> tuple[int, ...]:
    return tuple(tag_for_keyword(keyword) or 0 for keyword in path)


def shown(element: DataElement) -> str:
    """The value of an element as the tables show it; of pixels only that they are there."""
    if str(element.VR) in _BULK or element.keyword in ("PixelData", "GraphicData"):
        return f"({len(element.value)} values)"
    value = element.value
    values = list(value) if element.VM > 1 else [value]
    return "\\".join(str(one) for one in values)
