"""The normalisation: what must cancel cancels, what must stand out stands out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cadnode.core.intensity import NEUTRAL, NORMALISATIONS, local_contrast, local_texture

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]
SHAPE = (403, 302)


@pytest.fixture(scope="module")
def tissue() -> Grey:
    rng = np.random.default_rng(0)
    coarse = gaussian_filter(rng.normal(0, 1, SHAPE), 12)
    fine = gaussian_filter(rng.normal(0, 1, SHAPE), 1.5)
    grey = 0.5 + 0.1 * coarse / coarse.std() + 0.01 * fine / fine.std()
    return np.asarray(grey, np.float32)


@pytest.fixture(scope="module")
def breast() -> Mask:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - 200) ** 2 + columns**2 < 195**2)


def test_offset_and_gain_cancel(tissue: Grey, breast: Mask) -> None:
    plain = local_contrast(tissue, breast)
    np.testing.assert_allclose(
        local_contrast(np.float32(0.3) * tissue + np.float32(0.2), breast), plain, atol=0.1
    )


def test_a_tone_curve_changes_little(tissue: Grey, breast: Mask) -> None:
    plain, curved = (
        local_contrast(tissue, breast),
        local_contrast(np.float_power(tissue, 1.8).astype(np.float32), breast),
    )
    assert np.abs(plain - curved)[breast].mean() < 5


def test_what_is_outside_the_breast_is_neutral_and_without_influence(
    tissue: Grey, breast: Mask
) -> None:
    lettered = tissue.copy()
    lettered[10:60, 240:290] = 1.0
    lettered[~breast & (lettered < 0.9)] = 0
    grey = local_contrast(lettered, breast)
    assert (grey[~breast] == NEUTRAL).all()
    np.testing.assert_allclose(grey, local_contrast(tissue, breast), atol=1e-3)


def test_a_speck_of_eight_textures_stands_out(tissue: Grey, breast: Mask) -> None:
    speck = tissue.copy()
    speck[200:202, 100:102] += 8 * local_texture(tissue, breast)[200, 100]
    grey = local_contrast(speck, breast)
    assert grey[200:202, 100:102].min() > np.quantile(grey[breast], 0.995)


def test_a_cluster_does_not_hide_itself(tissue: Grey, breast: Mask) -> None:
    clustered = tissue.copy()
    rng = np.random.default_rng(1)
    for row, column in rng.integers(0, 40, (25, 2)):
        clustered[180 + row : 182 + row, 80 + column : 82 + column] += 0.2
    before, after = (
        local_texture(tissue, breast)[200, 100],
        local_texture(clustered, breast)[200, 100],
    )
    assert after < 2.5 * before


def test_every_normalisation_keeps_shape_and_range(tissue: Grey, breast: Mask) -> None:
    for normalise in NORMALISATIONS.values():
        grey = normalise(tissue, breast)
        assert grey.shape == SHAPE
        assert grey.dtype == np.float32
        assert grey.min() >= 0
        assert grey.max() <= 255


def test_no_breast_is_neutral_everywhere() -> None:
    nothing = np.zeros((20, 30), np.bool_)
    assert (local_contrast(np.ones((20, 30), np.float32), nothing) == NEUTRAL).all()


def test_a_breast_smaller_than_a_block_is_no_error() -> None:
    tiny = np.zeros((20, 30), np.bool_)
    tiny[3:5, 3:5] = True
    assert np.isfinite(local_contrast(np.ones((20, 30), np.float32), tiny)).all()
