"""Quick everywhere, exact wherever a mark may come of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import BFLOAT16, marks_in_float32
from cadnode.inference.classifier import BAND, BundleClassifier
from tests.contract.fake_classifier import FAKE_SPEC
from tests.contract.fake_engine import FakeEngine, screened

SIDE = FAKE_SPEC.patch_size
LOWEST = min(FAKE_SPEC.thresholds)


def patches(*means: float) -> np.ndarray:
    return np.broadcast_to(
        np.array(means, np.float32)[:, None, None], (len(means), SIDE, SIDE)
    ).copy()


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=12),
    st.floats(-0.95 * BAND, 0.95 * BAND),
)
def test_whatever_reaches_an_operating_point_has_the_exact_score(
    means: list[float], off: float
) -> None:
    given_patches = patches(*means)
    exact = BundleClassifier(FAKE_SPEC, FakeEngine()).classify(given_patches)
    scores = screened(FAKE_SPEC, off).classify(given_patches)
    marked = exact.probability >= LOWEST
    np.testing.assert_array_equal(scores.probability[marked], exact.probability[marked])
    np.testing.assert_array_equal(scores.maps[marked], exact.maps[marked])
    assert not (scores.probability[~marked] >= LOWEST).any()


def test_what_is_surely_below_is_not_computed_twice() -> None:
    quick, exact = FakeEngine(BFLOAT16, -0.1), FakeEngine()
    classifier = BundleClassifier(FAKE_SPEC, quick, exact)
    scores = classifier.classify(patches(0.02, 0.9, 0.1, 0.55))
    assert (quick.sizes, exact.sizes) == ([4], [2])
    assert scores.probability[0] < 0.02
    assert classifier.runs_on.precision == marks_in_float32(BFLOAT16)


def test_batches_are_full_and_of_one_size() -> None:
    engine = FakeEngine()
    BundleClassifier(FAKE_SPEC, engine).classify(patches(*[0.5] * 16))
    assert engine.sizes == [4, 4, 4, 4]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_makes_the_model_unfit(value: float) -> None:
    class Broken(FakeEngine):
        def run(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            probability, maps = super().run(patches)
            maps[-1, 3, 3] = value
            return probability, maps

    with pytest.raises(ModelUnfit, match="no number"):
        BundleClassifier(FAKE_SPEC, Broken()).classify(patches(0.1, 0.2))
