"""P-DATA-TF PDUs taken apart as they come, however they were cut."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.dimse.p_data import DataSetParser
from tests.integration import pdus

CONTEXT = 3
LONGEST = 1 << 16


def fragment(data: bytes, *, last: bool = False, context: int = CONTEXT, control: int = 0) -> bytes:
    """One fragment of a data set, without its PDU."""
    return struct.pack(">IBB", len(data) + 2, context, control | 2 * int(last)) + data


def pdu(*parts: bytes) -> bytes:
    return pdus.pdu(pdus.P_DATA, b"".join(parts))


def read(parser: DataSetParser, said: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The data set that `parser` finds in `said`, which comes cut at these places; and the rest."""
    found, waiting = b"", b""
    bounds = sorted({0, len(said), *(cut % (len(said) + 1) for cut in cuts)})
    for start, end in pairwise(bounds):
        waiting += said[start:end]
        if parser.whole or parser.elsewhere:
            continue
        pieces, used = parser.feed(memoryview(waiting))
        found += b"".join(pieces)
        waiting = waiting[used:]
    return found, waiting


shapes = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1, max_size=6)
"""The fragments of each PDU."""


@given(shape=shapes, after=st.binary(max_size=30), cuts=st.lists(st.integers(0, 2000), max_size=20))
def test_however_it_is_cut_the_data_set_comes_out_and_what_follows_stays(
    shape: list[list[bytes]], after: bytes, cuts: list[int]
) -> None:
    shape[-1].append(b"the end")
    said = b""
    for number, parts in enumerate(shape):
        ends = number == len(shape) - 1
        fragments = [
            fragment(part, last=ends and place == len(parts) - 1)
            for place, part in enumerate(parts)
        ]
        said += pdu(*fragments)
    parser = DataSetParser(CONTEXT, LONGEST)
    found, rest = read(parser, said + after, cuts)
    assert parser.whole
    assert found == b"".join(part for parts in shape for part in parts)
    assert rest == after


@given(cut=st.integers(0, 62))
def test_what_is_left_of_a_pdu_can_be_read_by_somebody_else(cut: int) -> None:
    parts = [b"a" * 20, b"b" * 20]
    said = pdu(*(fragment(part) for part in parts))
    first, second = DataSetParser(CONTEXT, LONGEST), DataSetParser(CONTEXT, LONGEST)
    pieces, used = first.feed(memoryview(said[:cut]))
    found = b"".join(pieces)
    again, rest = read(second, first.unread_header() + said[used:], [])
    assert found + again == b"".join(parts)
    assert rest == b""


def test_a_message_in_the_same_pdu_as_the_end_of_the_data_set_is_given_back() -> None:
    command = fragment(b"command", control=1)
    parser = DataSetParser(CONTEXT, LONGEST)
    found, rest = read(parser, pdu(fragment(b"end", last=True), command), [])
    assert found == b"end"
    assert parser.unread_header() + rest == pdu(command)


@pytest.mark.parametrize(
    "other", [pdus.release_rq(), pdus.abort(), pdu(), pdus.pdu(4, bytes(LONGEST + 1)), b"GET / HT"]
)
def test_what_is_not_for_it_stays_where_it_is(other: bytes) -> None:
    parser = DataSetParser(CONTEXT, LONGEST)
    found, rest = read(parser, pdu(fragment(b"begin")) + other, [])
    assert parser.elsewhere
    assert (found, rest) == (b"begin", other)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (pdu(struct.pack(">IBB", 100, CONTEXT, 0) + b"short"), "longer than its PDU"),
        (pdu(struct.pack(">IBB", 1, CONTEXT, 0)), "longer than its PDU"),
        (pdu(fragment(b"x"), b"abc") + bytes(10), "longer than its PDU"),
        (pdu(fragment(b"x", control=1)), "a command fragment"),
        (pdu(fragment(b"x", context=5)), "another presentation context"),
    ],
)
def test_a_fragment_that_breaks_the_rules_is_refused(broken: bytes, said: str) -> None:
    parser = DataSetParser(CONTEXT, LONGEST)
    with pytest.raises(ValueError, match=said):
        parser.feed(memoryview(broken))
