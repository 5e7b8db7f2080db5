"""Opening a stored DICOM file without trusting it: bounded, and without reading its pixels."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cadnode.core.errors import ImageFailed, ImageUnreachable
from cadnode.core.reasons import Reason

PARSE_ERRORS: tuple[type[Exception], ...] = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    RuntimeError,  # RecursionError too: sequences nested without end
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What pydicom and the decoders are known to raise for damaged input."""

UNDEFINED_LENGTH = 0xFFFFFFFF

_PIXEL_DATA = 0x7FE00010
_BULK_DATA = frozenset({0x7FE00008, 0x7FE00009, _PIXEL_DATA})
_LONG_HEADER_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SV", "UN", "UV"})
_NEVER_LOADED = 4 * 1024 * 1024
"""Bytes from which a header element is left on disk: nothing that is asked for is that big."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much of a file is believed. The defaults hold any detector or film scan in use."""

    max_side: int = 16_384
    """Rows or columns."""
    max_pixels: int = 80_000_000
    """Rows times columns; a 24 x 30 cm film at 43.5 um has 38 million."""
    max_inflated_bytes: int = 256 * 1024 * 1024
    """Size of a deflated data set once inflated."""
    decode_seconds: float = 60.0
    """How long a decoder may take over one image."""
    decode_bytes: int = 4096 << 20
    """Memory of the process that decodes."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenFile:
    """A parsed header and where the pixel data lies behind it."""

    dataset: Dataset
    """Everything in front of the pixel data."""
    transfer_syntax_uid: str
    """Empty when the file does not say."""
    stream: BinaryIO
    """The file, or the inflated data set."""
    pixel_offset: int | None
    """Where the value of Pixel Data starts in `stream`; None when there is none."""
    pixel_length: int
    """Its length in bytes as the file says it, `UNDEFINED_LENGTH` when encapsulated."""


class _PixelDataFinder:
    """Stops pydicom in front of the pixel data and remembers what stands there."""

    def __init__(self) -> None:
        self.header_size: int | None = None
        self.length = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag == _PIXEL_DATA:
            self.header_size = 12 if vr in _LONG_HEADER_VRS else 8
            self.length = length
        return tag in _BULK_DATA


@contextmanager
def opened(path: Path, limits: ReadLimits) -> Iterator[OpenFile]:
    """The file at `path`, open while the context lasts.

    Raises ImageFailed: UNREADABLE when it is no DICOM file or not there, SIZE_OUT_OF_RANGE when a
    deflated data set is larger than the limit. Raises ImageUnreachable when the system refuses,
    also while the context lasts.
    """
    try:
        handle = path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageFailed(Reason.UNREADABLE, type(error).__name__) from error
    except OSError as error:
        raise ImageUnreachable(f"a stored image cannot be opened: {error.strerror}") from error
    with handle:
        try:
            found = _parse(path, handle, limits)
        except PARSE_ERRORS as error:
            if isinstance(error, OSError) and error.errno:
                raise ImageUnreachable(
                    f"a stored image cannot be read: {error.strerror}"
                ) from error
            # Not the message: pydicom's may quote values, and a value may be a name.
            raise ImageFailed(Reason.UNREADABLE, type(error).__name__) from error
        try:
            yield found
        except OSError as error:
            raise ImageUnreachable(f"a stored image cannot be read: {error.strerror}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns about odd values and quotes them; a patient's name may be among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parse(path: Path, handle: BinaryIO, limits: ReadLimits) -> OpenFile:
    finder = _PixelDataFinder()
    with quiet():
        meta = read_file_meta_info(path)
        syntax = str(meta.get("TransferSyntaxUID", ""))
        stream: BinaryIO = handle
        dataset: Dataset
        if syntax == DeflatedExplicitVRLittleEndian:
            stream = _inflated(handle, int(meta.FileMetaInformationGroupLength), limits)
            dataset = read_dataset(stream, False, True, stop_when=finder)
        else:
            dataset = read_partial(handle, stop_when=finder, defer_size=_NEVER_LOADED)
    offset = None if finder.header_size is None else stream.tell() + finder.header_size
    return OpenFile(dataset, syntax, stream, offset, finder.length)


def _inflated(handle: BinaryIO, group_length: int, limits: ReadLimits) -> BinaryIO:
    """The data set behind the file meta information (PS3.10 7.1), inflated up to the limit."""
    preamble_prefix_and_group_length = 128 + 4 + 12
    handle.seek(preamble_prefix_and_group_length + group_length)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = bytearray()
    while (chunk := handle.read(1 << 20)) and not inflater.eof:
        room = limits.max_inflated_bytes - len(content) + 1
        content += inflater.decompress(chunk, room)
        if len(content) > limits.max_inflated_bytes:
            raise ImageFailed(
                Reason.SIZE_OUT_OF_RANGE,
                f"inflates to more than {limits.max_inflated_bytes} bytes",
            )
    return BytesIO(content)
