"""What the node's own analysis marks on annotated images, and what of it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cadnode.core.analysis import analyze_mammogram
from cadnode.core.annotations import Annotation, Case
from cadnode.core.errors import ImageFailed
from cadnode.core.findings import Finding
from cadnode.core.model import ModelSpec, PatchScores, RunsOn
from cadnode.core.ports import Classifier
from cadnode.training.metrics import ImageMarks

MARGIN_MM = 3.0
"""A mark whose center is no farther than this outside the annotated outline is on it."""
LOWEST = 0.02
"""Marks are made down to this score, so that the FROC curve has a lax end."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionCase:
    """One image read: its marks, scored against the truth."""

    marks: ImageMarks
    findings: tuple[Finding, ...]
    truth: tuple[Annotation, ...]
    groups: tuple[tuple[str, str], ...]
    patches: int
    top_score: float
    """The highest probability of its patches."""


class _Lax:
    """The same model with one operating point at the bottom."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @property
    def spec(self) -> ModelSpec:
        spec = self._classifier.spec
        kept = tuple(value for value in spec.thresholds if value > LOWEST)
        return replace(spec, thresholds=(*kept, LOWEST))

    @property
    def runs_on(self) -> RunsOn:
        return self._classifier.runs_on

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        return self._classifier.classify(patches)


def lax(classifier: Classifier) -> Classifier:
    """The same model with one more operating point, at `LOWEST`."""
    return _Lax(classifier)


def detect(
    cases: Iterable[Case],
    classifier: Classifier,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> list[DetectionCase]:
    """Every case through the analysis that the node uses, with all marks above `LOWEST`.

    Cases that the node would not read either (no breast in the image) are left out.
    """
    lowest = lax(classifier)
    found = []
    for number, case in enumerate(cases):
        progress(number + 1)
        try:
            reading = analyze_mammogram(case.mammogram, lowest)
        except ImageFailed:
            continue
        found.append(
            DetectionCase(
                score_marks(case, reading.findings),
                reading.findings,
                case.annotations,
                case.groups,
                reading.patches,
                float(reading.patch_map.probability.max()),
            )
        )
    return found


def score_marks(case: Case, findings: Iterable[Finding]) -> ImageMarks:
    """A mark is a hit when its center lies in an annotated outline grown by `MARGIN_MM`, or the
    outline's center in the mark. Every other mark is false; hitting one cluster twice is neither.
    """
    spacing = case.mammogram.spacing
    margin = MARGIN_MM / ((spacing.row + spacing.column) / 2)
    best = [-np.inf] * len(case.annotations)
    false = []
    for finding in findings:
        outline = Annotation(finding.outline[:-1])
        hits = [
            index
            for index, truth in enumerate(case.annotations)
            if truth.contains(finding.center, margin) or outline.contains(truth.center)
        ]
        for index in hits:
            best[index] = max(best[index], finding.score)
        if not hits:
            false.append(finding.score)
    return ImageMarks(
        case.mammogram.sop_instance_uid,
        case.patient,
        tuple(best),
        tuple(false),
        normal=case.complete and not case.annotations,
    )
