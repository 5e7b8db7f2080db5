"""Where patch scores lie: in the pixels that were received, however the image was turned or cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadnode.core.analysis import analyze_mammogram
from cadnode.core.grid import resample
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.patch_map import HeatMap, PatchMap
from tests.contract.fake_classifier import FAKE_SPEC, FakeClassifier
from tests.unit.test_analysis import mammogram, phantom

PITCH = 0.1
PIXELS, DOTS = phantom(PITCH)
CLASSIFIER = FakeClassifier()


def peak(heat: HeatMap) -> np.ndarray:
    """The first and the last corner of the highest cell, (column, row) in received pixels."""
    row, column = np.unravel_index(np.argmax(heat.values), heat.values.shape)
    step = np.array([heat.column_step, heat.row_step])
    return np.array([np.array([column, row]) * step, np.array([column + 1, row + 1]) * step])


@settings(max_examples=8, deadline=None)
@given(
    flip_rows=st.booleans(),
    flip_columns=st.booleans(),
    before=st.tuples(st.integers(0, 150), st.integers(0, 150)),
    after=st.tuples(st.integers(0, 150), st.integers(0, 150)),
    spacing=st.tuples(st.floats(0.07, 0.14), st.floats(0.07, 0.14)),
)
def test_the_scores_lie_on_the_cluster_however_the_image_was_turned_cut_and_resampled(
    flip_rows: bool,
    flip_columns: bool,
    before: tuple[int, int],
    after: tuple[int, int],
    spacing: tuple[float, float],
):
    rows, columns = (round(PIXELS.shape[axis] * PITCH / spacing[axis]) for axis in (0, 1))
    pixels = resample(PIXELS, shape=(rows, columns))
    dots = DOTS * (columns / PIXELS.shape[1], rows / PIXELS.shape[0])
    if flip_rows:
        pixels, dots = pixels[::-1], np.column_stack([dots[:, 0], rows - dots[:, 1]])
    if flip_columns:
        pixels, dots = pixels[:, ::-1], np.column_stack([columns - dots[:, 0], dots[:, 1]])
    # Air above and below; the chest wall stays at its edge.
    pixels = np.pad(pixels, ((before[0], after[0]), (0, 0)), constant_values=0.02)
    dots = np.add(dots, (0, before[0]))
    image = replace(mammogram(pixels, PITCH), spacing=PixelSpacing(*spacing))
    scores = analyze_mammogram(image, CLASSIFIER).patch_map
    center = dots.mean(axis=0)
    first, last = peak(scores.heat)
    # One cell around the highest one: the cluster is as large as a cell.
    assert np.all(center >= first - (last - first))
    assert np.all(center <= last + (last - first))
    best = scores.boxes[np.argmax(scores.probability)]
    assert np.all(best[:2] <= center)
    assert np.all(best[2:] >= center)
    assert scores.image_shape == pixels.shape
    assert np.all(scores.boxes >= 0)
    assert np.all(scores.boxes[:, 2:] <= pixels.shape[::-1])


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    scale=st.tuples(st.floats(0.3, 3.0), st.floats(0.3, 3.0)),
    origin=st.tuples(st.integers(-300, 4000), st.integers(-300, 4000)),
)
def test_a_patch_covers_its_scaled_square_inside_the_image(
    shape: tuple[int, int], scale: tuple[float, float], origin: tuple[int, int]
):
    scores = PatchMap(
        image_shape=shape,
        row_scale=scale[0],
        column_scale=scale[1],
        patch_size=224,
        origins=np.array([origin], dtype=np.int32),
        probability=np.array([0.5], dtype=np.float32),
        heat=HeatMap(np.zeros((1, 1), np.float32), 1.0, 1.0),
        thresholds=(0.5,),
        recommended=0,
    )
    ((left, top, right, bottom),) = scores.boxes
    for first, last, start, factor, size in (
        (top, bottom, origin[0], scale[0], shape[0]),
        (left, right, origin[1], scale[1], shape[1]),
    ):
        assert first == pytest.approx(min(max(start * factor, 0), size))
        assert last == pytest.approx(min(max((start + 224) * factor, 0), size))


def test_the_scores_say_how_they_are_to_be_read():
    scores = analyze_mammogram(mammogram(PIXELS, PITCH), CLASSIFIER).patch_map
    assert (scores.thresholds, scores.recommended) == (FAKE_SPEC.thresholds, FAKE_SPEC.recommended)
    assert scores.patch_size == FAKE_SPEC.patch_size
