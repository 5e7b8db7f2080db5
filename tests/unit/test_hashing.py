"""The hash of what comes in, computed beside the thread that reads."""

from __future__ import annotations

import hashlib
import threading

import pytest

from cadnode.dimse.hashing import WORTH_A_THREAD, BesideHash


@pytest.mark.parametrize("size", [0, 1, WORTH_A_THREAD - 1, WORTH_A_THREAD, 3 * WORTH_A_THREAD])
def test_it_is_the_hash_of_all_pieces_in_their_order(size: int) -> None:
    content = bytes(range(256)) * (3 * size // 256 + 1)
    beside = BesideHash()
    for start in range(0, len(content), max(size, 1)):
        piece = memoryview(content)[start : start + size]
        beside.update([piece[:100], piece[100:]])
    if size:
        assert beside.hexdigest() == hashlib.sha256(content).hexdigest()
    else:
        assert beside.hexdigest() == hashlib.sha256().hexdigest()


def test_a_buffer_may_be_written_over_after_the_next_call() -> None:
    buffers = [bytearray(WORTH_A_THREAD), bytearray(WORTH_A_THREAD)]
    beside, plain = BesideHash(), hashlib.sha256()
    for number in range(50):
        buffer = buffers[number % 2]
        buffer[:] = bytes([number]) * len(buffer)
        beside.update([memoryview(buffer)])
        plain.update(buffer)
    assert beside.hexdigest() == plain.hexdigest()


def test_many_at_once_do_not_mix() -> None:
    found: dict[int, str] = {}

    def hash_own(number: int) -> None:
        beside = BesideHash()
        for _ in range(10):
            beside.update([memoryview(bytes([number]) * WORTH_A_THREAD)])
        found[number] = beside.hexdigest()

    threads = [threading.Thread(target=hash_own, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {
        number: hashlib.sha256(bytes([number]) * 10 * WORTH_A_THREAD).hexdigest()
        for number in range(8)
    }
