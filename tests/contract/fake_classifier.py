"""A classifier that needs no weights: it scores the small bright spots it sees in the pixels.

Deterministic and quick, and honest in the sense of the contract: the score of a patch depends on
that patch alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cadnode.core.model import ModelSpec, PatchScores, RunsOn

FAKE_SPEC = ModelSpec(
    name="fake",
    version="1",
    patch_size=224,
    stride=168,
    pitch_mm=0.1,
    normalisation="local-contrast",
    thresholds=(0.9, 0.7, 0.5),
    recommended=1,
    map_size=7,
)


class FakeClassifier:
    """Calls a patch positive when a spot in it stands well above the texture around."""

    def __init__(self, spec: ModelSpec = FAKE_SPEC) -> None:
        self._spec = spec

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def runs_on(self) -> RunsOn:
        return RunsOn("no device", "float64")

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        size = self._spec.map_size
        maps = np.zeros((len(patches), size, size), dtype=np.float32)
        for index, patch in enumerate(patches):
            maps[index] = 1 / (1 + np.exp(14 - _spot_strength(patch, size)))
        return PatchScores(probability=maps.max(axis=(1, 2)), maps=maps)


def _spot_strength(patch: NDArray[np.float32], cells: int) -> NDArray[np.float64]:
    """The strongest bright spot of each cell, in units of the patch's own texture.

    The weaker curvature is nothing on an edge or a line, so skin and vessels do not count.
    """
    smooth = ndimage.gaussian_filter(patch.astype(np.float64), 1.0, mode="nearest")
    down, across = np.gradient(smooth)
    (dd, da), (_, aa) = np.gradient(down), np.gradient(across)
    middle, half = (dd + aa) / 2, np.hypot((dd - aa) / 2, da)
    curvature = np.clip(-(middle + half), 0, None)
    positive = curvature[curvature > 0]
    texture = float(np.median(positive)) if positive.size else 1.0
    edges = np.linspace(0, len(patch), cells + 1).round().astype(int)[:-1]
    strongest = np.maximum.reduceat(np.maximum.reduceat(curvature, edges, 0), edges, 1)
    return np.asarray(np.minimum(strongest / (texture + 1e-9), 40.0))
