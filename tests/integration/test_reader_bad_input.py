"""dicom.reader: damaged, hostile and foreign files get one clear reason, and nothing else happens."""

from __future__ import annotations

import errno
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from cadnode.core.errors import ImageFailed, ImageUnreachable
from cadnode.core.mammogram import Intent, Laterality, PixelSpacing
from cadnode.core.reasons import Reason
from cadnode.dicom import pixels
from cadnode.dicom.codestreams import size_of
from cadnode.dicom.reader import DicomReader, ReadLimits
from tests.codecs import ENCAPSULATED_SYNTAXES, LOSSLESS_SYNTAXES, NATIVE_SYNTAXES
from tests.objects import GammaLut, mammogram, secondary_capture, write

DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_SYNTAXES = tuple(uid for uid in ENCAPSULATED_SYNTAXES if uid != "1.2.840.10008.1.2.5")


def reason_for(path: Path, limits: ReadLimits | None = None) -> Reason | None:
    """Why header or pixels of the file cannot be read, None when they can."""
    reader = DicomReader(limits)
    try:
        reader.mammogram(path, reader.header(path))
    except ImageFailed as failure:
        return failure.reason
    return None


def spoilt(dataset: Dataset, folder: Path, spoil: Callable[[bytes], bytes]) -> Path:
    path = write(dataset, folder / "image.dcm")
    path.write_bytes(spoil(path.read_bytes()))
    return path


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
@pytest.mark.parametrize("missing", [0.02, 0.3, 0.6])
def test_a_file_that_ends_too_early_is_truncated_never_filled_up(
    syntax: str, missing: float, tmp_path: Path
):
    dataset = mammogram(transfer_syntax_uid=syntax)
    pixel_bytes = len(dataset.PixelData)
    path = write(dataset, tmp_path / "image.dcm")
    content = path.read_bytes()
    if syntax == DEFLATED:
        pixel_bytes = len(content) // 2
    path.write_bytes(content[: len(content) - 12 - int(pixel_bytes * missing)])
    assert reason_for(path) is Reason.PIXEL_DATA_TRUNCATED


@pytest.mark.parametrize("syntax", NATIVE_SYNTAXES)
def test_a_header_that_promises_more_than_there_is_is_truncated(syntax: str, tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid=syntax)
    dataset.Rows += 1
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is Reason.PIXEL_DATA_TRUNCATED


