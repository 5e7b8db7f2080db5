"""The `Classifier` over any runtime: quick everywhere, exact wherever a mark may come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import ModelSpec, PatchScores, RunsOn, marks_in_float32
from cadnode.inference.engine import Engine

BAND = 0.8
"""In log-odds, below the lowest operating point: what bfloat16 puts no lower than this is scored
again. Of the 186 patches that reach that point, among 4,019 of 70 films and detector images,
bfloat16 put none more than 0.25 below it; this is three times that."""


class BundleClassifier:
    """A bundle, loaded.

    With an `exact` engine beside the quick one, every patch that may reach the lowest operating
    point has the score and the map of `exact`, and with them the marks; what is surely below has
    those of `quick`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        quick: Engine,
        exact: Engine | None = None,
        *,
        band: float = BAND,
        why: str = "",
    ) -> None:
        """`band` is in log-odds: how far below the lowest operating point `exact` begins; `why`
        says why this runtime and precision were chosen."""
        self._spec = spec
        self._quick = quick
        self._exact = exact
        self._again_from = below(min(spec.thresholds), band)
        precision = quick.runs_on.precision
        if exact is not None:
            precision = marks_in_float32(precision)
        self._runs_on = replace(quick.runs_on, precision=precision, why=why)

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def runs_on(self) -> RunsOn:
        return self._runs_on

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        """Scores for normalised patches of shape (n, patch_size, patch_size), any n."""
        size = self._spec.patch_size
        if patches.ndim != 3 or patches.shape[1:] != (size, size):
            raise ModelUnfit(
                f"patches of shape {patches.shape}, but the model takes {size} x {size}"
            )
        scores = self._scored(self._quick, patches)
        if self._exact is not None:
            again = np.flatnonzero(scores.probability >= self._again_from)
            exact = self._scored(self._exact, patches[again])
            scores.probability[again] = exact.probability
            scores.maps[again] = exact.maps
        return scores

    def _scored(self, engine: Engine, patches: NDArray[np.float32]) -> PatchScores:
        cells = self._spec.map_size
        scores = PatchScores(
            np.empty(len(patches), np.float32), np.empty((len(patches), cells, cells), np.float32)
        )
        for part in _parts(len(patches), engine.batch):
            scores.probability[part], scores.maps[part] = engine.run(patches[part])
        if not (np.isfinite(scores.probability).all() and np.isfinite(scores.maps).all()):
            raise ModelUnfit(
                f"{self._spec.name} {self._spec.version} gave a score that is no number"
            )
        return scores


def below(probability: float, log_odds: float) -> float:
    """The probability so many log-odds lower."""
    return 1 / (1 + exp(log_odds - log(probability / (1 - probability))))


def _parts(count: int, most: int) -> Iterator[slice]:
    """As few parts as can be, all of nearly one size: a small last batch would cost the most."""
    parts = -(-count // most)
    edges = np.linspace(0, count, parts + 1).round().astype(int).tolist() if parts else []
    return (slice(first, last) for first, last in pairwise(edges))
