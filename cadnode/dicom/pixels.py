"""From the pixel data element to stored values: sizes checked first, one decoder per syntax."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import ImageHeader
from cadnode.core.reasons import Reason
from cadnode.dicom.codestreams import is_complete, size_of
from cadnode.dicom.decoder import DECODERS, Order
from cadnode.dicom.files import UNDEFINED_LENGTH, OpenFile, ReadLimits
from cadnode.dicom.header import integer

_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"})
_RLE = "1.2.840.10008.1.2.5"

_MARGIN = 1 << 16

Decode = Callable[[bytes, Order], NDArray[np.uint16]]
"""From a codestream to stored values, shape (rows, columns); raises ImageFailed."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The Image Pixel module of a single-frame grey image (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    bits_stored: int
    high_bit: int
    signed: bool


def stored_values(
    file: OpenFile, header: ImageHeader, limits: ReadLimits, decode: Decode
) -> NDArray[np.uint16]:
    """The stored values, shape (rows, columns), unused high bits cleared.

    Uncompressed ones are taken as they are: numpy looks at bytes whose number was checked.

    Signed values (Pixel Representation 1, which mammograms should not have) are given as the bit
    pattern of `bits_stored` bits. Raises ImageFailed.
    """
    layout = _layout(file, header, limits)
    if file.pixel_offset is None or file.pixel_length == 0:
        raise ImageFailed(Reason.NO_PIXEL_DATA)
    file.stream.seek(file.pixel_offset)
    if header.transfer_syntax_uid in _NATIVE:
        values = _native(file, layout)
    elif header.transfer_syntax_uid in DECODERS:
        values = _encapsulated(file, header.transfer_syntax_uid, layout, decode)
    else:
        raise ImageFailed(Reason.SYNTAX_UNSUPPORTED, header.transfer_syntax_uid)
    return _without_unused_bits(values, layout)


def _layout(file: OpenFile, header: ImageHeader, limits: ReadLimits) -> _Layout:
    rows, columns = header.rows or 0, header.columns or 0
    if (
        not 0 < rows <= limits.max_side
        or not 0 < columns <= limits.max_side
        or rows * columns > limits.max_pixels
    ):
        raise ImageFailed(Reason.SIZE_OUT_OF_RANGE, f"{rows} rows, {columns} columns")
    if header.samples_per_pixel != 1:
        raise ImageFailed(Reason.NOT_MONOCHROME)
    if header.frames != 1:
        raise ImageFailed(Reason.MULTI_FRAME, f"{header.frames} frames")
    bits_stored = header.bits_stored or 0
    high_bit = integer(file.dataset, "HighBit")
    high_bit = bits_stored - 1 if high_bit is None else high_bit
    if header.bits_allocated != 16 or not 0 < bits_stored <= high_bit + 1 <= 16:
        raise ImageFailed(
            Reason.DECODING_FAILED,
            f"bits allocated {header.bits_allocated}, stored {bits_stored}, high bit {high_bit}",
        )
    signed = integer(file.dataset, "PixelRepresentation") == 1
    return _Layout(rows, columns, bits_stored, high_bit, signed)


def _native(file: OpenFile, layout: _Layout) -> NDArray[np.uint16]:
    needed = layout.rows * layout.columns * 2
    if file.pixel_length == UNDEFINED_LENGTH:
        raise ImageFailed(Reason.DECODING_FAILED, "compressed data in an uncompressed syntax")
    there = min(file.pixel_length, _remaining(file.stream))
    if there < needed:
        raise ImageFailed(Reason.PIXEL_DATA_TRUNCATED, f"{there} of {needed} bytes")
    content = file.stream.read(needed)
    return np.frombuffer(content, dtype="<u2").reshape(layout.rows, layout.columns)


def _remaining(stream: BinaryIO) -> int:
    position = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(position)
    return end - position


def _encapsulated(
    file: OpenFile, syntax: str, layout: _Layout, decode: Decode
) -> NDArray[np.uint16]:
    if file.pixel_length != UNDEFINED_LENGTH:
        raise ImageFailed(Reason.DECODING_FAILED, "uncompressed data in a compressed syntax")
    # What a lossless codec makes of noise is a little larger than the noise.
    frame = _frame(file.stream, 2 * layout.rows * layout.columns * 2 + _MARGIN)
    if syntax != _RLE:
        _check_codestream(frame, layout)
    return decode(
        frame,
        Order(
            transfer_syntax_uid=syntax,
            length=len(frame),
            rows=layout.rows,
            columns=layout.columns,
            bits_stored=layout.bits_stored,
            signed=layout.signed,
        ),
    )


def _frame(stream: BinaryIO, longest: int) -> bytes:
    """The fragments of the only frame joined (PS3.5 A.4), the offset table left out.

    Raises ImageFailed, DECODING_FAILED when they are more than `longest` bytes.
    """
    content = stream.read(longest)
    fragments = []
    position = 0
    while True:
        tag, length = content[position : position + 4], content[position + 4 : position + 8]
        if tag == b"\xfe\xff\xdd\xe0":
            break
        end = position + 8 + int.from_bytes(length, "little")
        if len(length) < 4 or end > len(content):
            if len(content) == longest:
                raise ImageFailed(Reason.DECODING_FAILED, "larger than the image uncompressed")
            raise ImageFailed(Reason.PIXEL_DATA_TRUNCATED)
        if tag != b"\xfe\xff\x00\xe0":
            raise ImageFailed(Reason.DECODING_FAILED, "no fragment where one has to be")
        fragments.append(memoryview(content)[position + 8 : end])
        position = end
    if len(fragments) < 2:
        raise ImageFailed(Reason.NO_PIXEL_DATA, "no fragment behind the offset table")
    return fragments[1].tobytes() if len(fragments) == 2 else b"".join(fragments[1:])


def _check_codestream(frame: bytes, layout: _Layout) -> None:
    try:
        size = size_of(frame)
    except ValueError as error:
        raise ImageFailed(Reason.DECODING_FAILED, str(error)) from error
    if (size.rows, size.columns, size.components) != (layout.rows, layout.columns, 1):
        raise ImageFailed(
            Reason.DECODING_FAILED,
            f"the codestream has {size.rows} rows, {size.columns} columns, "
            f"{size.components} components",
        )
    if not 8 < size.precision <= 16:
        raise ImageFailed(Reason.DECODING_FAILED, f"{size.precision} bits in the codestream")
    if not is_complete(frame):
        raise ImageFailed(Reason.PIXEL_DATA_TRUNCATED, "no end marker in the codestream")


def _without_unused_bits(values: NDArray[np.uint16], layout: _Layout) -> NDArray[np.uint16]:
    """Retired overlays live in the bits above High Bit (PS3.5 8.1.1); they are not image."""
    shift = np.uint16(layout.high_bit + 1 - layout.bits_stored)
    mask = np.uint16((1 << layout.bits_stored) - 1)
    if shift:
        return (values >> shift) & mask
    return values if values.max(initial=0) <= mask else values & mask
