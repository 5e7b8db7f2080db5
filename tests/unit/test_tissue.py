"""Made-up and distorted tissue."""

from __future__ import annotations

import numpy as np
import pytest

from cadnode.training.distortion import distorted
from cadnode.training.tissue import fibres, power_law, synthetic_breast


def slope(texture: np.ndarray) -> float:
    """Of the power spectrum over frequency, both in logarithms."""
    power = np.abs(np.fft.rfft2(texture)) ** 2
    frequency = np.hypot(
        np.fft.fftfreq(texture.shape[0])[:, None], np.fft.rfftfreq(texture.shape[1])[None, :]
    )
    band = (frequency > 0.02) & (frequency < 0.3)
    return float(np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])


@pytest.mark.parametrize("exponent", [1.5, 3.0])
def test_power_law_texture_falls_by_its_exponent(exponent: float) -> None:
    texture = power_law((360, 480), np.random.default_rng(1), exponent)
    assert slope(texture) == pytest.approx(-exponent, abs=0.15)
    assert float(texture.std()) == pytest.approx(1, abs=1e-3)


def test_fibres_are_few_bright_lines_on_a_dark_ground() -> None:
    net = fibres((400, 500), np.random.default_rng(2), 0.1)
    assert float(net.mean()) == pytest.approx(0, abs=1e-3)
    assert float(net.std()) == pytest.approx(1, abs=1e-3)
    above, below = float(np.quantile(net, 0.99)), float(np.quantile(net, 0.01))
    assert above > 2 * abs(below)


def test_two_made_up_breasts_differ_and_one_seed_makes_one() -> None:
    first, second, other = (
        synthetic_breast(np.random.default_rng(seed), 0.2)[0] for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("strongly", [True, False])
def test_masks_stay_on_their_tissue_when_it_is_distorted(strongly: bool) -> None:
    pixels = np.full((300, 200), 0.3, np.float32)
    breast = np.zeros(pixels.shape, np.bool_)
    breast[40:260, 30:170] = True
    unsure = np.zeros(pixels.shape, np.bool_)
    unsure[60:90, 50:80] = True
    pixels[unsure] = 0.8
    for seed in range(8):
        shown, there, doubt = distorted(
            pixels, breast, unsure, np.random.default_rng(seed), strongly=strongly
        )
        assert shown.shape == there.shape == doubt.shape
        assert there[doubt].all()
        assert shown[doubt].mean() > shown[there & ~doubt].mean() + 0.2
        assert 0 <= shown.min() <= shown.max() <= 1


def test_strong_distortion_changes_size_shape_and_sharpness() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.3, 0.7, (300, 200)).astype(np.float32)
    breast = np.ones(pixels.shape, np.bool_)
    drawn = [
        distorted(pixels, breast, ~breast, np.random.default_rng(seed), strongly=True)[0]
        for seed in range(20)
    ]
    long_over_short = [max(p.shape) / min(p.shape) for p in drawn]
    assert max(long_over_short) > 1.1 * min(long_over_short)
    assert max(p.size for p in drawn) > 1.5 * min(p.size for p in drawn)
    spread = [float(p.std()) for p in drawn]
    assert max(spread) > 1.3 * min(spread)
