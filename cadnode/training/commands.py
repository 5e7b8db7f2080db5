"""What `cadnode train` and `cadnode evaluate` do; the commands only parse and print."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.annotations import Case
from cadnode.core.drift import ScoreReference
from cadnode.core.errors import ConfigError
from cadnode.core.ports import Classifier
from cadnode.training import plots
from cadnode.training.bundle_curves import (
    curves_file,
    evaluation_curves,
    reference_of_normals,
    training_curves,
)
from cadnode.training.bundle_writer import BundleFacts, add_to_bundle, stored, write_bundle
from cadnode.training.card import Section, write_card
from cadnode.training.cut import fill_from_cases
from cadnode.training.detection import DetectionCase, detect
from cadnode.training.evaluate import (
    DetectionResults,
    PatchResults,
    evaluate_detection,
    evaluate_patches,
)
from cadnode.training.fit import FitResult, StepProgress, fit, logits, read_history
from cadnode.training.labels import NO, UNKNOWN, YES
from cadnode.training.network import build, load_weights
from cadnode.training.options import BundleOptions, CutOptions, TrainOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.report import patch_table_markdown, write_report
from cadnode.training.split import PATCH_SPLIT_WARNING

GOLDEN_PATCHES = 8
SIMULATED_WARNING = (
    "the held-out patches carry simulated calcifications: the results and the operating point say"
    " that the training worked, not what the bundle finds in patients"
)
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.05, 0.999
"""Of the operating point that a training finds by itself."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run left."""

    bundle: Path
    report: Path
    patches: int
    failed_images: int
    results: PatchResults
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """What an evaluation found."""

    report: Path
    patches: PatchResults | None
    detection: DetectionResults
    images: tuple[DetectionCase, ...]
    reference: ScoreReference | None = None
    """For drift, as it was put into the bundle."""


@dataclass(frozen=True, slots=True)
class IntoBundle:
    """A bundle that is to keep what an evaluation of it found: the curves, named by the title, and
    a reference for drift when there are enough normal images."""

    folder: Path
    today: date


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """One `cadnode evaluate`."""

    out: Path
    title: str = "Evaluation"
    patches: bool = True
    """Also cut and score patches as training does."""
    rounds: int = 1000
    """Of the bootstrap."""
    cut: CutOptions = field(default_factory=CutOptions)
    into: IntoBundle | None = None


def train(
    cases: Callable[[Container[str]], Iterable[Case]],
    options: TrainOptions,
    *,
    code_version: str = "",
    today: date,
    cutting: Callable[[int], None] = lambda images: None,
    progress: StepProgress = lambda done, total, loss: None,
) -> Trained:
    """Cut the cases, train, measure on the held-out patients, write the bundle.

    `cases` gives those whose SOP Instance UID is not in what it is called with; `cutting` gets the
    number of images cut.

    The same call again after a kill goes on: images already cut are not cut again, finished epochs
    are not repeated. Raises ConfigError, at once where the version is there already.
    """
    folder = options.models / options.bundle.name / options.bundle.version
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; a version is never overwritten")
    cache = PatchCache(
        options.run / "cache",
        patch_size=options.cut.patch_size,
        map_size=options.cut.map_size,
    )
    _same_cut(cache, options.cut)
    begun = bool(read_history(options.run))
    failed = fill_from_cases(cache, cases, options.cut, closed=begun, progress=cutting)
    if not len(cache):
        raise ConfigError("no patch could be cut: no image, no annotation, or no breast found")
    result = fit(cache, options.run, options.fit, progress=progress, speed=options.speed)
    kept = {name: array.astype(np.float32) for name, array in stored(result.weights).items()}
    model = build(frozen_layers=options.fit.frozen_layers)
    load_weights(model, kept)
    measured, simulated = _measured(cache, result.validation)
    score = _probability(logits(model, np.asarray(cache.patches[measured])))
    truth = np.asarray(cache.labels)[measured] == YES
    patients = [str(cache.rows[index]["patient"]) for index in measured]
    patches = evaluate_patches(truth, score, patients)
    golden = _golden(cache, result)
    facts = _facts(options, patches.threshold, code_version, len(cache), result.precision)
    warnings: tuple[str, ...] = (PATCH_SPLIT_WARNING,) if options.fit.split == "patch" else ()
    warnings += (SIMULATED_WARNING,) if simulated else ()
    card = _card(options, patches, warnings)
    curves = training_curves(result.history, patches, today)
    write_bundle(
        folder,
        facts,
        result.weights,
        (golden.astype(np.float32), _probability(logits(model, golden)).astype(np.float32)),
        card,
        dict([curves_file("training", curves)]),
    )
    report = write_report(
        options.run / "report",
        title=f"{options.bundle.name} {options.bundle.version}: training",
        facts={
            "patches": str(len(cache)),
            "of them from simulated views": str(sum("simulated" in row for row in cache.rows)),
            "validation": str(len(truth)),
            "split": options.fit.split,
        },
        patches=patches,
        plots={
            "loss-and-accuracy": plots.curves(result.history),
            "roc": plots.roc_plot(patches),
            "reliability": plots.reliability(patches),
        },
    )
    return Trained(folder, report, len(cache), failed, patches, warnings)


