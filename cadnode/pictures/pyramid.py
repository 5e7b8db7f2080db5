"""One image as a pyramid of tiles (Deep Zoom), each level half the size of the next finer one.

The finest level is the image itself, pixel for pixel; a pixel of a coarser level is the mean of
the square of image pixels that it stands for.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.errors import NotFound

TILE_SIZE = 512
OVERLAP = 1
"""Pixels that a tile shares with each of its neighbours, so that no seam shows when zoomed."""
FORMATS = {"png": ("PNG", {"compress_level": 1}), "jpg": ("JPEG", {"quality": 90})}
"""File name extension: Pillow's name and what it is saved with. PNG loses nothing."""

_EXACT_IN_PILLOW = 16
"""Its means of larger squares are off by more than a grey."""


def deepest_level(width: int, height: int) -> int:
    """The level that holds the image itself; level 0 is one pixel."""
    return (max(width, height) - 1).bit_length()


class Pyramid:
    """The tiles of one grey image. Safe to share between threads."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        # One memory, seen by both libraries.
        self._grey = np.ascontiguousarray(grey)
        self._whole = Image.fromarray(self._grey)
        self._levels: dict[int, Image.Image] = {}

    @property
    def grey(self) -> NDArray[np.uint8]:
        """The image, (rows, columns)."""
        return self._grey

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self._whole.width

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self._whole.height

    @property
    def max_level(self) -> int:
        """The level that holds the image itself."""
        return deepest_level(self.width, self.height)

    @property
    def size(self) -> int:
        """Bytes that all levels together may come to."""
        return self.width * self.height * 4 // 3 + self.width + self.height + self.max_level

    def tile(self, level: int, column: int, row: int, extension: str) -> bytes:
        """One tile as a picture file. Raises NotFound for one that is not there."""
        if extension not in FORMATS or not 0 <= level <= self.max_level:
            raise NotFound(f"there is no tile level {level} as {extension}")
        picture = self._level(level)
        left, top = column * TILE_SIZE, row * TILE_SIZE
        if not (0 <= left < picture.width and 0 <= top < picture.height):
            raise NotFound(f"level {level} has no tile {column}, {row}")
        box = (
            max(left - OVERLAP, 0),
            max(top - OVERLAP, 0),
            min(left + TILE_SIZE + OVERLAP, picture.width),
            min(top + TILE_SIZE + OVERLAP, picture.height),
        )
        kind, options = FORMATS[extension]
        file = BytesIO()
        picture.crop(box).save(file, kind, **options)
        return file.getvalue()

    def _level(self, level: int) -> Image.Image:
        if level == self.max_level:
            return self._whole
        if level not in self._levels:
            # From the whole image each time: made when it is asked for, and rounded only once.
            factor = 1 << (self.max_level - level)
            exact = factor <= _EXACT_IN_PILLOW
            self._levels[level] = (
                self._whole.reduce(factor) if exact else _means(self._grey, factor)
            )
        return self._levels[level]


def _means(grey: NDArray[np.uint8], factor: int) -> Image.Image:
    down, across = (np.arange(0, size, factor) for size in grey.shape)
    # Strip by strip: numpy would widen the whole image first.
    strips = [grey[first : first + factor].sum(axis=0, dtype=np.uint32) for first in down]
    sums = np.add.reduceat(np.array(strips), across, axis=1)
    heights, widths = (
        np.minimum(factor, size - first)
        for size, first in zip(grey.shape, (down, across), strict=True)
    )
    return Image.fromarray((sums / np.outer(heights, widths) + 0.5).astype(np.uint8))
