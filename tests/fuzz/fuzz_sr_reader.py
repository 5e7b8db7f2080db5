"""`dicom.sr_reader`: a report of any maker."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from cadnode.core.errors import ResultInvalid
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.files import PARSE_ERRORS
from cadnode.dicom.sr_reader import read_report
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.fuzz.small_objects import data_set_of, small_mammogram
from tests.unit.sr_reports import EQUIPMENT, finding, report_of

LONGEST = 24_576
_META = (
    bytes(128)
    + b"DICM\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00"
    + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
)


def seeds() -> list[bytes]:
    """Data sets in explicit little endian: ours, with and without what a reader need not have."""
    with tempfile.TemporaryDirectory() as folder:
        report = report_of(
            Path(folder),
            datasets=[small_mammogram("1.2.840.10008.1.2.1")],
            findings=[[finding(10.0, 12.0, calcifications=1)]],
        )
        without = replace(
            report, images=tuple(replace(image, findings=()) for image in report.images)
        )
        built = [
            builder(EQUIPMENT).build(one)
            for builder in (MammographyCadSr, Tid1500Sr)
            for one in (report, without)
        ]
        return [data_set_of(result.content) for result in built if result]


def one_input(data: bytes) -> None:
    try:
        dataset = dcmread(BytesIO(_META + data))
    except PARSE_ERRORS:
        return
    with contextlib.suppress(ResultInvalid):
        read_report(dataset)
