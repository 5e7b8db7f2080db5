"""Encoding test objects in every lossless transfer syntax that mammography uses."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

NATIVE_SYNTAXES = (
    "1.2.840.10008.1.2",  # implicit little endian
    "1.2.840.10008.1.2.1",  # explicit little endian
    "1.2.840.10008.1.2.1.99",  # deflated
)
ENCAPSULATED_SYNTAXES = (
    str(RLELossless),
    str(JPEGLossless),
    str(JPEGLosslessSV1),
    str(JPEGLSLossless),
    str(JPEG2000Lossless),
    str(HTJ2KLossless),
    str(HTJ2KLosslessRPCL),
)
LOSSLESS_SYNTAXES = NATIVE_SYNTAXES + ENCAPSULATED_SYNTAXES


def encode(dataset: Dataset, transfer_syntax_uid: str) -> None:
    """Change `dataset`, whose pixel data is native, to `transfer_syntax_uid` in place."""
    if transfer_syntax_uid in NATIVE_SYNTAXES:
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        return
    if transfer_syntax_uid in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        plugin = {str(RLELossless): "pydicom", str(JPEGLSLossless): "pyjpegls"}
        dataset.compress(
            transfer_syntax_uid,
            encoding_plugin=plugin.get(transfer_syntax_uid, "pylibjpeg"),
            generate_instance_uid=False,
        )
        return
    frame = _frame(dataset)
    if transfer_syntax_uid in (JPEGLossless, JPEGLosslessSV1):
        stream = imagecodecs.ljpeg_encode(frame, bitspersample=int(dataset.BitsStored))
    elif transfer_syntax_uid in (HTJ2KLossless, HTJ2KLosslessRPCL):
        stream = imagecodecs.htj2k_encode(frame, reversible=True, tlm=True)
    else:
        raise ValueError(f"no encoder for {transfer_syntax_uid}")
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)


def _frame(dataset: Dataset) -> NDArray[np.uint16]:
    values = np.frombuffer(dataset.PixelData, dtype="<u2")
    return values[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns)