@pytest.mark.parametrize("syntax", JPEG_SYNTAXES)
def test_a_codestream_without_its_end_is_truncated_even_in_whole_items(syntax: str, tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid=syntax)
    codestream = _codestream(dataset)
    dataset.PixelData = encapsulate([codestream[: len(codestream) * 2 // 3]])
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is Reason.PIXEL_DATA_TRUNCATED


@pytest.mark.parametrize("syntax", ENCAPSULATED_SYNTAXES)
def test_a_compressed_image_of_another_size_than_its_header_is_not_decoded(
    syntax: str, tmp_path: Path
):
    for rows, columns in ((95, 80), (96, 81), (80, 96)):
        dataset = mammogram(transfer_syntax_uid=syntax)
        dataset.Rows, dataset.Columns = rows, columns
        path = write(dataset, tmp_path / "image.dcm")
        reason = reason_for(path)
        if syntax == "1.2.840.10008.1.2.5" and rows * columns == 96 * 80:
            assert reason is None  # RLE says nothing about its shape
        else:
            assert reason is Reason.DECODING_FAILED


def test_a_disk_that_refuses_is_no_fault_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(mammogram(), tmp_path / "image.dcm")

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageUnreachable, match="Input/output error"):
        DicomReader().header(path)


@pytest.mark.parametrize(
    ("syntax", "step"),
    [("1.2.840.10008.1.2.1", "_native"), ("1.2.840.10008.1.2.4.70", "_frame")],
)
def test_a_disk_that_fails_amid_the_pixels_is_no_fault_of_the_image(
    syntax: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(mammogram(transfer_syntax_uid=syntax), tmp_path / "image.dcm")
    reader = DicomReader()
    header = reader.header(path)

    def refuse(*_args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pixels, step, refuse)
    with pytest.raises(ImageUnreachable, match="Input/output error"):
        reader.mammogram(path, header)


def test_frames_in_several_fragments_are_joined(tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.70")
    plain = write(dataset, tmp_path / "one.dcm")
    dataset.PixelData = encapsulate([_codestream(dataset)], fragments_per_frame=5)
    several = write(dataset, tmp_path / "several.dcm")
    reader = DicomReader()
    pixels = [reader.mammogram(path, reader.header(path)).pixels for path in (plain, several)]
    assert np.array_equal(pixels[0], pixels[1])


@pytest.mark.parametrize(
    ("rows", "columns"), [(0, 80), (96, 0), (16_385, 1), (1, 65_535), (16_000, 16_000)]
)
def test_zero_and_huge_sizes_are_refused_before_anything_is_read(
    rows: int, columns: int, tmp_path: Path
):
    dataset = mammogram()
    dataset.Rows, dataset.Columns = rows, columns
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is Reason.SIZE_OUT_OF_RANGE


def test_the_limits_are_settings(tmp_path: Path):
    path = write(mammogram(), tmp_path / "image.dcm")
    assert reason_for(path, ReadLimits(max_side=96)) is None
    assert reason_for(path, ReadLimits(max_side=95)) is Reason.SIZE_OUT_OF_RANGE
    assert reason_for(path, ReadLimits(max_pixels=96 * 80)) is None
    assert reason_for(path, ReadLimits(max_pixels=96 * 80 - 1)) is Reason.SIZE_OUT_OF_RANGE


def test_a_deflated_bomb_is_not_inflated_beyond_the_limit(tmp_path: Path):
    path = write(mammogram(transfer_syntax_uid=DEFLATED), tmp_path / "image.dcm")
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(64 << 20)) + deflater.flush()
    assert len(bomb) < 100_000
    path.write_bytes(content[:start] + bomb)
    limits = ReadLimits(max_inflated_bytes=1 << 20)
    tracemalloc.start()
    try:
        assert reason_for(path, limits) is Reason.SIZE_OUT_OF_RANGE
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_codestream_that_asks_for_gigabytes_is_not_decoded(tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.90")
    codestream = bytearray(_codestream(dataset))
    codestream[8:16] = (60_000).to_bytes(4, "big") * 2
    dataset.PixelData = encapsulate([bytes(codestream)])
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is Reason.DECODING_FAILED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BitsAllocated": 8}, Reason.DECODING_FAILED),
        ({"BitsAllocated": 32}, Reason.DECODING_FAILED),
        ({"BitsStored": 17}, Reason.DECODING_FAILED),
        ({"BitsStored": 0}, Reason.DECODING_FAILED),
        ({"HighBit": 3}, Reason.DECODING_FAILED),
        ({"SamplesPerPixel": 3}, Reason.NOT_MONOCHROME),
        ({"NumberOfFrames": 2}, Reason.MULTI_FRAME),
        ({"NumberOfFrames": 0}, Reason.MULTI_FRAME),
    ],
)
def test_a_layout_that_is_no_grey_image_of_16_bits_is_refused(
    change: dict[str, int], reason: Reason, tmp_path: Path
):
    dataset = mammogram()
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is reason


def test_an_image_without_pixel_data_says_so(tmp_path: Path):
    dataset = mammogram()
    del dataset.PixelData
    path = write(dataset, tmp_path / "image.dcm")
    assert not DicomReader().header(path).has_pixel_data
    assert reason_for(path) is Reason.NO_PIXEL_DATA


def test_empty_pixel_data_is_no_pixel_data(tmp_path: Path):
    dataset = mammogram()
    dataset.PixelData = b""
    path = write(dataset, tmp_path / "image.dcm")
    assert not DicomReader().header(path).has_pixel_data
    assert reason_for(path) is Reason.NO_PIXEL_DATA


def test_an_empty_sequence_of_fragments_is_no_pixel_data(tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.70")
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is Reason.NO_PIXEL_DATA


def test_a_wrong_transfer_syntax_is_a_decoding_failure(tmp_path: Path):
    explicit, jpeg = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.70"
    dataset = mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.70")
    path = spoilt(dataset, tmp_path, lambda content: content.replace(jpeg, explicit + b"\0\0"))
    assert reason_for(path) is Reason.DECODING_FAILED
    other = b"1.2.840.10008.1.2.4.90"
    path = spoilt(
        mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.90"),
        tmp_path,
        lambda content: content.replace(other, jpeg),
    )
    assert reason_for(path) is Reason.DECODING_FAILED


@pytest.mark.parametrize("syntax", [b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.91"])
def test_lossy_syntaxes_are_not_decoded(syntax: bytes, tmp_path: Path):
    path = spoilt(
        mammogram(transfer_syntax_uid="1.2.840.10008.1.2.4.90"),
        tmp_path,
        lambda content: content.replace(b"1.2.840.10008.1.2.4.90", syntax),
    )
    assert reason_for(path) is Reason.SYNTAX_UNSUPPORTED


def test_pixels_are_refused_without_what_marks_need(tmp_path: Path):
    path = write(mammogram(), tmp_path / "image.dcm")
    reader = DicomReader()
    header = reader.header(path)
    for incomplete, reason in (
        (replace(header, laterality=None), Reason.LATERALITY_MISSING),
        (replace(header, view=None), Reason.VIEW_MISSING),
        (replace(header, spacing=None), Reason.PIXEL_SPACING_MISSING),
        (replace(header, intent=None), Reason.NOT_A_MAMMOGRAM),
    ):
        with pytest.raises(ImageFailed) as caught:
            reader.mammogram(path, incomplete)
        assert caught.value.reason is reason


def test_a_colour_image_is_refused_even_when_nobody_judged_it(tmp_path: Path):
    path = write(secondary_capture(rgb=True), tmp_path / "image.dcm")
    reader = DicomReader()
    header = replace(
        reader.header(path),
        laterality=Laterality.LEFT,
        view="CC",
        intent=Intent.PRESENTATION,
        spacing=PixelSpacing(0.1, 0.1),
    )
    with pytest.raises(ImageFailed) as caught:
        reader.mammogram(path, header)
    assert caught.value.reason is Reason.NOT_MONOCHROME


def test_sequences_nested_without_end_are_unreadable(tmp_path: Path):
    item = b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path = spoilt(
        mammogram(),
        tmp_path,
        lambda content: content[: 144 + int.from_bytes(content[140:144], "little")] + item * 5_000,
    )
    assert reason_for(path) is Reason.UNREADABLE


def test_a_damaged_lut_is_passed_over_for_the_window(tmp_path: Path):
    dataset = mammogram(voi=GammaLut())
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    expected = mammogram()
    dataset.PixelData = expected.PixelData
    dataset.VOILUTSequence[0].LUTData = bytes(100)
    reader = DicomReader()
    pixels = [
        reader.mammogram(path, reader.header(path)).pixels
        for path in (write(dataset, tmp_path / "a.dcm"), write(expected, tmp_path / "b.dcm"))
    ]
    assert np.array_equal(pixels[0], pixels[1])


@pytest.mark.parametrize(("slope", "reason"), [("1e300", None), ("1e308", Reason.DECODING_FAILED)])
def test_values_beyond_any_number_are_a_decoding_failure_not_nan(
    slope: str, reason: Reason | None, tmp_path: Path
):
    dataset = mammogram(voi=())
    dataset.RescaleSlope = slope
    assert reason_for(write(dataset, tmp_path / "image.dcm")) is reason


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
def test_whatever_is_damaged_nothing_but_image_failed_is_raised(syntax: str, tmp_path: Path):
    dataset = mammogram(
        transfer_syntax_uid=syntax, rows=40, columns=32, voi=GammaLut(entries=50), padding_value=0
    )
    content = write(dataset, tmp_path / "image.dcm").read_bytes()
    damaged = tmp_path / "damaged.dcm"
    reader = DicomReader()
    outcomes = set()
    for case in range(30):
        generator = np.random.default_rng(case)
        spoiled = bytearray(content)
        if case % 3 == 0:
            del spoiled[int(generator.integers(len(spoiled))) :]
        else:
            first = 0 if case % 3 == 1 else int(len(spoiled) * 0.7)
            for _ in range(int(generator.integers(1, 6))):
                spoiled[int(generator.integers(first, len(spoiled)))] = generator.integers(256)
        damaged.write_bytes(spoiled)
        try:
            found = reader.mammogram(damaged, reader.header(damaged))
        except ImageFailed as failure:
            outcomes.add(failure.reason)
        else:
            assert np.isfinite(found.pixels).all()
            assert found.pixels.min() >= 0
            assert found.pixels.max() <= 1
    assert len(outcomes) > 1


@pytest.mark.parametrize(
    "codestream",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda",
        b"\xff\xd8\x00\x00",
        b"\xff\xd8\xff\xff\xff\xd0\xff\xd9",
        b"\xff\x4f\xff\x51",
    ],
)
def test_a_codestream_without_a_frame_header_has_no_size(codestream: bytes):
    with pytest.raises(ValueError, match=r"codestream|frame header|no marker"):
        size_of(codestream)


def _codestream(dataset: Dataset) -> bytes:
    """The only fragment behind the empty offset table."""
    content: bytes = dataset.PixelData
    start = 8 + int.from_bytes(content[4:8], "little")
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    return content[start + 8 : start + 8 + length]
