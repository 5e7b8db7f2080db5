"""Simulated patches that a network still gets wrong.

A trained network is right about nearly every patch drawn at random, and learns little from one
more. The simulator draws quicker than the network trains, so that many can be drawn for each that
is trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.training.labels import YES

Score = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""From patches (n, side, side) of grey levels to their logits."""
HARD_LOSS = 0.2
"""Cross entropy from which a patch is hard: a score of 0.82 where there are calcifications."""


@dataclass(frozen=True, slots=True)
class HardPatches:
    """Keeps every patch that is hard for a network, and a share of the others, so that it
    does not forget them."""

    score: Score
    easy_share: float
    calcification_share: float | None = None
    """Of the patches with calcifications, hard or not; None takes them like the normal ones."""

    def __call__(
        self, patches: NDArray[np.float32], labels: NDArray[np.uint8], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Which to keep."""
        kept = rng.random(len(labels)) < self.easy_share
        asked = np.ones(len(labels), np.bool_)
        if self.calcification_share is not None:
            asked = labels != YES
            kept[~asked] = rng.random((~asked).sum()) < self.calcification_share
        if asked.any():
            logits = np.asarray(self.score(patches[asked]), np.float64)
            loss = np.logaddexp(0, np.where(labels[asked] == YES, -logits, logits))
            kept[asked] |= loss >= HARD_LOSS
        return np.asarray(kept)
