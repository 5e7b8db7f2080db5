"""`dimse.identifiers.read_identifiers`: the first look at an object that was just received."""

from __future__ import annotations

import contextlib
from io import BytesIO

from cadnode.core.errors import UnreadableObject
from cadnode.dimse.identifiers import read_identifiers
from tests.fuzz.scratch import Scratch
from tests.fuzz.small_objects import encodings

LONGEST = 4096

SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
_scratch = Scratch()


def seeds() -> list[bytes]:
    """A byte that chooses the transfer syntax, then a data set."""
    return [
        bytes([SYNTAXES.index(syntax)]) + BytesIO(data_set).read()
        for syntax, data_set in encodings(SYNTAXES)
    ]


def one_input(data: bytes) -> None:
    path = _scratch.holding(data)
    syntax = SYNTAXES[data[0] % len(SYNTAXES)] if data else SYNTAXES[0]
    with contextlib.suppress(UnreadableObject):
        read_identifiers(path, 1, syntax)
