"""dicom.decoding: whatever a decoder does, it is one image's failure and the next one decodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate

from cadnode.core.errors import ImageFailed, ImageUnreachable
from cadnode.core.reasons import Reason
from cadnode.dicom.decoder import Order
from cadnode.dicom.decoding import DecoderProcess
from cadnode.dicom.files import ReadLimits
from cadnode.dicom.reader import DicomReader
from tests.objects import mammogram, write

LIMITS = ReadLimits(decode_seconds=20.0, decode_bytes=1 << 30)
PROGRAM = "tests.misbehaving_decoder"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


def order_for(codestream: bytes) -> Order:
    return Order(JPEG_LOSSLESS, len(codestream), 4, 6, 12, False)


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    decoder = DecoderProcess(LIMITS, PROGRAM)
    yield decoder
    decoder.close()


def decode(decoder: DecoderProcess, wish: str) -> np.ndarray:
    return decoder.decode(wish.encode(), order_for(wish.encode()))


def works(decoder: DecoderProcess) -> bool:
    return bool((decode(decoder, "nothing") == np.ones((4, 6))).all())


@pytest.mark.parametrize(
    ("wish", "detail"),
    [
        ("crash", "SIGSEGV"),
        ("exit", "status 3"),
        (f"eat {2 << 30}", "more than 1024 MB"),
        ("shrink", "fewer pixels"),
    ],
)
def test_a_decoder_that_breaks_fails_its_image_and_the_next_one_decodes(
    wish: str, detail: str, decoder: DecoderProcess
):
    with pytest.raises(ImageFailed, match=detail) as caught:
        decode(decoder, wish)
    assert caught.value.reason is Reason.DECODER_BROKE
    assert works(decoder)


def test_a_decoder_that_never_ends_is_stopped_and_the_next_image_decodes():
    decoder = DecoderProcess(ReadLimits(decode_seconds=1.0), PROGRAM)
    assert works(decoder)
    pid = pid_of(decoder)
    with pytest.raises(ImageFailed) as caught:
        decode(decoder, "loop")
    assert caught.value.reason is Reason.DECODING_TOO_LONG
    assert not alive(pid)
    assert works(decoder)
    decoder.close()


def test_who_is_killed_from_outside_gets_a_second_try(decoder: DecoderProcess, tmp_path: Path):
    assert (decode(decoder, f"die {tmp_path / 'once'}") == 1).all()


def test_a_process_that_was_killed_while_idle_is_started_again(decoder: DecoderProcess):
    assert works(decoder)
    os.kill(pid_of(decoder), signal.SIGKILL)
    assert works(decoder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_whole_group_do_not_fail_the_image_at_hand(
    number: signal.Signals, decoder: DecoderProcess
):
    assert works(decoder)
    pid = pid_of(decoder)
    os.kill(pid, number)
    assert works(decoder)
    assert pid_of(decoder) == pid


def test_a_decoder_that_cannot_start_is_the_machines_fault():
    decoder = DecoderProcess(LIMITS, "tests.no_such_decoder")
    with pytest.raises(ImageUnreachable, match="does not start"):
        decode(decoder, "nothing")


def test_the_process_is_gone_when_its_owner_is(decoder: DecoderProcess):
    assert works(decoder)
    pid = pid_of(decoder)
    decoder.close()
    assert not alive(pid)


@pytest.mark.parametrize("wish", ["nothing", "loop"])
def test_no_process_outlives_an_owner_that_was_killed(wish: str):
    owner = (
        "from tests.integration.test_decoder_process import *\n"
        "decoder = DecoderProcess(ReadLimits(decode_seconds=2.0), PROGRAM)\n"
        "works(decoder)\n"
        "print(pid_of(decoder), flush=True)\n"
        f"decode(decoder, {wish!r})\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", owner], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    ends = time.monotonic() + 15
    while alive(pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not alive(pid)


def test_jpeg_lossless_that_gdcm_fills_up_is_a_failure(tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid=JPEG_LOSSLESS)
    content: bytes = dataset.PixelData
    start = 8 + int.from_bytes(content[4:8], "little")
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    codestream = content[start + 8 : start + 8 + length]
    middle = len(codestream) // 2
    dataset.PixelData = encapsulate([codestream[:middle] + codestream[middle + 300 :]])
    path = write(dataset, tmp_path / "image.dcm")
    reader = DicomReader()
    with pytest.raises(ImageFailed, match="Corrupt JPEG data") as caught:
        reader.mammogram(path, reader.header(path))
    assert caught.value.reason is Reason.DECODING_FAILED


def test_more_codestream_than_pixels_is_refused_without_reading_it_all(tmp_path: Path):
    dataset = mammogram(transfer_syntax_uid=JPEG_LOSSLESS)
    dataset.PixelData = encapsulate([dataset.PixelData + bytes(1 << 20)])
    path = write(dataset, tmp_path / "image.dcm")
    reader = DicomReader()
    with pytest.raises(ImageFailed, match="larger than the image") as caught:
        reader.mammogram(path, reader.header(path))
    assert caught.value.reason is Reason.DECODING_FAILED


def pid_of(decoder: DecoderProcess) -> int:
    assert decoder._child is not None
    return decoder._child.process.pid


def alive(pid: int) -> bool:
    """Running, and not only waiting to be collected by whatever is init here."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
