"""What one seed's network says of patches that it was not trained on, at three operating points."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.training.evaluate import PatchResults, evaluate_patches
from cadnode.training.metrics import Floats, operating_threshold

HALF = "score 0.5"
KEPT_ASIDE = "slope 1 on the ROC of the patches kept aside"
PUBLISHED = "slope 1 on the ROC of the test part itself (as published; too good)"
POINTS = (HALF, KEPT_ASIDE, PUBLISHED)
_COLUMNS = ("patch", "part", "truth", "score")


@dataclass(frozen=True, slots=True, eq=False)
class SeedScores:
    """What one seed's network says of patches that it was not trained on."""

    seed: int
    names: tuple[str, ...]
    test: NDArray[np.bool_]
    """Of the test part; the others were kept aside of the training part."""
    truth: NDArray[np.bool_]
    score: Floats
    """Probabilities."""

    def threshold(self, point: str) -> float:
        """The score from which a patch is called a calcification."""
        if point == HALF:
            return 0.5
        chosen = self.test if point == PUBLISHED else ~self.test
        return operating_threshold(self.truth[chosen], self.score[chosen])

    def measured(self, point: str, rounds: int) -> PatchResults:
        """On the test part; intervals by bootstrap over patches, whose patients nobody knows."""
        names = [name for name, test in zip(self.names, self.test, strict=True) if test]
        truth, score = self.truth[self.test], self.score[self.test]
        return evaluate_patches(truth, score, names, threshold=self.threshold(point), rounds=rounds)


def write_scores(path: Path, scores: SeedScores) -> None:
    """A line for each patch; readable by `read_scores` and by a spreadsheet."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for row in zip(scores.names, scores.test, scores.truth, scores.score, strict=True):
            name, test, truth, score = row
            writer.writerow(
                [name, "test" if test else "kept aside", int(truth), repr(float(score))]
            )
    part.replace(path)


def read_scores(path: Path, seed: int) -> SeedScores:
    """What `write_scores` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return SeedScores(
        seed,
        tuple(row["patch"] for row in rows),
        np.array([row["part"] == "test" for row in rows]),
        np.array([row["truth"] == "1" for row in rows]),
        np.array([float(row["score"]) for row in rows]),
    )
