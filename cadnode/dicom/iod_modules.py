"""Which module of its IOD an attribute belongs to (PS3.3 annex A), from highdicom's copy of the
standard's tables."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from highdicom import _standard_utils


@dataclass(frozen=True, slots=True)
class Module:
    """One module of an IOD."""

    key: str
    """As highdicom writes it: `general-study`."""
    entity: str
    """Its information entity: `Patient`, `Study`, ..."""

    @property
    def name(self) -> str:
        """As the standard writes it."""
        return " ".join(_WORDS.get(word, word.capitalize()) for word in self.key.split("-"))


_WORDS: Mapping[str, str] = {
    "sr": "SR",
    "sop": "SOP",
    "sc": "SC",
    "voi": "VOI",
    "lut": "LUT",
    "of": "of",
    "and": "and",
}


def modules_of(sop_class_uid: str) -> tuple[Module, ...]:
    """The modules of the IOD, in its order; none for a SOP class that is not known."""
    iod = _standard_utils.get_sop_class_iod_map().get(sop_class_uid)
    rows = _standard_utils.get_iod_module_map().get(iod or "", [])
    return tuple(Module(str(row["key"]), str(row["ie"])) for row in rows)


def attributes_of(module: Module, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Keywords of the module's attributes in the sequence that `path` names, its own when empty."""
    yield from _by_path(module.key).get(path, ())


@functools.lru_cache
def _by_path(key: str) -> Mapping[tuple[str, ...], Sequence[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for row in _standard_utils.get_module_attribute_map().get(key, []):
        found.setdefault(tuple(row["path"]), []).append(str(row["keyword"]))
    return found


@functools.lru_cache
def module_of(sop_class_uid: str, keyword: str) -> Module | None:
    """The first module of the IOD that has the attribute; None when none has."""
    return next(
        (module for module in modules_of(sop_class_uid) if keyword in attributes_of(module)),
        None,
    )
