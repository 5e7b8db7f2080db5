"""`cadnode model calibrate`: a bundle gets from images of the site what int8 needs to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.analysis import prepare
from cadnode.core.eligibility import judge
from cadnode.core.errors import ConfigError, ImageFailed
from cadnode.core.mammogram import ImageHeader
from cadnode.core.ports import MammogramReader
from cadnode.inference.bundle import Bundle
from cadnode.inference.calibrate import LEAST_BAND, Calibration, calibrate
from cadnode.inference.screening import TABLE
from cadnode.site_cases import headers_in
from cadnode.training.bundle_writer import add_to_bundle

Image = tuple[Path, ImageHeader]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was found, and on what."""

    found: Calibration
    images: tuple[int, int]
    """Those that gave the ranges, and those that the band was measured on."""
    split_by: str
    """`patient`, or `image` where there is only one patient."""
    passed_over: tuple[str, ...]
    """One line for each image that was not used."""


def calibrate_bundle(
    bundle: Bundle,
    sources: Sequence[Path],
    reader: MammogramReader,
    *,
    analyzed_views: frozenset[str],
    least_band: float = LEAST_BAND,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibrated:
    """Find the ranges on every second patient of the DICOM images in the folders, the band on the
    others, and write both into the bundle.

    `progress` gets the number of images read and of all. Raises ConfigError where the bundle has
    ranges or there are not two images, and ModelUnfit.
    """
    if TABLE in bundle.manifest:
        raise ConfigError(f"{bundle.folder} has [{TABLE}] already")
    passed_over: list[str] = []
    usable = []
    for path, header in (pair for source in sources for pair in headers_in(source, reader)):
        reason = judge(header, analyzed_views=analyzed_views)
        if reason is None:
            usable.append((path, header))
        else:
            passed_over.append(f"{path}: {reason.code} {reason.text}")
    if len(usable) < 2:
        lines = "".join(f"\n  {line}" for line in passed_over[:20])
        raise ConfigError(f"two images are needed, found {len(usable)}{lines}")
    halves, split_by = in_halves(usable)
    done = 0

    def patches(images: Sequence[Image]) -> Iterator[NDArray[np.float32]]:
        nonlocal done
        for path, header in images:
            try:
                yield prepare(reader.mammogram(path, header), bundle.spec).patches
            except ImageFailed as failure:
                passed_over.append(f"{path}: {failure.detail}")
            done += 1
            progress(done, len(usable))

    found = calibrate(bundle, patches(halves[0]), patches(halves[1]), least_band=least_band)
    add_to_bundle(bundle.folder, found.screening.files(), {TABLE: found.screening.table()})
    sizes = (len(halves[0]), len(halves[1]))
    return Calibrated(found, sizes, split_by, tuple(passed_over))


def in_halves(images: Sequence[Image]) -> tuple[tuple[list[Image], list[Image]], str]:
    """Every second patient on the other side, or every second image where there is only one."""

    def patient(image: Image) -> str:
        return image[1].patient_key or image[1].study_instance_uid

    split_by, of = "patient", patient
    if len({patient(image) for image in images}) == 1:
        split_by, of = "image", lambda image: image[1].sop_instance_uid
    # In the order of the files: vendors and years that lie together come on both sides.
    number = {key: index for index, key in enumerate(dict.fromkeys(map(of, images)))}
    halves: tuple[list[Image], list[Image]] = ([], [])
    for image in images:
        halves[number[of(image)] % 2].append(image)
    return halves, split_by
