"""`dimse.identifiers.read_identifiers`: the first look at an object that was just received."""

from __future__ import annotations

import contextlib
from io import BytesIO

from cadnode.core.errors import UnreadableObject
from cadnode.dimse.identifiers import read_identifiers
from tests.fuzz.scratch import Scratch
from tests.fuzz.small_objects import encodings
from tests.integration.modality import element

LONGEST = 4096

SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
_scratch = Scratch()


def seeds() -> list[bytes]:
    """A byte that chooses the transfer syntax, then a data set."""
    whole = [
        bytes([SYNTAXES.index(syntax)]) + BytesIO(data_set).read()
        for syntax, data_set in encodings(SYNTAXES)
    ]
    return [*whole, *(b"\x00" + _head(terms, patient) for terms, patient in _TEXTS)]


_TEXTS = (
    (b"ISO_IR 100", "Prüf-1".encode("latin-1")),
    (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B-1"),
    (b"ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8\x1b-L\xe9"),
)


def _head(terms: bytes, patient: bytes) -> bytes:
    """The beginning of a data set that is found by values in this character set."""
    values = {0x00080005: terms, 0x00080016: b"1.2", 0x00080018: b"1.3", 0x00080020: b"20260301"}
    values |= {0x00080050: b"A-1", 0x00100020: patient, 0x0020000D: b"1.4", 0x0020000E: b"1.5"}
    return b"".join(element(tag, value) for tag, value in values.items())


def one_input(data: bytes) -> None:
    path = _scratch.holding(data)
    syntax = SYNTAXES[data[0] % len(SYNTAXES)] if data else SYNTAXES[0]
    with contextlib.suppress(UnreadableObject):
        read_identifiers(path, 1, syntax)
