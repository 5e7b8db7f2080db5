"""What a compressed frame says of itself, read from its first bytes before any decoder sees it.

A decoder allocates what the codestream announces, not what the DICOM header does, so a small file
can ask for any amount of memory. And decoders fill up what is missing at the end of a codestream
with grey, so its end marker has to be there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

# ITU-T T.81 table B.1: start of frame, without DHT (C4), JPG (C8) and DAC (CC); F7 is JPEG-LS.
_START_OF_FRAME = (
    *range(0xC0, 0xC4),
    *range(0xC5, 0xC8),
    *range(0xC9, 0xCC),
    *range(0xCD, 0xD0),
    0xF7,
)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000


@dataclass(frozen=True, slots=True)
class CodestreamSize:
    """Dimensions as the codestream gives them."""

    rows: int
    columns: int
    components: int
    precision: int
    """Bits per sample."""


def size_of(codestream: bytes | memoryview) -> CodestreamSize:
    """Dimensions of a JPEG, JPEG-LS or JPEG 2000 codestream; ValueError when it is none."""
    try:
        if codestream[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000_size(codestream)
        if codestream[:2] == b"\xff\xd8":
            return _jpeg_size(codestream)
    except (struct.error, IndexError) as error:
        raise ValueError("the codestream ends inside its header") from error
    raise ValueError("not a JPEG codestream")


def is_complete(codestream: bytes | memoryview) -> bool:
    """True when the end marker is there, padding (zeros) behind it allowed."""
    return bytes(codestream[-64:]).rstrip(b"\0").endswith(_END)


def _jpeg_2000_size(codestream: bytes | memoryview) -> CodestreamSize:
    """The SIZ segment (ITU-T T.800 A.5.1)."""
    right, bottom, left, top = struct.unpack(">4L", codestream[8:24])
    (components,) = struct.unpack(">H", codestream[40:42])
    return CodestreamSize(bottom - top, right - left, components, (codestream[42] & 0x7F) + 1)


def _jpeg_size(codestream: bytes | memoryview) -> CodestreamSize:
    """The first frame header (ITU-T T.81 B.2.2)."""
    position = 2
    while True:
        if codestream[position] != 0xFF:
            raise ValueError("no marker where one has to be")
        marker = codestream[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _START_OF_FRAME:
            precision, rows, columns, components = struct.unpack(
                ">BHHB", codestream[position + 4 : position + 10]
            )
            return CodestreamSize(rows, columns, components, precision)
        elif marker in (0xD9, 0xDA):
            raise ValueError("image data without a frame header")
        else:
            (length,) = struct.unpack(">H", codestream[position + 2 : position + 4])
            position += 2 + length