def evaluate(
    cases: Callable[[], Iterable[Case]],
    classifier: Classifier,
    options: EvaluateOptions,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluated:
    """Patch and image figures with intervals, and the report in `options.out`.

    `cases` gives the set anew each time it is called (images are read one at a time, twice when
    patches are wanted).
    """
    spec = classifier.spec
    threshold = spec.thresholds[spec.recommended]
    tried = 0

    def counted(done: int) -> None:
        nonlocal tried
        tried = done
        progress(done)

    images = detect(cases(), classifier, progress=counted)
    if not images:
        raise ConfigError("there is no image to evaluate")
    detection = evaluate_detection(images, threshold=threshold, rounds=options.rounds)
    patches = _patch_results(cases(), classifier, options, threshold) if options.patches else None
    pictures = {"froc": plots.froc_plot(detection)}
    if patches is not None:
        pictures["roc"] = plots.roc_plot(patches)
        pictures["reliability"] = plots.reliability(patches)
    pictures |= _sheets(cases(), images, threshold)
    report = write_report(
        options.out,
        title=options.title,
        facts={
            "model": f"{spec.name} {spec.version}",
            "images": str(len(images)),
            "images without a breast": str(tried - len(images)),
            "annotated clusters": str(sum(len(image.truth) for image in images)),
            "normal images": str(sum(image.marks.normal for image in images)),
        },
        patches=patches,
        detection=detection,
        plots=pictures,
    )
    reference = None
    if options.into is not None:
        curves = evaluation_curves(options.title, patches, detection, images, options.into.today)
        reference = reference_of_normals(spec, images, options.title, options.into.today)
        add_to_bundle(
            options.into.folder,
            dict([curves_file(options.title, curves)]),
            {} if reference is None else {"reference": reference.as_table()},
        )
    return Evaluated(report, patches, detection, tuple(images), reference)


def _same_cut(cache: PatchCache, cut: CutOptions) -> None:
    path = cache.folder / "cut.json"
    text = json.dumps(asdict(cut), indent=1, sort_keys=True)
    # What an older version did not know was as its default is now.
    known = {**asdict(CutOptions()), **json.loads(path.read_text("utf-8"))} if path.exists() else {}
    if len(cache) and known and known != asdict(cut):
        raise ConfigError(
            f"{cache.folder} holds patches that were cut with other options; take another folder"
        )
    path.write_text(text, "utf-8")


def _measured(cache: PatchCache, validation: NDArray[np.intp]) -> tuple[NDArray[np.intp], bool]:
    """The held-out patches to report on, and whether some are simulated: the real ones alone, if
    both kinds are among them."""
    simulated = np.array(["simulated" in cache.rows[index] for index in validation], np.bool_)
    real = validation[~simulated]
    labels = set(np.asarray(cache.labels)[real].tolist())
    if {YES, NO} <= labels:
        return real, False
    return validation, bool(simulated.any())


def _probability(logit: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logit.astype(np.float64))))


def _golden(cache: PatchCache, result: FitResult) -> NDArray[np.uint8]:
    labels = np.asarray(cache.labels)[result.training]
    half = GOLDEN_PATCHES // 2
    chosen = [result.training[labels == label][:half] for label in (YES, NO)]
    return np.asarray(cache.patches[np.concatenate(chosen)])


