"""Tiles are the image, pixel for pixel, and memory stays within its bound."""

from __future__ import annotations

import threading
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.errors import NotFound
from cadnode.pictures.kept import PyramidCache
from cadnode.pictures.pyramid import OVERLAP, TILE_SIZE, Pyramid


def picture(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blotches and noise, not constant anywhere."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:rows, :columns]
    smooth = 110 + 90 * np.sin(row / 37) * np.cos(column / 53)
    greys: NDArray[np.uint8] = np.clip(
        smooth + random.normal(0, 6, (rows, columns)), 0, 255
    ).astype(np.uint8)
    return greys


def means(grey: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    """The mean of each square of `factor` pixels; the last ones may be smaller."""
    down, across = (np.arange(0, size, factor) for size in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey.astype(np.float64), down, 0), across, 1)
    counts = np.outer(
        *(np.diff(np.append(s, n)) for s, n in zip((down, across), grey.shape, strict=True))
    )
    return sums / counts


def opened(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(content)))


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 1600), columns=st.integers(1, 1600), seed=st.integers(0, 9))
def test_every_tile_of_every_level_is_the_image_there(rows: int, columns: int, seed: int):
    grey = picture(rows, columns, seed)
    pyramid = Pyramid(grey)
    assert pyramid._level(0).size == (1, 1)
    for level in range(pyramid.max_level + 1):
        factor = 1 << (pyramid.max_level - level)
        expected = means(grey, factor)
        for row in range(-(-expected.shape[0] // TILE_SIZE)):
            for column in range(-(-expected.shape[1] // TILE_SIZE)):
                top, left = row * TILE_SIZE, column * TILE_SIZE
                there = expected[
                    max(top - OVERLAP, 0) : top + TILE_SIZE + OVERLAP,
                    max(left - OVERLAP, 0) : left + TILE_SIZE + OVERLAP,
                ]
                found = opened(pyramid.tile(level, column, row, "png"))
                assert found.shape == there.shape
                # Less than a grey for rounding; the image itself is exact.
                assert np.abs(found - there).max() < (1e-9 if factor == 1 else 1)


def test_a_jpeg_tile_is_the_image_but_for_what_jpeg_loses():
    grey = picture(900, 700)
    pyramid = Pyramid(grey)
    for level, column, row in [(10, 0, 0), (10, 1, 1), (9, 0, 0), (5, 0, 0)]:
        exact = opened(pyramid.tile(level, column, row, "png")).astype(float)
        lossy = opened(pyramid.tile(level, column, row, "jpg")).astype(float)
        assert lossy.shape == exact.shape
        assert np.abs(lossy - exact).mean() < 3
        assert np.abs(lossy - exact).max() < 30


@pytest.mark.parametrize(
    ("level", "column", "row", "extension"),
    [
        (11, 0, 0, "png"),
        (-1, 0, 0, "png"),
        (10, 2, 0, "png"),
        (10, 0, -1, "png"),
        (10, 0, 0, "gif"),
    ],
)
def test_a_tile_outside_the_image_is_not_found(level: int, column: int, row: int, extension: str):
    with pytest.raises(NotFound):
        Pyramid(picture(1000, 900)).tile(level, column, row, extension)


def test_an_image_is_decoded_once_however_many_ask_for_it_at_once():
    cache, calls = PyramidCache(1 << 20), []
    begun = threading.Barrier(8)

    def decode() -> NDArray[np.uint8]:
        calls.append(1)
        return picture(50, 40)

    def ask() -> None:
        begun.wait()
        cache.get("a", decode)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_what_was_not_looked_at_for_longest_goes_first_and_the_bound_holds():
    size = Pyramid(picture(100, 100)).size
    cache, decoded = PyramidCache(3 * size), []

    def look(key: str) -> None:
        def decode() -> NDArray[np.uint8]:
            decoded.append(key)
            return picture(100, 100)

        cache.get(key, decode)
        assert cache.bytes <= 3 * size

    for key in "abcabdacd":
        look(key)
    # d took the place of c, c that of b; a was always looked at again.
    assert decoded == ["a", "b", "c", "d", "c"]


def test_an_image_larger_than_the_bound_is_kept_alone():
    cache = PyramidCache(1000)
    cache.get("small", lambda: picture(10, 10))
    big = cache.get("big", lambda: picture(300, 300))
    assert cache.get("big", lambda: picture(1, 1)) is big
    assert cache.bytes == big.size


def test_a_failed_decoding_is_not_kept():
    cache = PyramidCache(1000)

    def fail() -> NDArray[np.uint8]:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        cache.get("a", fail)
    assert cache.get("a", lambda: picture(10, 10)).width == 10


def test_the_levels_of_a_big_image_stay_within_a_third_more_than_the_image():
    grey = np.zeros((8000, 6000), dtype=np.uint8)
    tracemalloc.start()
    pyramid = Pyramid(grey)
    for level in range(pyramid.max_level + 1):
        pyramid.tile(level, 0, 0, "jpg")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    made = sum(p.width * p.height for p in pyramid._levels.values())
    assert made + grey.nbytes <= pyramid.size <= grey.nbytes * 1.34
    # Pillow's own memory is not traced: those are the levels, and a tile.
    assert peak < grey.nbytes
