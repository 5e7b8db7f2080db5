"""The identifiers of a received object, read from its file without reading the object."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from cadnode.core.errors import UnreadableObject
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.dimse.identifier_text import day_of, text_of

LONGEST_INFLATED = 4 << 20
"""Bytes of a deflated data set that are looked at; the identifiers stand near its beginning."""

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_CHARACTER_SET, _STUDY_DATE = 0x00080005, 0x00080020
_ACCESSION, _PATIENT_ID = 0x00080050, 0x00100020
_WANTED: list[BaseTag | int] = [
    BaseTag(tag)
    for tag in (
        *(_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE, _ACCESSION, _PATIENT_ID),
        *(_STUDY, _SERIES),
    )
]

LONGEST_VALUE = 1024
"""Bytes; a longer value of these is not even read."""

_UID = re.compile(rb"[0-9]+(\.[0-9]+)*")
"""Leading zeros in a component break PS3.5 section 9.1 but are met in the field."""

# What pydicom raises on bytes that are no data set; a deeply nested sequence ends in recursion.
UNPARSABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    InvalidDicomError,
    BytesLengthException,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What says which object it is and where it belongs."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    exam: ExamIdentifiers
    """Without what cannot be read: an object is never refused for these."""


def read_identifiers(path: Path, data_set_offset: int, transfer_syntax_uid: str) -> Identifiers:
    """The identifiers of the data set that begins at `data_set_offset` (bytes).

    Raises UnreadableObject naming the attribute that is missing or is no UID.
    """
    syntax = UID(transfer_syntax_uid)
    try:
        with path.open("rb") as file:
            file.seek(data_set_offset)
            head: BinaryIO = _inflated(file) if syntax.is_deflated else file
            data_set = read_dataset(
                head,
                syntax.is_implicit_VR,
                True,
                stop_when=_beyond_the_series,
                defer_size=LONGEST_VALUE,
                specific_tags=_WANTED,
            )
            values: dict[int, object] = {
                tag: data_set.get_item(tag, keep_deferred=True) for tag in _WANTED
            }
    except UNPARSABLE as error:
        raise UnreadableObject(f"the data set cannot be parsed: {type(error).__name__}") from error
    return Identifiers(
        _uid("SOP Class UID", values[_SOP_CLASS]),
        _uid("SOP Instance UID", values[_SOP_INSTANCE]),
        _uid("Study Instance UID", values[_STUDY]),
        _uid("Series Instance UID", values[_SERIES]),
        _exam(values),
    )


def _exam(values: Mapping[int, object]) -> ExamIdentifiers:
    def raw(tag: int) -> bytes:
        value = getattr(values[tag], "value", None)
        return value if isinstance(value, bytes) else b""

    terms = raw(_CHARACTER_SET)
    return ExamIdentifiers(
        text_of(raw(_PATIENT_ID), terms) or None,
        text_of(raw(_ACCESSION), terms) or None,
        day_of(raw(_STUDY_DATE)),
    )


def _beyond_the_series(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _SERIES)


def _inflated(file: BinaryIO) -> BytesIO:
    # Raw deflate, without zlib's header (PS3.5 annex A.5).
    return BytesIO(
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(
            file.read(LONGEST_INFLATED), LONGEST_INFLATED
        )
    )


def _uid(name: str, element: object) -> str:
    value = getattr(element, "value", None)
    # Anything else is a sequence in the place of a text.
    text = value.encode("ascii", "replace") if isinstance(value, str) else b""
    raw = value if isinstance(value, bytes) else text
    raw = raw.rstrip(b"\x00 ")
    if not raw:
        raise UnreadableObject(f"the {name} is missing")
    if len(raw) > 64 or not _UID.fullmatch(raw):
        raise UnreadableObject(f"the {name} is not a UID")
    return raw.decode("ascii")
