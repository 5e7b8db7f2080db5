"""Reads stored mammograms: the header without its pixels, then the pixels as a display shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import ImageHeader, Mammogram
from cadnode.core.reasons import Reason
from cadnode.dicom.decoding import DecoderProcess
from cadnode.dicom.display import DisplayTables, display_tables
from cadnode.dicom.files import PARSE_ERRORS, ReadLimits, opened
from cadnode.dicom.header import image_header
from cadnode.dicom.pixels import Decode, stored_values

__all__ = ["DicomReader", "ReadLimits"]

_STRIP = 128
"""Rows looked up at once."""

_Scalar = TypeVar("_Scalar", np.float32, np.bool_, np.uint8)


class DicomReader:
    """A `MammogramReader` for DICOM files (PS3.10).

    Raises ImageFailed and, where not the file is to blame, ImageUnreachable; nothing else.
    """

    def __init__(self, limits: ReadLimits | None = None, decode: Decode | None = None) -> None:
        """`decode` turns codestreams into pixels; by default in a process of this reader's own."""
        self._limits = limits or ReadLimits()
        self._decode = decode or DecoderProcess(self._limits).decode

    def header(self, path: Path) -> ImageHeader:
        """What the file says without its pixels. Raises ImageFailed (UNREADABLE)."""
        with opened(path, self._limits) as file:
            return image_header(file)

    def mammogram(self, path: Path, header: ImageHeader) -> Mammogram:
        """The decoded image in the grid it was received in. Raises ImageFailed with its reason.

        `header` is what `header(path)` gave; the caller has judged it (`core.eligibility`).
        """
        if header.laterality is None:
            raise ImageFailed(Reason.LATERALITY_MISSING)
        if header.view is None:
            raise ImageFailed(Reason.VIEW_MISSING)
        if header.intent is None:
            raise ImageFailed(Reason.NOT_A_MAMMOGRAM)
        if header.spacing is None:
            raise ImageFailed(Reason.PIXEL_SPACING_MISSING)
        stored, tables = self._decoded(path, header)
        return Mammogram(
            sop_instance_uid=header.sop_instance_uid,
            laterality=header.laterality,
            view=header.view,
            intent=header.intent,
            spacing=header.spacing,
            pixels=_looked_up(tables.shown, stored),
            valid=_looked_up(tables.valid, stored),
        )

    def grey(self, path: Path, header: ImageHeader) -> NDArray[np.uint8]:
        """The image as `mammogram` has it, in 256 greys for a screen; of any single-frame grey
        image, whatever it says of side and view. Raises ImageFailed with its reason."""
        stored, tables = self._decoded(path, header)
        return _looked_up((tables.shown * 255 + 0.5).astype(np.uint8), stored)

    def _decoded(self, path: Path, header: ImageHeader) -> tuple[NDArray[np.uint16], DisplayTables]:
        with opened(path, self._limits) as file:
            stored = stored_values(file, header, self._limits, self._decode)
            try:
                return stored, display_tables(file.dataset, header, stored)
            except PARSE_ERRORS as error:
                if isinstance(error, OSError) and error.errno:
                    raise
                raise ImageFailed(Reason.DECODING_FAILED, type(error).__name__) from error


def _looked_up(table: NDArray[_Scalar], stored: NDArray[np.uint16]) -> NDArray[_Scalar]:
    """`table[stored]` in strips: numpy widens indices to 8 bytes, 110 MB for a whole image."""
    found = np.empty(stored.shape, dtype=table.dtype)
    for start in range(0, stored.shape[0], _STRIP):
        strip = slice(start, start + _STRIP)
        np.take(table, stored[strip], out=found[strip], mode="clip")
    return found
