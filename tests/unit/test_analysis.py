"""A whole image through a classifier: the coordinates that come out are the image's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cadnode.core.analysis import analyze_mammogram
from cadnode.core.errors import ImageFailed, LeaseLost
from cadnode.core.mammogram import Intent, Laterality, Mammogram, PixelSpacing
from tests.contract.fake_classifier import FAKE_SPEC, FakeClassifier

SIZE_MM = (80.0, 60.0)
CENTER_MM = (22.0, 37.0)
OFFSETS_MM = [(-2.0, -1.1), (1.6, -1.8), (0.2, 0.3), (2.2, 1.0), (-1.0, 1.9), (-2.4, 0.6)]


def phantom(pitch: float, *, dots: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A breast at the left edge with a cluster; its pixels, and the dots as (column, row)."""
    random = np.random.default_rng(11)
    rows, columns = (round(size / pitch) for size in SIZE_MM)
    row, column = (np.mgrid[:rows, :columns] + 0.5) * pitch
    depth = 1 - ((row - 40) / 34) ** 2 - (column / 48) ** 2
    pixels = np.where(depth > 0, 0.25 + 0.2 * np.sqrt(np.clip(depth, 0, 1)), 0.02)
    texture = ndimage.zoom(random.normal(0, 0.02, (20, 15)), pitch**-1 * 4.2, order=3)
    pixels += np.where(depth > 0, texture[:rows, :columns], 0)
    centers = np.array(CENTER_MM) + OFFSETS_MM
    for x, y in centers if dots else ():
        distance = np.hypot(column - x, row - y)
        pixels += 0.2 * np.clip((0.2 - distance) / pitch + 0.5, 0, 1)
    pixels += random.normal(0, 0.007 * 0.1 / pitch, pixels.shape)
    return np.clip(pixels, 0, 1).astype(np.float32), centers / pitch


def mammogram(pixels: np.ndarray, pitch: float) -> Mammogram:
    return Mammogram(
        sop_instance_uid="1.2.3",
        laterality=Laterality.LEFT,
        view="CC",
        intent=Intent.PRESENTATION,
        spacing=PixelSpacing(pitch, pitch),
        pixels=np.ascontiguousarray(pixels),
        valid=np.ones(pixels.shape, dtype=np.bool_),
    )


@pytest.mark.parametrize("pitch", [0.05, 0.07, 0.085, 0.094, 0.1])
@pytest.mark.parametrize("flip_rows", [False, True])
@pytest.mark.parametrize("flip_columns", [False, True])
def test_a_cluster_comes_back_within_a_millimetre(pitch, flip_rows, flip_columns):
    pixels, dots = phantom(pitch)
    if flip_rows:
        pixels, dots = pixels[::-1], np.column_stack([dots[:, 0], len(pixels) - dots[:, 1]])
    if flip_columns:
        pixels = pixels[:, ::-1]
        dots = np.column_stack([pixels.shape[1] - dots[:, 0], dots[:, 1]])
    (finding,) = analyze_mammogram(mammogram(pixels, pitch), FakeClassifier()).findings
    away = np.array(finding.center) - dots.mean(axis=0)
    assert np.hypot(*away) * pitch < 0.3
    assert len(finding.calcifications) == len(dots)
    for calcification in finding.calcifications:
        nearest = np.hypot(*(dots - calcification.center).T).min() * pitch
        assert nearest < 0.1


def test_flipping_the_image_flips_its_findings():
    pixels, _ = phantom(0.1)
    (finding,) = analyze_mammogram(mammogram(pixels, 0.1), FakeClassifier()).findings
    (flipped,) = analyze_mammogram(mammogram(pixels[:, ::-1], 0.1), FakeClassifier()).findings
    assert flipped.score == pytest.approx(finding.score, abs=0.05)
    assert flipped.center[0] == pytest.approx(pixels.shape[1] - finding.center[0], abs=1.0)
    assert flipped.center[1] == pytest.approx(finding.center[1], abs=1.0)


def test_a_breast_without_a_cluster_has_no_finding():
    pixels, _ = phantom(0.1, dots=False)
    reading = analyze_mammogram(mammogram(pixels, 0.1), FakeClassifier())
    assert reading.findings == ()
    assert reading.patches == len(reading.patch_map.probability) > 0


def test_the_batch_size_changes_nothing():
    pixels, _ = phantom(0.1)
    image = mammogram(pixels, 0.1)
    by_one = analyze_mammogram(image, FakeClassifier(), batch=1)
    at_once = analyze_mammogram(image, FakeClassifier(), batch=1000)
    assert by_one.findings == at_once.findings


def test_the_lease_is_renewed_after_each_batch_and_a_lost_one_stops_the_reading():
    pixels, _ = phantom(0.1)
    calls: list[int] = []
    reading = analyze_mammogram(
        mammogram(pixels, 0.1), FakeClassifier(), batch=4, on_batch=lambda: calls.append(1)
    )
    assert len(calls) == -(-reading.patches // 4)

    def lost() -> None:
        raise LeaseLost("somebody else holds it")

    with pytest.raises(LeaseLost):
        analyze_mammogram(mammogram(pixels, 0.1), FakeClassifier(), on_batch=lost)


def test_the_heat_is_highest_where_the_cluster_is():
    pixels, dots = phantom(0.07)
    heat = analyze_mammogram(mammogram(pixels, 0.07), FakeClassifier()).patch_map.heat
    row, column = np.unravel_index(np.argmax(heat.values), heat.values.shape)
    center = np.array([(column + 0.5) * heat.column_step, (row + 0.5) * heat.row_step])
    assert np.hypot(*(center - dots.mean(axis=0))) * 0.07 < 4.0
    assert heat.values.dtype == np.float32
    assert (heat.values.shape[0] - 1) * heat.row_step < len(pixels)
    assert heat.values.shape[0] * heat.row_step >= len(pixels)


def test_an_image_smaller_than_a_patch_is_read():
    pixels, _ = phantom(0.1)
    small = pixels[300:440, 150:290]
    spec = replace(FAKE_SPEC, patch_size=224, stride=224)
    framed = np.pad(small, 30, constant_values=0.02)
    reading = analyze_mammogram(mammogram(framed, 0.1), FakeClassifier(spec))
    assert reading.patches == 1


def test_an_image_without_a_breast_fails_with_its_reason():
    with pytest.raises(ImageFailed, match="N210"):
        analyze_mammogram(mammogram(np.zeros((500, 400), np.float32), 0.1), FakeClassifier())
