"""Plots of a training run and an evaluation, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError
from cadnode.training.evaluate import DetectionResults, PatchResults
from cadnode.training.metrics import Figure, calibration, roc

if TYPE_CHECKING:
    from cadnode.training.fit import Epoch


def curves(history: Sequence[Epoch]) -> bytes:
    """Loss and accuracy by epoch."""
    figure, (left, right) = _figure(2)
    at = [epoch.epoch for epoch in history]
    left.plot(at, [epoch.patch_loss for epoch in history], label="training")
    left.plot(at, [epoch.validation_loss for epoch in history], label="validation")
    left.set(xlabel="epoch", ylabel="binary cross entropy")
    left.legend()
    right.plot(at, [epoch.validation_accuracy for epoch in history], label="accuracy")
    right.plot(at, [epoch.validation_auc for epoch in history], label="AUC")
    right.set(xlabel="epoch", ylabel="validation")
    right.legend()
    return _png(figure)


def roc_plot(results: PatchResults) -> bytes:
    """The ROC of the patches with the operating point and the line of slope 1 through it."""
    figure, (axis,) = _figure(1)
    rate, sensitivity, threshold = roc(results.truth, results.score)
    axis.plot(rate, sensitivity)
    at = int(np.flatnonzero(threshold >= results.threshold)[-1])
    axis.plot(rate[at], sensitivity[at], "o", label=f"score {results.threshold:.2f}")
    axis.axline((rate[at], sensitivity[at]), slope=1, linestyle=":", color="grey")
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.legend()
    return _png(figure)


def froc_plot(results: DetectionResults) -> bytes:
    """Sensitivity by cluster against false marks per image."""
    figure, (axis,) = _figure(1)
    axis.step(results.false_per_image, results.sensitivity, where="post")
    for rate, value in results.overall.sensitivity:
        axis.errorbar(
            rate,
            value.value,
            [[max(0.0, value.value - value.low)], [max(0.0, value.high - value.value)]],
            fmt="o",
            color="C0",
            capsize=3,
        )
    axis.set(xlabel="false marks per image", ylabel="share of clusters marked", ylim=(-0.02, 1.02))
    axis.set_xlim(0, 4)
    return _png(figure)


def limit_plot(bins: Sequence[tuple[float, float, Figure]], seen: float) -> bytes:
    """Share of simulated clusters marked, by the bin (low, high) of their visibility; a line where
    they count as visible."""
    figure, (axis,) = _figure(1)
    middles = [np.sqrt(low * (high if np.isfinite(high) else 2 * low)) for low, high, _ in bins]
    values = [value for _, _, value in bins]
    axis.errorbar(
        middles,
        [value.value for value in values],
        [
            [max(0.0, value.value - value.low) for value in values],
            [max(0.0, value.high - value.value) for value in values],
        ],
        fmt="o-",
        capsize=3,
    )
    axis.axvline(seen, linestyle=":", color="grey", label="visible from here")
    axis.set(
        xscale="log",
        xlabel="signal-to-noise ratio of the third-best calcification",
        ylabel="share of clusters marked",
        ylim=(-0.02, 1.02),
    )
    ticks = [low for low, _, _ in bins]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.legend()
    return _png(figure)


def reliability(results: PatchResults) -> bytes:
    """How often a patch of a given score is positive."""
    figure, (axis,) = _figure(1)
    bins = calibration(results.truth, results.score)
    axis.plot([0, 1], [0, 1], ":", color="grey")
    axis.plot([bin_[0] for bin_ in bins], [bin_[1] for bin_ in bins], "o-")
    axis.set(xlabel="score", ylabel="share with calcifications")
    return _png(figure)


def contact_sheet(pictures: Sequence[tuple[str, NDArray[np.float32]]], columns: int = 6) -> bytes:
    """Small pictures with a caption each: hits, misses, false marks to look at."""
    rows = max(1, -(-len(pictures) // columns))
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(2.1 * columns, 2.4 * rows), squeeze=False
    )
    for axis in axes.ravel():
        axis.axis("off")
    for axis, (caption, picture) in zip(axes.ravel(), pictures, strict=False):
        low, high = np.quantile(picture, [0.01, 0.999])
        axis.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        axis.set_title(caption, fontsize=7)
    return _png(figure)


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'cadnode[train]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _figure(count: int) -> tuple[Any, list[Any]]:
    figure, axes = _pyplot().subplots(1, count, figsize=(5 * count, 4), squeeze=False)
    return figure, list(axes[0])


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=100)
    _pyplot().close(figure)
    return buffer.getvalue()
