"""The spot finder, on spots whose place, size and contrast are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cadnode.core.spots import find_spots

PITCHES = (0.05, 0.07, 0.085, 0.094, 0.1)


def background(shape=(300, 260), noise: float = 0.01, seed: int = 3) -> np.ndarray:
    slope = np.linspace(0.2, 0.6, shape[1])
    return np.asarray(slope + np.random.default_rng(seed).normal(0, noise, shape))


def disk(shape, center, diameter: float) -> np.ndarray:
    """A disk with soft edges; `center` is (column, row) in DICOM coordinates."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    distance = np.hypot(columns - center[0], rows - center[1])
    return np.asarray(np.clip(diameter / 2 - distance + 0.5, 0, 1))


def found_in(pixels, pitch=0.1, **options):
    options = {"minimum_contrast": 6.0} | options
    return find_spots(pixels.astype(np.float32), (pitch, pitch), **options)


@pytest.mark.parametrize("pitch", PITCHES)
@pytest.mark.parametrize("diameter_mm", [0.25, 0.4, 0.8, 1.2])
def test_a_spot_has_its_place_and_its_diameter(pitch, diameter_mm):
    pixels = background()
    center = (140.3, 120.8)
    pixels += 0.2 * disk(pixels.shape, center, diameter_mm / pitch)
    (spot,) = found_in(pixels, pitch)
    assert np.hypot(spot.center[0] - center[0], spot.center[1] - center[1]) * pitch < 0.06
    assert spot.diameter_mm == pytest.approx(diameter_mm, rel=0.25)


def test_pixels_that_are_not_square_give_the_same_spot():
    pixels = background((300, 260))
    pixels += 0.2 * disk(pixels.shape, (140.3, 120.8), 5)
    tall = pixels.reshape(150, 2, 260).mean(axis=1).astype(np.float32)
    (spot,) = find_spots(tall, (0.2, 0.1), minimum_contrast=6)
    assert np.abs(np.array(spot.center) - (140.3, 60.4)).max() < 1.0


def test_nothing_is_found_in_noise_on_a_slope():
    assert found_in(background((600, 600))) == []


def test_nothing_is_found_in_a_flat_image():
    assert found_in(np.full((100, 100), 0.5)) == []


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (9, 9)])
def test_a_window_of_a_few_pixels_is_no_trouble(size):
    assert found_in(background(size)) == []


def test_long_lines_and_edges_are_not_spots():
    pixels = background((400, 400))
    for angle in (0, 20, 45, 70):
        line = np.zeros((400, 400))
        line[40 + 80 * (angle // 20), 20:380] = 1.0
        pixels += 0.4 * ndimage.gaussian_filter(
            ndimage.rotate(line, angle, reshape=False, order=1), 1.0
        )
    pixels[:, 300:] += 0.4
    assert len(found_in(pixels)) <= 8


def test_the_rim_of_a_large_bright_disk_is_not_a_row_of_spots():
    pixels = background()
    pixels += 0.3 * disk(pixels.shape, (130, 150), 40)
    assert len(found_in(pixels)) <= 1


def test_two_spots_side_by_side_are_two():
    pixels = background()
    for column in (120.0, 130.0):
        pixels += 0.2 * disk(pixels.shape, (column, 150), 4)
    assert len(found_in(pixels)) == 2


def test_only_spots_in_the_region_are_given():
    pixels = background()
    for column in (60.0, 200.0):
        pixels += 0.2 * disk(pixels.shape, (column, 150), 4)
    region = np.zeros(pixels.shape, dtype=np.bool_)
    region[:, :130] = True
    (spot,) = found_in(pixels, region=region)
    assert spot.center[0] == pytest.approx(60, abs=0.5)


def test_the_strongest_spot_comes_first():
    pixels = background()
    for contrast, column in ((0.1, 60.0), (0.3, 130.0), (0.2, 200.0)):
        pixels += contrast * disk(pixels.shape, (column, 150), 4)
    spots = found_in(pixels)
    assert [round(spot.center[0] / 10) for spot in spots] == [13, 20, 6]
    assert spots[0].contrast > spots[1].contrast > spots[2].contrast


def test_the_contrast_does_not_depend_on_the_gain():
    pixels = background()
    pixels += 0.2 * disk(pixels.shape, (140, 150), 4)
    (spot,), (dim,) = found_in(pixels), found_in(pixels / 2 + 0.1)
    assert dim.contrast == pytest.approx(spot.contrast, rel=0.01)


@given(st.floats(5.0, 30.0), st.floats(0, 20))
@settings(deadline=None, max_examples=20)
def test_a_higher_limit_never_adds_a_spot(limit, more):
    pixels = background((150, 150))
    random = np.random.default_rng(7)
    for contrast in np.linspace(0.05, 0.4, 12):
        pixels += contrast * disk(pixels.shape, random.uniform(15, 135, 2), 4)
    few = {spot.center for spot in found_in(pixels, minimum_contrast=limit + more)}
    many = {spot.center for spot in found_in(pixels, minimum_contrast=limit)}
    assert few <= many


def test_a_region_without_a_spot_gives_none_though_there_are_some_beside_it():
    pixels = background()
    pixels += 0.3 * disk(pixels.shape, (200, 150), 4)
    region = np.zeros(pixels.shape, dtype=np.bool_)
    region[:40, :40] = True
    assert found_in(pixels, region=region) == []
