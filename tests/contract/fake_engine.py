"""Engines that need no weights: one exact, one that is off by what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadnode.core.model import BFLOAT16, FLOAT32, ModelSpec, RunsOn
from cadnode.inference.classifier import BundleClassifier

BATCH = 5


@dataclass
class FakeEngine:
    """The probability of a patch is its mean; so is every cell of its map."""

    precision: str = FLOAT32
    off: float = 0.0
    """In log-odds."""
    batch: int = BATCH
    sizes: list[int] = field(default_factory=list)
    """How many patches each call had."""

    @property
    def runs_on(self) -> RunsOn:
        """No library at all."""
        return RunsOn("no device", self.precision)

    def run(self, patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        assert 0 < len(patches) <= self.batch
        self.sizes.append(len(patches))
        mean = np.clip(patches.mean(axis=(1, 2), dtype=np.float64), 1e-6, 1 - 1e-6)
        score = (1 / (1 + (1 - mean) / mean * np.exp(-self.off))).astype(np.float32)
        return score, np.broadcast_to(score[:, None, None], (len(score), 7, 7)).copy()


def screened(spec: ModelSpec, off: float = -0.3) -> BundleClassifier:
    """A classifier of a quick engine that is off and an exact one."""
    return BundleClassifier(spec, FakeEngine(BFLOAT16, off), FakeEngine())
