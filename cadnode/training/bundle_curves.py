"""The curves of a training or an evaluation, as a bundle keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from cadnode.core.curves import (
    FILES,
    Curves,
    EpochPoint,
    FrocCurve,
    Measured,
    RocCurve,
    thinned,
)
from cadnode.core.drift import (
    LEAST_REFERENCE,
    ScoreReference,
    marks_counts,
    score_counts,
    score_edges,
)
from cadnode.core.model import ModelSpec, model_label
from cadnode.training.detection import DetectionCase
from cadnode.training.evaluate import DetectionResults, PatchResults
from cadnode.training.metrics import Figure, roc

if TYPE_CHECKING:
    from cadnode.training.fit import Epoch

MOST_FALSE = 10.0
"""The FROC curve is kept up to so many false marks per image: no reader looks at more."""


def training_curves(history: Sequence[Epoch], patches: PatchResults, made: date) -> Curves:
    """Of `cadnode train`: the history, and the ROC of the patches kept aside."""
    return Curves(
        title="Training, measured on the patches kept aside",
        made=made,
        history=tuple(
            EpochPoint(
                epoch.epoch,
                epoch.patch_loss,
                epoch.validation_loss,
                epoch.validation_accuracy,
                epoch.validation_auc,
            )
            for epoch in history
        ),
        roc=_roc(patches),
    )


def evaluation_curves(
    title: str,
    patches: PatchResults | None,
    detection: DetectionResults,
    images: Sequence[DetectionCase],
    made: date,
) -> Curves:
    """Of `cadnode evaluate`: the FROC of the images, and the ROC of their patches."""
    points = [
        (float(rate), float(found))
        for rate, found in zip(detection.false_per_image, detection.sensitivity, strict=True)
        if rate <= MOST_FALSE
    ]
    overall = detection.overall
    froc = FrocCurve(
        images=overall.images,
        normal_images=sum(image.marks.normal for image in images),
        patients=overall.patients,
        clusters=overall.clusters,
        points=thinned(points, 0.02),
        figures=tuple((rate, _measured(figure)) for rate, figure in overall.sensitivity),
    )
    return Curves(
        title=title,
        made=made,
        roc=None if patches is None else _roc(patches),
        froc=froc if overall.clusters else None,
    )


def curves_file(name: str, curves: Curves) -> tuple[str, bytes]:
    """Name and content of the file for a bundle; `name` says which training or evaluation."""
    slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")
    text = json.dumps(curves.as_json(), indent=1, allow_nan=False)
    return f"{FILES}{slug or 'evaluation'}.json", (text + "\n").encode()


def reference_of_normals(
    spec: ModelSpec, images: Sequence[DetectionCase], source: str, made: date
) -> ScoreReference | None:
    """What the model says of the normal images of a set, a patient counting as an exam; None
    when there are too few. Screening is almost all normal; the rest of a set is not like it."""
    normal = [image for image in images if image.marks.normal]
    by_patient: dict[str, int] = {}
    for image in normal:
        shown = sum(score >= spec.thresholds[spec.recommended] for score in image.marks.false_marks)
        by_patient[image.marks.patient] = by_patient.get(image.marks.patient, 0) + shown
    if len(by_patient) < LEAST_REFERENCE:
        return None
    scores = [image.top_score for image in normal]
    edges = score_edges(scores)
    return ScoreReference(
        model=model_label(spec),
        source=f"the normal images of {source}",
        made=made,
        exams=len(by_patient),
        images=len(normal),
        score_edges=edges,
        score_counts=score_counts(scores, edges),
        marks_counts=marks_counts(by_patient.values()),
        operating_point=spec.recommended,
    )


def _roc(patches: PatchResults) -> RocCurve | None:
    if patches.truth.all() or not patches.truth.any():
        return None
    rate, sensitivity, threshold = roc(patches.truth, patches.score)
    points = [(float(x), float(y)) for x, y in zip(rate, sensitivity, strict=True)]
    at = int(np.flatnonzero(threshold >= patches.threshold)[-1])
    return RocCurve(
        patches=len(patches.truth),
        patients=patches.overall.patients,
        auc=_measured(patches.overall.auc),
        threshold=float(patches.threshold),
        at=points[at],
        points=thinned(points, 0.005),
    )


def _measured(figure: Figure) -> Measured:
    return Measured(figure.value, figure.low, figure.high)
