"""Finds what a bundle must say to be screened in int8, out of images that nobody annotated.

The highest value that each step reaches on some images, in float32; then, on other images, how much
too low int8 puts a patch that may become a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import FLOAT32, INT8
from cadnode.inference.bundle import Bundle
from cadnode.inference.classifier import BAND, BundleClassifier
from cadnode.inference.folded import fold
from cadnode.inference.quantised import STEPS
from cadnode.inference.screening import Screening

MARGIN = 2.5
"""The band, in times of the largest error towards too low."""
LEAST_BAND = 2 * BAND
"""In log-odds. A dozen patches that may become a mark do not show the worst error; of the 149 such
patches of films at 200 um, the shipped network in int8 put one 0.7 too low."""

Patches = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found."""

    screening: Screening
    too_low: float
    """The largest error of a patch that reaches the lowest operating point, in log-odds."""
    ranged: int
    """Patches that the ranges are of."""
    again: float
    """Share of the measured patches that lie in the band or above, and are scored twice."""


def calibrate(
    bundle: Bundle,
    for_ranges: Iterable[Patches],
    for_band: Iterable[Patches],
    *,
    least_band: float = LEAST_BAND,
) -> Calibration:
    """Ranges of the one images' patches, and the band by the others'. Takes a while.

    Raises ModelUnfit, also where OpenVINO or the package `onnx` is missing.
    """
    try:
        from cadnode.inference.onnx_graph import HIGHEST, onnx_model
        from cadnode.inference.openvino_model import OpenVinoEngine
    except ModuleNotFoundError as error:
        raise ModelUnfit(
            f"{error.name} is not installed: pip install 'cadnode[openvino]'"
        ) from error
    network = fold(bundle.arrays(), bundle.spec.patch_size)
    exact = OpenVinoEngine(onnx_model(network, "", highest_of=STEPS).SerializeToString(), FLOAT32)
    names = [f"{step}{HIGHEST}" for step in STEPS]
    ranges, ranged = highest(lambda patches: exact.outputs(patches, names), for_ranges, exact.batch)
    quick = OpenVinoEngine(onnx_model(network, "", ranges=ranges).SerializeToString(), INT8)
    spec = bundle.spec
    ours, theirs = BundleClassifier(spec, quick), BundleClassifier(spec, exact)
    scores = [
        (ours.classify(patches).probability, theirs.classify(patches).probability)
        for patches in for_band
    ]
    if not scores:
        raise ModelUnfit("no patch is left to measure the band on")
    rounded, right = (np.concatenate(one) for one in zip(*scores, strict=True))
    lowest = min(spec.thresholds)
    too_low = largest_loss(rounded, right, lowest)
    band = round(max(least_band, MARGIN * too_low), 2)
    return Calibration(
        Screening(ranges, band, len(right), int((right >= lowest).sum())),
        too_low,
        ranged,
        float((_log_odds(rounded) >= _log_odds(np.float64(lowest)) - band).mean()),
    )


def highest(
    outputs: Callable[[Patches], Sequence[NDArray[np.float32]]],
    images: Iterable[Patches],
    batch: int,
) -> tuple[dict[str, float], int]:
    """The highest value of each of STEPS over all patches, and how many patches those are.

    Raises ModelUnfit where there is no patch, or a step is never above zero.
    """
    top = np.zeros(len(STEPS))
    count = 0
    for patches in images:
        count += len(patches)
        for first in range(0, len(patches), batch):
            top = np.maximum(top, np.array(outputs(patches[first : first + batch])).reshape(-1))
    if not count:
        raise ModelUnfit("no patch to find the ranges on")
    if not np.all((top > 0) & np.isfinite(top)):
        raise ModelUnfit("a step of the network is never above zero, or gives no number")
    return dict(zip(STEPS, (float(f"{value:.6g}") for value in top), strict=True)), count


def largest_loss(quick: Patches, right: Patches, lowest: float) -> float:
    """How far `quick` puts a patch too low that is at `lowest` or above, in log-odds; 0 when
    there is none."""
    marked = right >= lowest
    loss = _log_odds(right[marked]) - _log_odds(quick[marked])
    return float(loss.max(initial=0.0))


def _log_odds(probability: NDArray[np.floating] | np.floating) -> NDArray[np.float64]:
    # Above what float32 tells from 1 there is nothing to lose.
    inside = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))
