"""The result objects of an image whose header is anybody's: what they copy from it they must bear."""

from __future__ import annotations

import contextlib

import numpy as np

from cadnode.core.errors import ImageFailed, ResultInvalid
from cadnode.core.exam import AnalyzedImage, ExamReport
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.reader import DicomReader, ReadLimits
from cadnode.dicom.secondary_capture import SecondaryCapture
from cadnode.dicom.segmentation import Segmentation
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.fuzz.scratch import Scratch
from tests.fuzz.small_objects import as_file, small_mammogram
from tests.unit.sr_reports import ALGORITHM, CREATED, EQUIPMENT, finding

LONGEST = 4096

_scratch = Scratch()
_reader = DicomReader(ReadLimits(max_inflated_bytes=1 << 20))
_builders = (
    MammographyCadSr(EQUIPMENT),
    Tid1500Sr(EQUIPMENT),
    Gsps(EQUIPMENT),
    Segmentation(EQUIPMENT),
    SecondaryCapture(EQUIPMENT, lambda *_: np.zeros((2, 2, 3), np.uint8)),
)


def seeds() -> list[bytes]:
    return [as_file(small_mammogram(f"1.2.840.10008.1.2{end}")) for end in ("", ".1")]


def one_input(data: bytes) -> None:
    path = _scratch.holding(data)
    try:
        header = _reader.header(path)
    except ImageFailed:
        return
    image = AnalyzedImage(
        path=path,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        laterality=header.laterality,
        view=header.view,
        findings=(finding(10.0, 12.0, calcifications=1),),
    )
    report = ExamReport(
        study_instance_uid=header.study_instance_uid,
        revision=1,
        created_at=CREATED,
        algorithm=ALGORITHM,
        images=(image,),
    )
    for builder in _builders:
        with contextlib.suppress(ResultInvalid):
            for _ in builder.objects(report):
                pass
