"""A queue that wakes whoever waits on file descriptors."""

from __future__ import annotations

import os
import select

import pytest

from cadnode.dimse.waking import WakingQueue


def rings(waking: WakingQueue) -> bool:
    return bool(select.select([waking], [], [], 0)[0])


def test_what_is_put_wakes_until_it_is_noticed() -> None:
    waking = WakingQueue()
    assert not rings(waking)
    waking.put("one")
    waking.put("two")
    assert rings(waking)
    waking.hush()
    assert not rings(waking)
    assert [waking.get(), waking.get()] == ["one", "two"]
    waking.hush()


def test_a_closed_one_is_a_plain_queue_and_leaves_no_descriptor() -> None:
    waking = WakingQueue()
    descriptor = waking.fileno()
    waking.close()
    waking.close()
    waking.put("one")
    assert waking.get() == "one"
    assert waking.fileno() < 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
