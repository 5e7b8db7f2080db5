"""dicom.reader: what the header of a file says, however its sender says it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from cadnode.core.eligibility import judge
from cadnode.core.errors import ImageFailed
from cadnode.core.mammogram import ImageHeader, Intent, Laterality, PixelSpacing
from cadnode.core.reasons import Reason
from cadnode.dicom.reader import DicomReader
from tests.objects import (
    LOSSLESS_SYNTAXES,
    four_views,
    mammogram,
    secondary_capture,
    tomosynthesis,
    write,
)

VIEWS = frozenset({"CC", "MLO"})


def header_of(dataset: Dataset, folder: Path) -> ImageHeader:
    return DicomReader().header(write(dataset, folder / "image.dcm"))


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
def test_a_header_says_the_same_in_every_transfer_syntax(syntax: str, tmp_path: Path):
    header = header_of(
        mammogram(transfer_syntax_uid=syntax, laterality="L", view="MLO", source_uid="1.2.3"),
        tmp_path,
    )
    assert header.transfer_syntax_uid == syntax
    assert (header.laterality, header.view) == (Laterality.LEFT, "MLO")
    assert (header.rows, header.columns, header.frames) == (96, 80, 1)
    assert (header.bits_allocated, header.bits_stored) == (16, 12)
    assert header.spacing == PixelSpacing(0.07, 0.07)
    assert header.intent is Intent.PRESENTATION
    assert header.source_uids == ("1.2.3",)
    assert header.has_pixel_data
    assert judge(header, analyzed_views=VIEWS) is None


@pytest.mark.parametrize("coding", ["SCT", "SRT", "text"])
def test_the_view_is_known_from_code_or_text(coding: str, tmp_path: Path):
    for dataset in four_views(coding=coding):
        header = header_of(dataset, tmp_path)
        assert header.view == dataset.ViewPosition


def test_the_view_code_counts_more_than_the_view_position(tmp_path: Path):
    dataset = mammogram(view="ML")
    dataset.ViewPosition = "MLO"
    assert header_of(dataset, tmp_path).view == "ML"


def test_an_unknown_view_code_falls_back_to_the_view_position(tmp_path: Path):
    dataset = mammogram(view="MLO")
    dataset.ViewCodeSequence[0].CodeValue = "X-1"
    assert header_of(dataset, tmp_path).view == "MLO"


@pytest.mark.parametrize("coding", ["SCT", "SRT"])
@pytest.mark.parametrize(
    ("modifier", "reason"),
    [
        ("magnification", Reason.MAGNIFICATION),
        ("spot compression", Reason.MAGNIFICATION),
        ("implant displaced", Reason.IMPLANT),
        ("axillary tail", Reason.VIEW_NOT_READ),
        ("rolled lateral", None),
    ],
)
def test_view_modifiers_are_found_inside_the_view_code(
    coding: str, modifier: str, reason: Reason | None, tmp_path: Path
):
    header = header_of(mammogram(coding=coding, modifiers=[modifier]), tmp_path)
    assert header.view_modifiers == (modifier,)
    assert judge(header, analyzed_views=VIEWS) is reason


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (mammogram(implant=True), Reason.IMPLANT),
        (mammogram(coding="text", view="CCID"), Reason.IMPLANT),
        (mammogram(magnification_factor=1.8), Reason.MAGNIFICATION),
        (mammogram(view="ML"), Reason.VIEW_NOT_READ),
        (mammogram(view="SPECIMEN"), Reason.SPECIMEN),
        (mammogram(view=None), Reason.VIEW_MISSING),
        (mammogram(laterality=None), Reason.LATERALITY_MISSING),
        (mammogram(laterality="B"), Reason.LATERALITY_MISSING),
        (mammogram(spacing_mm=None), Reason.PIXEL_SPACING_MISSING),
        (mammogram(bits_stored=8, bits_allocated=8), Reason.BIT_DEPTH),
        (mammogram(implant=None), None),
        (mammogram(for_processing=True), None),
        (tomosynthesis(), Reason.TOMOSYNTHESIS),
        (secondary_capture(), Reason.SECONDARY_CAPTURE),
        (secondary_capture(rgb=True), Reason.SECONDARY_CAPTURE),
    ],
)
def test_a_file_is_judged_by_its_header(dataset: Dataset, reason: Reason | None, tmp_path: Path):
    assert judge(header_of(dataset, tmp_path), analyzed_views=VIEWS) is reason


def test_a_partial_view_is_read(tmp_path: Path):
    dataset = mammogram()
    dataset.PartialView = "YES"
    assert judge(header_of(dataset, tmp_path), analyzed_views=VIEWS) is None


@pytest.mark.parametrize("attribute", ["ImageLaterality", "Laterality"])
def test_the_side_may_stand_in_either_attribute(attribute: str, tmp_path: Path):
    dataset = mammogram(laterality=None)
    setattr(dataset, attribute, "L")
    assert header_of(dataset, tmp_path).laterality is Laterality.LEFT


def test_the_side_of_an_enhanced_object_is_its_frame_laterality(tmp_path: Path):
    assert header_of(tomosynthesis(laterality="L"), tmp_path).laterality is Laterality.LEFT


@pytest.mark.parametrize(
    ("imager", "pixel", "expected"),
    [
        ([0.07, 0.07], None, PixelSpacing(0.07, 0.07)),
        (None, [0.1, 0.1], PixelSpacing(0.1, 0.1)),
        ([0.085, 0.085], [0.08, 0.08], PixelSpacing(0.085, 0.085)),
        ([0.05, 0.1], None, PixelSpacing(0.05, 0.1)),
        ([0, 0], [0.1, 0.1], PixelSpacing(0.1, 0.1)),
        ([1, 1], None, None),
        ([-0.07, 0.07], None, None),
        ([0.001, 0.001], None, None),
        ([0.07], None, None),
    ],
)
def test_spacing_on_the_detector_is_preferred_and_nonsense_is_none(
    imager: list[float] | None,
    pixel: list[float] | None,
    expected: PixelSpacing | None,
    tmp_path: Path,
):
    dataset = mammogram(spacing_mm=None)
    if imager is not None:
        dataset.ImagerPixelSpacing = imager
    if pixel is not None:
        dataset.PixelSpacing = pixel
    assert header_of(dataset, tmp_path).spacing == expected


def test_patients_are_told_apart_by_id_and_issuer_without_naming_them(tmp_path: Path):
    def key(patient_id: str | None, issuer: str | None = None, name: str = "Test^Object") -> Any:
        dataset = mammogram(patient_id=patient_id, patient_name=name)
        if issuer is not None:
            dataset.IssuerOfPatientID = issuer
        return header_of(dataset, tmp_path).patient_key

    assert key("ID-1") == key("ID-1", name="Other^Name")
    assert len({key("ID-1"), key("ID-2"), key("ID-1", "A"), key("ID-1", "B")}) == 4
    assert "ID-1" not in key("ID-1")
    assert key(None) is None
    assert key("") is None


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Test"),
        ("ISO_IR 144", "Ивлжшц"),
        ("ISO_IR 126", "Διονυσιος"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 138", "שרון^דבורה"),
        ("ISO_IR 166", "นามสกุล"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_in_any_character_set_do_not_disturb_the_reader(
    character_set: str, name: str, tmp_path: Path
):
    path = write(mammogram(character_set=character_set, patient_name=name), tmp_path / "image.dcm")
    reader = DicomReader()
    header = reader.header(path)
    assert header.view == "CC"
    assert reader.mammogram(path, header).pixels.shape == (96, 80)


def test_a_character_set_that_does_not_exist_does_not_disturb_the_reader(tmp_path: Path):
    path = write(mammogram(), tmp_path / "image.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    header = DicomReader().header(path)
    assert header.view == "CC"
    assert header.patient_key is not None


def test_missing_patient_data_does_not_disturb_the_reader(tmp_path: Path):
    dataset = mammogram(patient_id=None, patient_name=None, character_set=None)
    for keyword in ("PatientBirthDate", "PatientSex", "PatientAge"):
        del dataset[keyword]
    header = header_of(dataset, tmp_path)
    assert header.patient_key is None
    assert judge(header, analyzed_views=VIEWS) is None


@pytest.mark.parametrize(
    ("attribute", "keyword", "value"),
    [
        ("spacing", "ImagerPixelSpacing", b"a,07\\0,07"),
        ("spacing", "ImagerPixelSpacing", b"\x00\xff\xfe\x00\x00\x00\x00\x00"),
        ("magnification_factor", "EstimatedRadiographicMagnificationFactor", b"none"),
        ("magnification_factor", "EstimatedRadiographicMagnificationFactor", b"1e99999"),
        ("laterality", "ImageLaterality", b"?"),
        ("view", "ViewPosition", b"@@"),
    ],
)
def test_values_that_cannot_be_parsed_are_absent(
    attribute: str, keyword: str, value: bytes, tmp_path: Path
):
    dataset = mammogram(coding="text")
    stand_in = b"1" * len(value) if value[:1] != b"a" else b"0.07\\0.07"
    element = dataset[keyword]
    path = tmp_path / "image.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element.value = stand_in.decode()
        write(dataset, path)
    content = path.read_bytes()
    tag = element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little")
    start = content.index(tag + element.VR.encode()) + 8
    assert content[start : start + len(value)] == stand_in
    path.write_bytes(content[:start] + value + content[start + len(value) :])
    header = DicomReader().header(path)
    assert getattr(header, attribute) is None
    assert header.sop_instance_uid == dataset.SOPInstanceUID


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID"])
def test_an_object_without_its_identifiers_is_unreadable(keyword: str, tmp_path: Path):
    dataset = mammogram()
    del dataset[keyword]
    path = tmp_path / "image.dcm"
    dataset.save_as(path)
    with pytest.raises(ImageFailed) as caught:
        DicomReader().header(path)
    assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_no_dicom_is_unreadable(content: bytes, tmp_path: Path):
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    with pytest.raises(ImageFailed) as caught:
        DicomReader().header(path)
    assert caught.value.reason is Reason.UNREADABLE


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path):
    with pytest.raises(ImageFailed) as caught:
        DicomReader().header(tmp_path / "gone.dcm")
    assert caught.value.reason is Reason.UNREADABLE
