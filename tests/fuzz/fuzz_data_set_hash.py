"""`storage.spool.data_set_sha256`: where a received file's data set begins."""

from __future__ import annotations

import contextlib
from io import BytesIO

from cadnode.core.errors import UnreadableObject
from cadnode.storage.spool import data_set_sha256
from tests.fuzz.small_objects import files

LONGEST = 4096


def seeds() -> list[bytes]:
    return [file for _, file in files(["1.2.840.10008.1.2.1"])]


def one_input(data: bytes) -> None:
    with contextlib.suppress(UnreadableObject):
        data_set_sha256(BytesIO(data))
