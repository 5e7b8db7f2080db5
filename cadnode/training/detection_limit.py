"""The limit of detection: simulated clusters of every visibility in a site's own images.

No annotated lesion is needed for it, only images: they lend their tissue, the truth is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.annotations import Case
from cadnode.core.errors import ConfigError, ImageFailed
from cadnode.core.ports import Classifier
from cadnode.training import plots
from cadnode.training.evaluate import LEAST_GROUP, DetectionResults, evaluate_detection
from cadnode.training.metrics import Figure, bootstrap
from cadnode.training.report import Table, write_report
from cadnode.training.simulated_exams import ReadCluster, ReadView, simulated_exams
from cadnode.training.simulator import Background, SimulatorSettings, background_from
from cadnode.training.visibility import SEEN

VISIBILITY = (0.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, np.inf)
DIAMETER_MM = (0.0, 0.2, 0.3, 0.5, 1.0, np.inf)
CONTRAST = (5.0, 8.0, 12.0, 20.0, 30.0, np.inf)


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """One measurement of the limit of detection."""

    out: Path
    title: str = "Limit of detection"
    views: int = 4
    """Simulated of each image; the first holds no calcification."""
    rounds: int = 1000
    """Of the bootstrap."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LimitLine:
    """How many of some clusters are marked at the recommended operating point."""

    kind: str
    low: float
    high: float
    """Of the kind's measure; both nan for a morphology."""
    group: str
    clusters: int
    patients: int
    sensitivity: Figure


@dataclass(frozen=True, slots=True, eq=False)
class LimitResults:
    """What was measured, and its report."""

    report: Path
    detection: DetectionResults
    lines: tuple[LimitLine, ...]
    views: tuple[ReadView, ...]
    passed_over: int
    """Images without a breast, or with calcifications that nobody outlined."""


def measure_limit(
    cases: Iterable[Case],
    classifier: Classifier,
    options: LimitOptions,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> LimitResults:
    """Insert simulated clusters into every image, read it as the node does, and write the report.

    The images stay as they are, but for the calcium: it is blurred as by a random focal spot and
    detector, and its contrast is drawn in units of the local texture. Marks are located on the
    model's grid. Where an image is annotated no truth is claimed. `progress` gets the number of
    images done. Raises ConfigError when no image can be used.
    """
    spec = classifier.spec
    # The images as they are: only calcium is added.
    settings = SimulatorSettings(
        pitch_mm=spec.pitch_mm,
        normalisation=spec.normalisation,
        hard_negatives=False,
        vary_detector=False,
        vary_tissue=False,
    )
    views: list[ReadView] = []
    passed_over = 0
    for number, case in enumerate(cases):
        background = _tissue_of(case, spec.pitch_mm)
        if background is None:
            passed_over += 1
        else:
            seed = (options.seed, number)
            views += [
                replace(view, groups=case.groups)
                for view in simulated_exams(
                    background, classifier, settings, views=options.views, seed=seed, turn=False
                )
            ]
        progress(number + 1)
    if not views:
        raise ConfigError("there is no image to insert calcifications into")
    threshold = spec.thresholds[spec.recommended]
    detection = evaluate_detection(views, threshold=threshold, rounds=options.rounds)
    lines = limit_lines(views, threshold=threshold, rounds=options.rounds)
    by_visibility = [line for line in lines if line.kind == "visibility"]
    report = write_report(
        options.out,
        title=options.title,
        facts={
            "model": f"{spec.name} {spec.version}",
            "images that lent their tissue": str(len(views) // options.views),
            "simulated views": str(len(views)),
            "simulated clusters": str(sum(len(view.clusters) for view in views)),
            "visible, or groups of which one is": str(sum(len(v.marks.lesions) for v in views)),
        },
        detection=detection,
        tables=_tables(lines, threshold),
        plots={
            "limit-of-detection": plots.limit_plot(
                [(line.low, line.high, line.sensitivity) for line in by_visibility], SEEN
            ),
            "froc": plots.froc_plot(detection),
        },
    )
    return LimitResults(report, detection, lines, tuple(views), passed_over)


def _tissue_of(case: Case, pitch_mm: float) -> Background | None:
    """None where there is no breast, or where calcifications may lie that nobody outlined."""
    if not case.complete:
        return None
    try:
        return background_from(
            case.mammogram, case.patient, pitch_mm=pitch_mm, unsure=case.annotations
        )
    except ImageFailed:
        return None


def limit_lines(
    views: Sequence[ReadView], *, threshold: float, rounds: int = 1000
) -> tuple[LimitLine, ...]:
    """Share marked by visibility (all clusters), and by diameter, contrast and morphology (the
    visible ones), of clusters that lie apart from others. Intervals by bootstrap over patients; a
    line holds at least LEAST_GROUP."""
    pairs = [
        (cluster, view.marks.patient)
        for view in views
        for cluster in view.clusters
        if cluster.apart
    ]
    clusters = [cluster for cluster, _ in pairs]
    patients = [patient for _, patient in pairs]
    hit = np.array([cluster.score >= threshold for cluster in clusters], np.float64)

    def share(items: NDArray[np.intp]) -> Figure:
        owners = [patients[item] for item in items]
        return bootstrap(lambda drawn: float(hit[items[drawn]].mean()), owners, rounds=rounds)

    lines = []
    for kind, low, high, group, chosen in _bins(clusters):
        items = np.flatnonzero(chosen)
        if len(items) >= LEAST_GROUP:
            owners = {patients[item] for item in items}
            lines.append(LimitLine(kind, low, high, group, len(items), len(owners), share(items)))
    return tuple(lines)


def _bins(
    clusters: Sequence[ReadCluster],
) -> Iterator[tuple[str, float, float, str, NDArray[np.bool_]]]:
    """Kind, low, high, name and members of every line."""
    visibility = np.array([cluster.visibility for cluster in clusters])
    seen = np.asarray(visibility >= SEEN)
    diameter = np.array([cluster.diameter_mm for cluster in clusters])
    contrast = np.array([cluster.contrast for cluster in clusters])
    for kind, edges, values, among in (
        ("visibility", VISIBILITY, visibility, np.ones(len(clusters), np.bool_)),
        ("median diameter (mm)", DIAMETER_MM, diameter, seen),
        ("contrast put in", CONTRAST, contrast, seen),
    ):
        for low, high in pairwise(edges):
            name = f"{low:g} and more" if np.isinf(high) else f"{low:g} to {high:g}"
            yield kind, low, high, name, among & (values >= low) & (values < high)
    for morphology in sorted({cluster.morphology for cluster in clusters}):
        same = np.array([cluster.morphology == morphology for cluster in clusters], np.bool_)
        yield "morphology", np.nan, np.nan, morphology, seen & same


def _tables(lines: Sequence[LimitLine], threshold: float) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for kind in dict.fromkeys(line.kind for line in lines):
        of = "all simulated clusters" if kind == "visibility" else "visible clusters"
        rows = [
            (line.group, line.clusters, line.patients, line.sensitivity)
            for line in lines
            if line.kind == kind
        ]
        tables[f"By {kind}: {of} marked at score {threshold:g}"] = (
            (kind, "clusters", "patients", "share marked"),
            rows,
        )
    return tables
