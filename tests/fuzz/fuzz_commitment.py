"""Requests and reports of storage commitment (`dimse.commitment_messages`)."""

from __future__ import annotations

import contextlib
from io import BytesIO

from cadnode.core.commitment import CommitmentItem
from cadnode.core.errors import UnreadableObject
from cadnode.core.proof import CommitmentReport
from cadnode.dimse.commitment_messages import (
    encoded,
    read_report,
    read_request,
    report_data_set,
    request_data_set,
)

LONGEST = 1024

SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def seeds() -> list[bytes]:
    """A byte that chooses the transfer syntax, then a data set."""
    items = [CommitmentItem("1.2.840.10008.5.1.4.1.1.1.2", f"1.2.3.{n}") for n in range(3)]
    asked = request_data_set("1.2.9", items)
    told = report_data_set(items, CommitmentReport("1.2.9", ("1.2.3.0",), {"1.2.3.1": 0x0112}))
    return [
        bytes([number]) + encoded(data_set, syntax).getvalue()
        for number, syntax in enumerate(SYNTAXES)
        for data_set in (asked, told)
    ]


def one_input(data: bytes) -> None:
    syntax = SYNTAXES[data[0] % len(SYNTAXES)] if data else SYNTAXES[0]
    for read in (read_request, read_report):
        with contextlib.suppress(UnreadableObject):
            read(BytesIO(data[1:]), syntax)