def _facts(
    options: TrainOptions, threshold: float, code_version: str, patches: int, precision: str
) -> BundleFacts:
    cut, wanted = options.cut, options.bundle
    return BundleFacts(
        name=wanted.name,
        version=wanted.version,
        patch_size=cut.patch_size,
        stride=cut.stride,
        pitch_mm=cut.pitch_mm,
        normalisation=cut.normalisation,
        map_size=cut.map_size,
        thresholds=wanted.thresholds
        # Where the scores order nothing, no finite score is the best one.
        or (min(max(threshold, LOWEST_THRESHOLD), HIGHEST_THRESHOLD),),
        recommended=wanted.recommended,
        code_version=code_version,
        training={
            **options.fit.as_settings(),
            **{f"cut_{key}": value for key, value in asdict(cut).items()},
            "precision": precision,
            "patches": patches,
        },
    )


def _card(options: TrainOptions, patches: PatchResults, warnings: tuple[str, ...]) -> str:
    wanted: BundleOptions = options.bundle
    table = patch_table_markdown([patches.overall])
    settings = {**options.fit.as_settings(), "simulated patches an image": options.cut.simulated}
    how = "\n".join(f"- {key}: {value}" for key, value in settings.items())
    notes = "".join(f"\n\nWarning: {warning}" for warning in warnings)
    return write_card(
        wanted.name,
        wanted.version,
        [
            Section("Sources", wanted.description or "Not described."),
            Section("Training", how + notes),
            Section("Results on the held-out patients", table),
        ],
    )


def _patch_results(
    cases: Iterable[Case], classifier: Classifier, options: EvaluateOptions, threshold: float
) -> PatchResults | None:
    spec = classifier.spec
    cut = replace(
        options.cut,
        patch_size=spec.patch_size,
        map_size=spec.map_size,
        pitch_mm=spec.pitch_mm,
        stride=spec.stride,
        normalisation=spec.normalisation,
    )
    # Of an earlier evaluation: other images, or other annotations.
    shutil.rmtree(options.out / "patches", ignore_errors=True)
    cache = PatchCache(
        options.out / "patches",
        patch_size=spec.patch_size,
        map_size=spec.map_size,
    )
    fill_from_cases(cache, lambda known: cases, cut)
    labels = np.asarray(cache.labels)[: len(cache)]
    known = np.flatnonzero(labels != UNKNOWN)
    truth = labels[known] == YES
    if truth.all() or not truth.any():
        return None
    score = np.concatenate(
        [
            classifier.classify(
                np.asarray(cache.patches[known[at : at + 64]], np.float32)
            ).probability
            for at in range(0, len(known), 64)
        ]
    ).astype(np.float64)
    rows = [cache.rows[index] for index in known]
    groups = [[(str(g[0]), str(g[1])) for g in row.get("groups", [])] for row in rows]  # type: ignore[attr-defined]
    return evaluate_patches(
        truth,
        score,
        [str(row["patient"]) for row in rows],
        threshold=threshold,
        groups=groups,
        rounds=options.rounds,
    )


def _sheets(
    cases: Iterable[Case], images: list[DetectionCase], threshold: float, most: int = 24
) -> dict[str, bytes]:
    """Pages of hits, misses and false marks."""
    pages: dict[str, list[tuple[str, NDArray[np.float32]]]] = {
        "hits": [],
        "misses": [],
        "false-marks": [],
    }
    read = {image.marks.name: image for image in images}
    for case in cases:
        image = read.get(case.mammogram.sop_instance_uid)
        if image is None:
            continue
        pixels, half = case.mammogram.pixels, round(10 / case.mammogram.spacing.row)

        def window(
            point: tuple[float, float], pixels: NDArray[np.float32] = pixels, half: int = half
        ) -> NDArray[np.float32]:
            column, row = int(point[0]), int(point[1])
            return pixels[max(0, row - half) : row + half, max(0, column - half) : column + half]

        for truth, score in zip(image.truth, image.marks.lesions, strict=True):
            page = "hits" if score >= threshold else "misses"
            pages[page].append(
                (f"{image.marks.name[-12:]} {max(score, 0):.2f}", window(truth.center))
            )
        false = [
            f for f in image.findings if f.score >= threshold and f.score in image.marks.false_marks
        ]
        pages["false-marks"] += [
            (f"{image.marks.name[-12:]} {finding.score:.2f}", window(finding.center))
            for finding in false
        ]
    return {name: plots.contact_sheet(page[:most]) for name, page in pages.items() if page}
