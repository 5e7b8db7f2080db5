"""The conformance statement as an integration engineer reads it: its tables, by their captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

FILE = Path(__file__).parents[2] / "docs" / "conformance.md"

SOP_CLASSES = [
    uid
    for uid, (_, kind, *_) in UID_dictionary.items()
    if kind in ("SOP Class", "Meta SOP Class", "Service Class")
]
TRANSFER_SYNTAXES = [
    uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"
]
"""Everything of the standard that a peer may propose."""

Row = Mapping[str, str]

_CAPTION = re.compile(r"^\*\*Table ([\dA-Z-]+)\. (.*?)\*\*(: none\.)?$", re.MULTILINE)


@dataclass(frozen=True)
class Offered:
    """One abstract syntax in one transfer syntax, as a table of contexts has it."""

    sop_class_uid: str
    transfer_syntax_uid: str
    role: str
    extended: str


class Statement:
    """The tables of one statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.numbers: list[str] = []
        self._tables: dict[str, Sequence[Row]] = {}
        for found in _CAPTION.finditer(text):
            self.numbers.append(found[1])
            self._tables[found[2]] = [] if found[3] else _rows(text[found.end() :])

    @property
    def captions(self) -> Sequence[str]:
        """Of every table with rows, or that says it has none."""
        return list(self._tables)

    def table(self, caption: str) -> Sequence[Row]:
        """The rows of the table, by heading."""
        return self._tables[caption]

    def offered(self, caption: str) -> set[Offered]:
        """A table of presentation contexts, with the sets of transfer syntaxes spelt out."""
        sets: dict[str, list[str]] = {}
        for row in self.table("Transfer syntaxes"):
            for name in row["Sets it belongs to"].split(", "):
                sets.setdefault(name, []).append(plain(row["UID"]))
        return {
            Offered(plain(row["UID"]), syntax, row["Role"], row["Extended negotiation"])
            for row in self.table(caption)
            for name in row["Transfer syntaxes"].split(", ")
            for syntax in sets.get(name, [plain(name)])
        }


def written() -> Statement:
    """The statement in the documentation, of the default settings."""
    return Statement(FILE.read_text(encoding="utf-8"))


def plain(cell: str) -> str:
    """A cell without its markup."""
    return cell.replace("`", "").replace("\\|", "|")


def _rows(text: str) -> list[Row]:
    lines = text.strip().split("\n")
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    headings, _, *rows = table
    assert all(len(row) == len(headings) for row in rows), headings
    return [dict(zip(headings, row, strict=True)) for row in rows]
