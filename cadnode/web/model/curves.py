"""The curves of a bundle as pictures and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cadnode.core.curves import Curves, EpochPoint, FrocCurve, Measured, RocCurve
from cadnode.web.model.plot import Curve, Mark, Plot, plot

FALSE_MARKS_SHOWN = 4.0
"""No reader bears more in one image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One plot and its numbers as a table."""

    plot: Plot
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def pictures(curves: Curves) -> list[Picture]:
    """Every picture that the curves of one training or evaluation give."""
    found = []
    if curves.history:
        found += _history(curves.history)
    if curves.roc is not None:
        found.append(_roc(curves.roc))
    if curves.froc is not None:
        found.append(_froc(curves.froc))
    return found


def _history(history: Sequence[EpochPoint]) -> list[Picture]:
    def line(name: str, value: Callable[[EpochPoint], float | None], kind: str) -> Curve:
        points = [(float(epoch.epoch), at) for epoch in history if (at := value(epoch)) is not None]
        return Curve(name, points, kind)

    losses = [
        line("training", lambda epoch: epoch.training_loss, "first"),
        line("validation", lambda epoch: epoch.validation_loss, "second"),
    ]
    shares = [
        line("accuracy", lambda epoch: epoch.validation_accuracy, "first"),
        line("AUC", lambda epoch: epoch.validation_auc, "second"),
    ]
    last = len(history)
    heads = ("epoch", "training loss", "validation loss", "accuracy", "AUC")
    rows = tuple(
        (
            str(epoch.epoch),
            *(
                _number(value)
                for value in (
                    epoch.training_loss,
                    epoch.validation_loss,
                    epoch.validation_accuracy,
                    epoch.validation_auc,
                )
            ),
        )
        for epoch in history
    )
    return [
        Picture(
            plot(
                title,
                f"{title} over {last} epochs; the table has the numbers.",
                x_label="epoch",
                y_label=label,
                curves=[curve for curve in curves if curve.points],
            ),
            heads,
            rows,
        )
        for title, label, curves in (
            ("Loss", "binary cross entropy", losses),
            ("Accuracy and AUC of the validation patches", "share", shares),
        )
        if any(curve.points for curve in curves)
    ]


def _roc(roc: RocCurve) -> Picture:
    at = f"score {roc.threshold:.2f}: sensitivity {roc.at[1]:.3f}, specificity {1 - roc.at[0]:.3f}"
    area = f"area {_interval(roc.auc)}"
    return Picture(
        plot(
            "ROC of single patches",
            f"{roc.patches} patches of {roc.patients} patients, {area}; at {at}.",
            x_label="1 - specificity",
            y_label="sensitivity",
            curves=[
                Curve("chance", [(0, 0), (1, 1)], "guide"),
                Curve("ROC", roc.points),
            ],
            marks=[Mark(roc.at, at)],
            x_range=(0, 1),
            y_range=(0, 1),
        ),
        ("1 - specificity", "sensitivity"),
        tuple((f"{x:.3f}", f"{y:.3f}") for x, y in _some(roc.points, 20)),
    )


def _froc(froc: FrocCurve) -> Picture:
    normal = froc.normal_images
    counted = f"the {normal} normal ones" if normal else "all of them"
    return Picture(
        plot(
            "FROC of whole images",
            f"{froc.images} images of {froc.patients} patients with {froc.clusters} clusters, false"
            f" marks counted on {counted}; dots with 95 % intervals.",
            x_label="false marks per image",
            y_label="share of the clusters marked",
            curves=[Curve("FROC", froc.points, steps=True)],
            marks=[
                Mark(
                    (rate, figure.value),
                    f"{_interval(figure)} at {rate:g} false marks per image",
                    figure.low,
                    figure.high,
                )
                for rate, figure in froc.figures
                if figure.value is not None
            ],
            x_range=(0, FALSE_MARKS_SHOWN),
            y_range=(0, 1),
        ),
        ("false marks per image", "share of the clusters marked (95 % interval)"),
        tuple((f"{rate:g}", _interval(figure)) for rate, figure in froc.figures),
    )


def _some(points: Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    step = max(1, len(points) // count)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _interval(figure: Measured) -> str:
    return f"{_number(figure.value)} ({_number(figure.low)} to {_number(figure.high)})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
