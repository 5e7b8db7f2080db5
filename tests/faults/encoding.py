"""Data sets as they go over the wire."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def encoded(dataset: Dataset, *, implicit: bool = True) -> bytes:
    """The data set in implicit or explicit VR little endian, without File Meta Information."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    content: bytes = buffer.getvalue()
    return content
