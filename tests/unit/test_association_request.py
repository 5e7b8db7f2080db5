"""Which association PDUs are worth decoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.dimse.association_request import ASSOCIATE_AC, ASSOCIATE_RQ, is_sound
from tests.integration import pdus

SYNTAX = b"1.2.840.10008.1.2"


def context(number: int, *transfer_syntaxes: bytes, kind: int = 0x20) -> bytes:
    content = bytes([number, 0, 0, 0]) + pdus.item(0x30, b"1.2.840.10008.1.1")
    return pdus.item(kind, content + b"".join(pdus.item(0x40, uid) for uid in transfer_syntaxes))


def sound(items: bytes, kind: int = ASSOCIATE_RQ) -> bool:
    return is_sound(kind, memoryview(bytes(68) + pdus.item(0x10, b"1.2.3") + items))


USER = pdus.item(0x50, pdus.item(0x51, bytes(4)))


@pytest.mark.parametrize(
    "items",
    [
        b"",
        context(1, SYNTAX) + USER,
        b"".join(context(2 * n + 1, *[SYNTAX] * 40) for n in range(128)) + USER,
        pdus.item(0x50, b"".join(pdus.item(0x54, bytes(20)) for _ in range(500))),
        context(1, SYNTAX)[:-3],
        b"\xff\xff",
    ],
    ids=["none", "one", "as many as there may be", "roles", "cut short", "noise"],
)
def test_a_request_as_peers_make_them_is_left_to_the_decoder(items: bytes) -> None:
    assert sound(items)


@pytest.mark.parametrize(
    "items",
    [
        context(1),
        pdus.item(0x20, bytes(4)),
        pdus.item(0x20, bytes([1, 0, 0, 0]) + pdus.item(0x40, SYNTAX)),
        context(1, SYNTAX) * 200,
        context(1, *[SYNTAX] * 3000) * 3,
        pdus.item(0x77, b"") * 1000,
        pdus.item(0x50, pdus.item(0x51, b"") * 10_000),
    ],
    ids=[
        "no transfer syntax",
        "an empty context",
        "no abstract syntax",
        "200 contexts",
        "9000 transfer syntaxes",
        "1000 unknown items",
        "10000 user items",
    ],
)
def test_a_request_that_costs_more_than_it_can_mean_is_not(items: bytes) -> None:
    assert not sound(items)


def test_an_answer_may_leave_the_transfer_syntax_of_a_refused_context_out() -> None:
    assert sound(context(1, kind=0x21), ASSOCIATE_AC)
    assert not sound(context(1, kind=0x21) * 200, ASSOCIATE_AC)


def test_other_pdus_are_not_looked_at() -> None:
    assert is_sound(pdus.P_DATA, memoryview(context(1) * 1000))


@given(st.integers(1, 2), st.binary(max_size=300))
def test_whatever_comes_is_looked_at_without_an_error(kind: int, body: bytes) -> None:
    assert is_sound(kind, memoryview(body)) in (True, False)
