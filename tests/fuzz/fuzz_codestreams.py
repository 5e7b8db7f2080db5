"""What a compressed frame says of itself, and the fragments it comes in."""

from __future__ import annotations

import contextlib
from io import BytesIO

from cadnode.core.errors import ImageFailed
from cadnode.dicom.codestreams import is_complete, size_of
from cadnode.dicom.pixels import _frame
from tests.codecs import ENCAPSULATED_SYNTAXES
from tests.fuzz.small_objects import small_mammogram

LONGEST = 2048


def seeds() -> list[bytes]:
    encapsulated = [
        bytes(small_mammogram(syntax).PixelData) + b"\xfe\xff\xdd\xe0\0\0\0\0"
        for syntax in ENCAPSULATED_SYNTAXES
    ]
    return [*encapsulated, *(content[16:-8] for content in encapsulated)]


def one_input(data: bytes) -> None:
    for codestream in (data, _frame_of(data)):
        is_complete(codestream)
        with contextlib.suppress(ValueError):
            size_of(codestream)


def _frame_of(data: bytes) -> bytes:
    try:
        return _frame(BytesIO(data), LONGEST)
    except ImageFailed:
        return b""
