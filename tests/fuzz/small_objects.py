"""Small valid objects to start mutating from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

from pydicom.dataset import Dataset

from tests.objects import GammaLut, mammogram, tomosynthesis


def small_mammogram(transfer_syntax_uid: str, **options: object) -> Dataset:
    """A mammogram of 32 x 32 pixels."""
    return mammogram(
        rows=32,
        columns=32,
        transfer_syntax_uid=transfer_syntax_uid,
        **options,  # type: ignore[arg-type]
    )


def as_file(dataset: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10)."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def data_set_of(file: bytes) -> bytes:
    """What stands behind the File Meta Information."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def files(syntaxes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Transfer syntax and file of some mammograms in each syntax."""
    for syntax in syntaxes:
        yield syntax, as_file(small_mammogram(syntax))
        yield syntax, as_file(small_mammogram(syntax, voi=GammaLut(entries=20), padding_value=0))
    volume = tomosynthesis(frames=2, rows=4, columns=4)
    yield str(volume.file_meta.TransferSyntaxUID), as_file(volume)


def encodings(syntaxes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The same without File Meta Information."""
    for syntax, file in files(syntaxes):
        yield syntax, data_set_of(file)
