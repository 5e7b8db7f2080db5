"""A look at an association PDU before pynetdicom decodes it (PS3.8 sections 9.3.2 and 9.3.3).

Decoding takes seconds of the whole process for a request with ten thousands of items, and a
context without transfer syntax ends the thread that answers it.
"""

from __future__ import annotations

from collections.abc import Iterator

ASSOCIATE_RQ, ASSOCIATE_AC = 0x01, 0x02

FIXED_PART = 68
MOST_ITEMS = 140
"""At most 128 presentation contexts (odd numbers up to 255), and some more."""
MOST_SUB_ITEMS = 128 * 48
"""Of all items together; DICOM has fewer transfer syntaxes, and one abstract syntax each."""

_PROPOSED_CONTEXT, _ANSWERED_CONTEXT, _USER_INFORMATION = 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40


def is_sound(kind: int, body: memoryview) -> bool:
    """False for an association PDU (without its first six bytes) that is not worth decoding."""
    if kind not in (ASSOCIATE_RQ, ASSOCIATE_AC):
        return True
    left = MOST_SUB_ITEMS
    for number, (item, content) in enumerate(_items(body[FIXED_PART:])):
        if number >= MOST_ITEMS or left < 0:
            return False
        if item in (_PROPOSED_CONTEXT, _ANSWERED_CONTEXT):
            content = content[4:]
        elif item != _USER_INFORMATION:
            continue
        kinds = [sub_item for sub_item, _ in _items(content, most=left + 1)]
        left -= len(kinds)
        named = _ABSTRACT_SYNTAX in kinds and _TRANSFER_SYNTAX in kinds
        if item == _PROPOSED_CONTEXT and not named:
            return False
    return left >= 0


def _items(data: memoryview, most: int = MOST_ITEMS + 1) -> Iterator[tuple[int, memoryview]]:
    """The first items in `data`: (type, content). What is cut short is left to the decoder."""
    at = 0
    for _ in range(most):
        if at + 4 > len(data):
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at], data[at + 4 : at + 4 + length]
        at += 4 + length
