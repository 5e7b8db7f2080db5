"""The model's grid: breast area, resampling, patches, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cadnode.core.errors import ImageFailed
from cadnode.core.grid import ModelGrid, breast_area, cut, resample, tile, to_model_grid
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.reasons import Reason

sizes = st.integers(1, 150)
scales = st.floats(0.2, 5.0)


def half_disc(rows: int = 600, columns: int = 480) -> np.ndarray:
    """True on a breast that lies at the left edge."""
    row, column = np.mgrid[:rows, :columns]
    return np.asarray(((row - rows / 2) / (0.4 * rows)) ** 2 + (column / (0.6 * columns)) ** 2 < 1)


def picture(breast: np.ndarray, *, noise: float = 0.01, air: float = 0.03) -> np.ndarray:
    pixels = np.where(breast, 0.35, air) + np.random.default_rng(1).normal(0, noise, breast.shape)
    return pixels.astype(np.float32)


def all_valid(pixels: np.ndarray) -> np.ndarray:
    return np.ones(pixels.shape, dtype=np.bool_)


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_the_breast_is_the_large_bright_region():
    truth = half_disc()
    pixels = picture(truth)
    assert agreement(breast_area(pixels, all_valid(pixels)), truth) > 0.97


def test_letters_film_borders_and_a_bright_strip_are_not_breast():
    truth = half_disc()
    pixels = picture(truth)
    pixels[20:50, 380:460] = 1.0
    pixels[:6], pixels[-6:] = 1.0, 1.0
    pixels[:, -8:] = 1.0
    assert agreement(breast_area(pixels, all_valid(pixels)), truth) > 0.95


def test_a_wide_white_border_does_not_hide_a_dim_breast():
    truth = half_disc()
    pixels = picture(truth, air=0.25)
    pixels[:, -14:] = 1.0
    assert agreement(breast_area(pixels, all_valid(pixels)), truth) > 0.95


def test_dark_holes_belong_to_the_breast():
    truth = half_disc()
    pixels = picture(truth)
    pixels[280:320, 60:120] = 0.03
    assert breast_area(pixels, all_valid(pixels))[300, 90]


def test_padding_is_not_breast_however_bright_it_is():
    truth = half_disc()
    pixels = picture(truth)
    valid = all_valid(pixels)
    valid[:, 300:] = False
    pixels[~valid] = 1.0
    found = breast_area(pixels, valid)
    assert not found[~valid].any()
    assert agreement(found, truth) > 0.95


def test_where_all_air_is_padding_the_breast_is_still_whole():
    """As a GE Senographe sends it: no pixel of air is left to tell the fat from."""
    truth = half_disc()
    pixels = np.where(truth, picture(truth) - 0.2, 0).astype(np.float32)
    pixels[200:400, :120][truth[200:400, :120]] += 0.4
    assert agreement(breast_area(pixels, truth), truth) > 0.95


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((500, 400)),
        np.ones((500, 400)),
        np.random.default_rng(2).random((500, 400)),
        np.random.default_rng(2).normal(0.05, 0.02, (1500, 1200)),
        np.zeros((1, 1)),
    ],
    ids=["black", "white", "noise", "detector noise", "one pixel"],
)
def test_an_image_without_a_breast_says_so(pixels):
    pixels = pixels.astype(np.float32)
    assert not breast_area(pixels, all_valid(pixels)).any()
    with pytest.raises(ImageFailed) as failure:
        to_model_grid(pixels, all_valid(pixels), PixelSpacing(0.1, 0.1), 0.1)
    assert failure.value.reason is Reason.NO_BREAST


def test_an_image_that_is_all_padding_has_no_breast():
    pixels = picture(half_disc())
    assert not breast_area(pixels, np.zeros(pixels.shape, dtype=np.bool_)).any()


@given(sizes, sizes, sizes, sizes)
@settings(deadline=None)
def test_a_constant_image_stays_constant_at_any_size(rows, columns, new_rows, new_columns):
    resampled = resample(np.full((rows, columns), 0.3, np.float32), shape=(new_rows, new_columns))
    assert resampled.shape == (new_rows, new_columns)
    assert resampled.dtype == np.float32
    assert_allclose(resampled, 0.3, rtol=1e-5)


@given(st.integers(30, 150), st.integers(30, 150), scales, scales)
@settings(deadline=None)
def test_a_ramp_keeps_its_place(rows, columns, row_scale, column_scale):
    shape = (max(1, round(rows * row_scale)), max(1, round(columns * column_scale)))
    across = (np.arange(columns) + 0.5) / columns
    ramp = np.broadcast_to(across, (rows, columns)).astype(np.float32)
    edge = int(np.ceil(column_scale)) + 1
    expected = (np.arange(shape[1]) + 0.5) / shape[1]
    found = resample(ramp, shape=shape)[0, edge:-edge]
    # A pixel cut by the edge of the new one counts as flat: at most an eighth of a pixel off.
    assert_allclose(found, expected[edge:-edge], atol=0.125 / columns + 1e-5)


@given(sizes, sizes, st.integers(0, 100))
@settings(deadline=None)
def test_shrinking_keeps_the_mean(rows, columns, seed):
    pixels = np.random.default_rng(seed).random((rows, columns)).astype(np.float32)
    shrunk = resample(pixels, shape=(-(-rows // 3), -(-columns // 2)))
    assert float(shrunk.mean()) == pytest.approx(float(pixels.mean()), rel=1e-4)


@given(sizes, sizes, sizes, sizes)
@settings(deadline=None)
def test_resampling_a_flipped_image_flips_the_result(rows, columns, new_rows, new_columns):
    pixels = np.random.default_rng(rows).random((rows, columns)).astype(np.float32)
    shape = (new_rows, new_columns)
    flipped = resample(pixels[::-1, ::-1], shape=shape)
    assert_allclose(flipped[::-1, ::-1], resample(pixels, shape=shape), atol=1e-5)


def test_resampling_to_the_same_size_gives_a_copy():
    pixels = picture(half_disc())
    same = resample(pixels, shape=pixels.shape)
    assert_array_equal(same, pixels)
    assert not np.shares_memory(same, pixels)


@given(
    scales,
    scales,
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 5000)), min_size=1, max_size=5),
)
def test_to_the_grid_and_back_is_the_same_point(row_scale, column_scale, points):
    nothing = np.zeros((1, 1))
    grid = ModelGrid(nothing.astype(np.float32), nothing > 0, row_scale, column_scale, (1, 1))
    assert_allclose(grid.to_image(grid.to_grid(points)), points, atol=1e-9)
    assert_allclose(grid.to_grid(grid.to_image(points)), points, atol=1e-9)


@pytest.mark.parametrize("spacing", [(0.05, 0.05), (0.07, 0.07), (0.2, 0.2), (0.05, 0.1)])
def test_the_grid_has_the_models_pitch_and_the_images_corners(spacing):
    breast = half_disc()
    pixels = picture(breast)
    grid = to_model_grid(pixels, all_valid(pixels), PixelSpacing(*spacing), 0.1)
    assert grid.pixels.shape == grid.breast.shape
    assert grid.pixels.shape == (round(600 * spacing[0] / 0.1), round(480 * spacing[1] / 0.1))
    corner = grid.to_image([grid.pixels.shape[::-1]])
    assert_allclose(corner, [(480, 600)])
    assert grid.image_shape == (600, 480)


def test_a_bright_pixel_is_found_where_the_grid_says():
    pixels = picture(half_disc(), noise=0)
    pixels[300, 100] = 50.0
    grid = to_model_grid(pixels, all_valid(pixels), PixelSpacing(0.07, 0.07), 0.1)
    row, column = np.unravel_index(np.argmax(grid.pixels), grid.pixels.shape)
    found = grid.to_image([(column + 0.5, row + 0.5)])
    assert np.abs(found - [(100.5, 300.5)]).max() < 1.0


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 1000),
    st.floats(0.0, 0.5),
)
@settings(deadline=None)
def test_every_breast_pixel_is_in_a_patch(rows, columns, patch_size, stride, seed, share):
    random = np.random.default_rng(seed)
    breast = random.random((rows, columns)) < random.random() ** 3
    stride = min(stride, patch_size)
    covered = np.zeros(breast.shape, dtype=np.bool_)
    origins = tile(breast, patch_size=patch_size, stride=stride, minimum_share=share)
    for row, column in origins.tolist():
        assert 0 <= row <= max(rows - patch_size, 0)
        assert 0 <= column <= max(columns - patch_size, 0)
        covered[row : row + patch_size, column : column + patch_size] = True
    assert covered[breast].all()


def test_patches_of_air_are_left_out():
    breast = half_disc()
    origins = tile(breast, patch_size=50, stride=40)
    assert all(breast[row : row + 50, column : column + 50].any() for row, column in origins)
    assert len(origins) < 15 * 12


def test_no_breast_no_patches():
    origins = tile(np.zeros((50, 50), dtype=np.bool_), patch_size=10, stride=10)
    assert origins.shape == (0, 2)


def test_a_patch_is_cut_where_its_origin_says_and_padded_with_zeros():
    pixels = np.arange(20, dtype=np.float32).reshape(4, 5) + 1
    patches = cut(pixels, np.array([(0, 0), (1, 2), (-1, -1)]), 3)
    assert patches.shape == (3, 3, 3)
    assert_array_equal(patches[0], pixels[:3, :3])
    assert_array_equal(patches[1], pixels[1:4, 2:5])
    assert_array_equal(patches[2], [[0, 0, 0], [0, 1, 2], [0, 6, 7]])
    small = cut(pixels, np.array([(0, 0)]), 6)[0]
    assert_array_equal(small[:4, :5], pixels)
    assert small[4:].sum() == small[:, 5:].sum() == 0
