"""Every kind of result object, and what its builder makes of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom import Dataset

from cadnode.captures import drawing
from cadnode.core.exam import BuiltResult, ExamReport
from cadnode.core.ports import OutputBuilder
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.gsps import Gsps
from cadnode.dicom.object_header import Equipment, from_bytes
from cadnode.dicom.reader import DicomReader
from cadnode.dicom.secondary_capture import SecondaryCapture
from cadnode.dicom.segmentation import Segmentation
from cadnode.dicom.tid1500 import Tid1500Sr

Make = Callable[[Equipment], OutputBuilder]


def _pictures(equipment: Equipment) -> OutputBuilder:
    return SecondaryCapture(equipment, drawing(DicomReader()))


DOCUMENTS: Sequence[Make] = (MammographyCadSr, Tid1500Sr)
OF_EACH_IMAGE: Sequence[Make] = (Gsps, _pictures)
EVERY_KIND: Sequence[Make] = (*DOCUMENTS, *OF_EACH_IMAGE, Segmentation)


def all_built(builder: OutputBuilder, report: ExamReport) -> list[Dataset]:
    return [from_bytes(result.content) for result in builder.objects(report)]


def built(builder: OutputBuilder, report: ExamReport) -> tuple[BuiltResult, Dataset]:
    result = next(builder.objects(report))
    return result, from_bytes(result.content)
