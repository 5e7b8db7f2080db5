"""The decoders themselves, as the node calls them: whatever they do is one image's failure.

What happens in the other process guides no mutation. A decoder that dies or does not come to an end
is noted, and is no bug of ours.
"""

from __future__ import annotations

import sys

from cadnode.core.errors import ImageFailed
from cadnode.core.reasons import Reason
from cadnode.dicom.reader import DicomReader, ReadLimits
from tests.codecs import ENCAPSULATED_SYNTAXES
from tests.fuzz.scratch import Scratch
from tests.fuzz.small_objects import as_file, small_mammogram

LONGEST = 2048

_scratch = Scratch()
_reader = DicomReader(ReadLimits(decode_seconds=5.0, decode_bytes=512 << 20))


def _parts(syntax: str) -> tuple[bytes, bytes]:
    """A file up to its pixel data, and the codestream in it."""
    dataset = small_mammogram(syntax)
    content = bytes(dataset.PixelData)
    start = 8 + int.from_bytes(content[4:8], "little")
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    codestream = content[start + 8 : start + 8 + length]
    return as_file(dataset).partition(content)[0], codestream


_FILES = [_parts(syntax) for syntax in ENCAPSULATED_SYNTAXES]


def _item(content: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def seeds() -> list[bytes]:
    """A byte that chooses the transfer syntax, then a codestream."""
    return [bytes([number]) + codestream for number, (_, codestream) in enumerate(_FILES)]


def one_input(data: bytes) -> None:
    header, _ = _FILES[data[0] % len(_FILES)] if data else _FILES[0]
    items = (_item(b""), _item(data[1:]), b"\xfe\xff\xdd\xe0\0\0\0\0")
    path = _scratch.holding(header + b"".join(items))
    try:
        _reader.mammogram(path, _reader.header(path))
    except ImageFailed as failure:
        if failure.reason in (Reason.DECODER_BROKE, Reason.DECODING_TOO_LONG):
            sys.stdout.write(f"note: {failure.detail}\n")
            sys.stdout.flush()
