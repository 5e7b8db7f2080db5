"""Two samples counted in the same bins: how far apart are they, and is it chance?

The formulas and their sources: `drift`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

LEAST_EXPECTED = 5.0
"""What a bin of the smaller sample expects at least, for the chi-square distribution to hold."""
MOST_BINS = 10
"""More of them would only blunt the test: the shifts to be found are broad."""
_HALF = 0.5

Floats = NDArray[np.float64]


def joined_bins(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Neighbouring bins joined until the smaller sample expects enough in each."""
    smaller = min(ours.sum(), theirs.sum())
    expected = smaller * (ours + theirs) / (ours.sum() + theirs.sum())
    enough = max(LEAST_EXPECTED, smaller / MOST_BINS - 1e-9)
    starts, total = [0], 0.0
    for index, amount in enumerate(expected):
        if total >= enough:
            starts.append(index)
            total = 0.0
        total += float(amount)
    if total < max(LEAST_EXPECTED, enough / 2) and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(ours, starts), np.add.reduceat(theirs, starts)


def stability_index(ours: Floats, theirs: Floats) -> float:
    """The population stability index of one sample against another; 0 where they are alike."""
    # Half an exam more in each bin: an empty one would be an infinite shift.
    share, expected = (
        (sample + _HALF) / (sample.sum() + _HALF * len(sample)) for sample in (ours, theirs)
    )
    return float(((share - expected) * np.log(share / expected)).sum())


def chance_of(ours: Floats, theirs: Floats) -> float:
    """p-value of the chi-square test that both samples have one distribution; 1 for one bin."""
    if len(ours) == 1:
        return 1.0
    ratio = np.sqrt(theirs.sum() / ours.sum())
    statistic = float(((ours * ratio - theirs / ratio) ** 2 / (ours + theirs)).sum())
    return float(chdtrc(len(ours) - 1, statistic))
