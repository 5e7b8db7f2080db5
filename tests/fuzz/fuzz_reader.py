"""`dicom.reader` on a whole file, up to the door of the decoders: header, sizes, look-up tables."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from cadnode.core.eligibility import judge
from cadnode.core.errors import ImageFailed
from cadnode.dicom.decoder import Order
from cadnode.dicom.reader import DicomReader, ReadLimits
from tests.codecs import LOSSLESS_SYNTAXES
from tests.fuzz.scratch import Scratch
from tests.fuzz.small_objects import files

LONGEST = 6144

_scratch = Scratch()


def _decode(_codestream: bytes, order: Order) -> NDArray[np.uint16]:
    return np.zeros((order.rows, order.columns), np.uint16)


_reader = DicomReader(ReadLimits(max_pixels=1 << 16, max_inflated_bytes=1 << 20), _decode)


def seeds() -> list[bytes]:
    return [file for _, file in files(LOSSLESS_SYNTAXES)]


def one_input(data: bytes) -> None:
    path = _scratch.holding(data)
    with contextlib.suppress(ImageFailed):
        header = _reader.header(path)
        judge(header, analyzed_views=frozenset({"CC", "MLO"}))
        found = _reader.mammogram(path, header)
        assert np.isfinite(found.pixels).all()
        assert found.pixels.min() >= 0
        assert found.pixels.max() <= 1
