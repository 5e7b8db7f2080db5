"""A site's folders as cases: what is used, what is passed over, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cadnode.core.annotations import Annotation
from cadnode.core.errors import ConfigError
from cadnode.core.exam import Algorithm, AnalyzedImage, ExamReport
from cadnode.core.findings import Finding
from cadnode.core.mammogram import Laterality
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.object_header import Equipment
from cadnode.dicom.reader import DicomReader
from cadnode.dicom.site_facts import age_band
from cadnode.site_cases import SiteCases, site_cases
from tests.objects import four_views, mammogram, secondary_capture, write

SQUARE = ((10.0, 10.0), (30.0, 10.0), (30.0, 40.0), (10.0, 40.0), (10.0, 10.0))


def cases_of(folder: Path, **sources: Any) -> SiteCases:
    views = frozenset({"CC", "MLO"})
    return site_cases([folder], DicomReader(), analyzed_views=views, **sources)


@pytest.fixture
def images(tmp_path):
    """An RCC and an LCC of one patient, in `tmp_path / "images"`."""
    first, second, *_ = four_views(rows=96, columns=80, spacing_mm=0.07)
    first.Manufacturer, first.PatientAge = "Test Vendor", "057Y"
    write(first, tmp_path / "images" / "1.dcm")
    write(second, tmp_path / "images" / "2.dcm")
    return first, second


def test_a_csv_says_where_calcifications_are_and_which_images_have_none(tmp_path, images):
    first, second = images
    csv = tmp_path / "truth.csv"
    csv.write_text(
        "sop_instance_uid,shape,points\n"
        f"{first.SOPInstanceUID},circle,40 50 12\n{second.SOPInstanceUID},,\n"
    )
    found = cases_of(tmp_path / "images", annotations=[csv])
    positive, normal = found
    assert positive.annotations == (Annotation(((40.0, 50.0),), 12.0),)
    assert normal.annotations == ()
    assert positive.patient == normal.patient
    assert dict(positive.groups) == {"view": "CC", "vendor": "Test Vendor", "age": "50 to 59"}
    assert not found.passed_over


def test_the_pixels_of_what_is_done_are_not_read_again(tmp_path, images):
    first, second = images
    csv = tmp_path / "truth.csv"
    csv.write_text(
        f"sop_instance_uid,shape,points\n{first.SOPInstanceUID},,\n{second.SOPInstanceUID},,\n"
    )
    found = cases_of(tmp_path / "images", annotations=[csv])
    (tmp_path / "images" / "1.dcm").unlink()
    (left,) = found.without({str(first.SOPInstanceUID)})
    assert left.mammogram.sop_instance_uid == second.SOPInstanceUID


def test_masks_are_named_by_the_image(tmp_path, images):
    first, second = images
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((96, 80), np.uint8)
    mask[20:30, 40:60] = 255
    Image.fromarray(mask).save(masks / f"{first.SOPInstanceUID}.png")
    Image.fromarray(mask * 0).save(masks / f"{second.SOPInstanceUID}.png")
    positive, normal = cases_of(tmp_path / "images", masks=masks)
    assert positive.annotations[0].contains((50, 25))
    assert not positive.annotations[0].contains((50, 40))
    assert normal.annotations == ()


def test_a_mammography_cad_sr_among_the_images_annotates_them(tmp_path, images):
    first, second = images
    finding = Finding(0.9, (20.0, 25.0), SQUARE, 2.9, 0)
    report = ExamReport(
        study_instance_uid=first.StudyInstanceUID,
        revision=1,
        created_at=datetime(2026, 1, 5, tzinfo=UTC),
        algorithm=Algorithm("test", "1", "test"),
        images=tuple(
            AnalyzedImage(
                path=tmp_path / "images" / name,
                sop_instance_uid=image.SOPInstanceUID,
                laterality=Laterality(image.ImageLaterality),
                view="CC",
                findings=marks,
                sop_class_uid=image.SOPClassUID,
                series_instance_uid=image.SeriesInstanceUID,
            )
            for name, image, marks in (("1.dcm", first, (finding,)), ("2.dcm", second, ()))
        ),
    )
    built = MammographyCadSr(Equipment()).build(report)
    assert built is not None
    (tmp_path / "images" / "sr.dcm").write_bytes(built.content)
    positive, normal = cases_of(tmp_path / "images")
    assert positive.annotations[0].points == SQUARE[:-1]
    assert normal.annotations == ()


def test_an_image_nobody_said_anything_about_is_neither_normal_nor_positive(tmp_path, images):
    first, _ = images
    csv = tmp_path / "truth.csv"
    csv.write_text(f"sop_instance_uid,shape,points\n{first.SOPInstanceUID},,\n")
    write(secondary_capture(), tmp_path / "images" / "3.dcm")
    write(mammogram(view="ML"), tmp_path / "images" / "4.dcm")
    (tmp_path / "images" / "notes.txt").write_text("not DICOM")
    found = cases_of(tmp_path / "images", annotations=[csv])
    assert len(found) == len(list(found)) == 1
    reasons = sorted(line.rpartition(": ")[2] for line in found.passed_over)
    assert [reason[:4] for reason in reasons] == ["N107", "N110", "no a"]


def test_an_image_that_cannot_be_decoded_is_passed_over_once_however_often_they_are_read(
    tmp_path, images
):
    first, second = images
    second.PixelData = second.PixelData[:100]
    write(second, tmp_path / "images" / "2.dcm")
    csv = tmp_path / "truth.csv"
    csv.write_text(
        "sop_instance_uid,shape,points\n"
        f"{first.SOPInstanceUID},,\n{second.SOPInstanceUID},circle,1 1 1\n"
    )
    found = cases_of(tmp_path / "images", annotations=[csv])
    for _ in range(2):
        assert len(list(found)) == 1
    assert len(found.passed_over) == 1
    assert "N202" in found.passed_over[0]


def test_a_folder_without_annotated_images_is_refused_with_the_reasons(tmp_path, images):
    with pytest.raises(ConfigError, match="no annotation names it"):
        cases_of(tmp_path / "images")


@pytest.mark.parametrize(
    ("years", "band"), [(49, "under 50"), (50, "50 to 59"), (59, "50 to 59"), (60, "60 and over")]
)
def test_ages_are_tabled_in_three_bands(years, band):
    assert age_band(years) == band
