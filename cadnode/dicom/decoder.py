"""The process that decodes compressed pixels: `python -m cadnode.dicom.decoder INPUT OUTPUT ...`.

The decoders are C, C++ and Rust code that works on what a stranger sent: they may crash, loop or
ask for any amount of memory. They do it here, where nothing else is lost. `decoding.DecoderProcess`
starts this program and is the only one to speak with it:

    standard input   one line of JSON for each frame, see `Order`; its end ends the process
    standard output  one line of JSON for each answer: {} or {"error": "..."}
    INPUT, OUTPUT    file descriptors of two files that both processes share: the codestream lies in
                     the first, the stored values (16 bits, little endian) go into the second
    SECONDS, BYTES   limits of one frame and of the process's memory
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from cadnode.dicom.files import PARSE_ERRORS, quiet

DECODERS: Mapping[str, str] = MappingProxyType(
    {
        "1.2.840.10008.1.2.5": "pylibjpeg",
        "1.2.840.10008.1.2.4.57": "gdcm",
        "1.2.840.10008.1.2.4.70": "gdcm",
        "1.2.840.10008.1.2.4.80": "pyjpegls",
        "1.2.840.10008.1.2.4.90": "pylibjpeg",
        "1.2.840.10008.1.2.4.201": "pylibjpeg",
        "1.2.840.10008.1.2.4.202": "pylibjpeg",
    }
)
"""pydicom's decoder plugin for each compressed syntax: chosen, so that what else happens to be
installed changes no pixel."""

_COMPLAINTS = (b"Corrupt JPEG data",)
"""What gdcm writes to standard error where it makes up pixels."""


class DecodingError(Exception):
    """A decoder refused a frame; the message names the exception, never a value."""


@dataclass(frozen=True, slots=True)
class Order:
    """One frame to decode: a single-frame grey image of 16 bits allocated."""

    transfer_syntax_uid: str
    length: int
    """Bytes of the codestream."""
    rows: int
    columns: int
    bits_stored: int
    signed: bool

    def as_line(self) -> bytes:
        """The line of JSON that `of_line` reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Order:
        """The order in a line of JSON."""
        return cls(**json.loads(line))


def decoded(codestream: bytes, order: Order) -> NDArray[np.uint16]:
    """The stored values as bit patterns, shape (rows, columns). Raises DecodingError."""
    options: dict[str, Any] = {
        "rows": order.rows,
        "columns": order.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 16,
        "bits_stored": order.bits_stored,
        "pixel_representation": int(order.signed),
        "pixel_keyword": "PixelData",
    }
    with quiet(), _translated():
        values, _ = get_decoder(UID(order.transfer_syntax_uid)).as_array(
            encapsulate([codestream], has_bot=False),
            raw=True,
            index=0,
            decoding_plugin=DECODERS[order.transfer_syntax_uid],
            **options,
        )
    if values.shape != (order.rows, order.columns) or values.dtype.itemsize != 2:
        raise DecodingError(f"decoded to {values.dtype} {values.shape}")
    return np.asarray(values).view(np.uint16)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Whatever a decoder raises for damaged data, as DecodingError."""
    try:
        yield
    except PARSE_ERRORS as error:
        raise DecodingError(type(error).__name__) from error
    except BaseException as error:
        # pylibjpeg-rle is Rust: an index beyond its buffer panics, and PyO3 derives that from
        # BaseException so that nobody catches it by accident. Here it is only a damaged image.
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise DecodingError(type(error).__name__) from error


def main() -> None:
    """Decode what is ordered until standard input ends."""
    codestreams, pixels, seconds, memory = (int(word) for word in sys.argv[1:5])
    # Who stops the node stops its worker, and the end of standard input stops this process: a
    # signal to the whole group must not fail the image at hand.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    said = _Said()
    answers.write(b"{}\n")
    for line in sys.stdin.buffer:
        # Should nobody be left to stop a decoder that never ends: the default action ends us.
        signal.alarm(seconds + 1)
        answers.write(json.dumps(_answer(Order.of_line(line), codestreams, pixels, said)).encode())
        answers.write(b"\n")
        signal.alarm(0)


def _answer(order: Order, codestreams: int, pixels: int, said: _Said) -> dict[str, str]:
    try:
        values = decoded(os.pread(codestreams, order.length, 0), order)
    except DecodingError as error:
        return {"error": str(error)}
    if complaint := said.complaint():
        return {"error": complaint}
    content = memoryview(values.tobytes())
    at = 0
    while at < len(content):
        at += os.pwrite(pixels, content[at:], at)
    return {}


class _Said:
    """What the decoders write to standard output and error, which is free text.

    gdcm's copy of libjpeg fills up what it cannot decode and only says so there.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  open until the end
        for stream in (1, 2):
            os.dup2(self._file.fileno(), stream)

    def complaint(self) -> str:
        """What was said since the last time if it means made-up pixels, else nothing."""
        handle = self._file.fileno()
        text = os.pread(handle, 1 << 16, 0)
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        return next((words.decode() for words in _COMPLAINTS if words in text), "")


if __name__ == "__main__":
    main()
