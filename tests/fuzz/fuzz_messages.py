"""P-DATA on an association that stands: fragments, command sets and data sets."""

from __future__ import annotations

from cadnode.dimse.contexts import received_contexts
from tests.fuzz.small_objects import as_file, data_set_of, small_mammogram
from tests.fuzz.upper_layer import accepted_contexts, converse
from tests.integration import pdus

LONGEST = 8192

CONTEXTS = accepted_contexts()


def seeds() -> list[bytes]:
    image = small_mammogram("1.2.840.10008.1.2.1")
    stored = data_set_of(as_file(image))
    command = pdus.c_store_rq(str(image.SOPClassUID), str(image.SOPInstanceUID))
    number = (
        2 * [str(cx.abstract_syntax) for cx in received_contexts()].index(image.SOPClassUID) + 1
    )
    echo = pdus.command(
        (0x0002, "1.2.840.10008.1.1"),
        (0x0100, pdus.C_ECHO_RQ),
        (0x0110, 7),
        (0x0800, pdus.NO_DATA_SET),
    )
    cancel = pdus.command((0x0100, 0x0FFF), (0x0120, 7), (0x0800, pdus.NO_DATA_SET))
    find = pdus.command(
        (0x0002, "1.2.840.10008.5.1.4.1.2.2.1"),
        (0x0100, 0x0020),
        (0x0110, 7),
        (0x0700, 0),
        (0x0800, pdus.HAS_DATA_SET),
    )
    whole = pdus.fragment(number, command, command=True, last=True)
    return [
        whole + pdus.fragment(number, stored, command=False, last=True) + pdus.release_rq(),
        pdus.fragment(number, command[:40], command=True, last=False)
        + pdus.fragment(number, command[40:], command=True, last=True)
        + pdus.fragment(number, stored[:100], command=False, last=False)
        + pdus.fragment(number, stored[100:], command=False, last=True),
        pdus.fragment(1, echo, command=True, last=True) + pdus.release_rq(),
        pdus.fragment(1, echo, command=True, last=True) * 3,
        pdus.fragment(1, cancel, command=True, last=True),
        pdus.fragment(1, find, command=True, last=True)
        + pdus.fragment(1, stored[:64], command=False, last=True),
        whole + pdus.abort(),
    ]


def one_input(data: bytes) -> None:
    converse(data, dict(CONTEXTS), crossing=len(data) % 2 == 1)
