"""An object store that takes connections and never answers: every call ends within its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cadnode.core.errors import ImageUnreachable
from cadnode.storage.objects import PUTS_AT_ONCE, ObjectAccess, Objects
from tests.silent import silent

SECONDS = 1.0
SLACK = 2.5
"""fsspec looks once a second whether the time is over."""


@pytest.fixture
def objects() -> Iterator[Objects]:
    with silent() as store:
        yield Objects(
            ObjectAccess(
                "s3://files/prefix",
                endpoint_url=f"http://127.0.0.1:{store.port}",
                region="x",
                access_key="somebody",
                secret_key="secret",  # noqa: S106
                seconds=SECONDS,
            )
        )


def seconds_of(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    with pytest.raises(ImageUnreachable):
        call()
    return time.monotonic() - begun


def test_every_call_ends_within_its_time(objects: Objects, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"pixels")
    calls: list[Callable[[], object]] = [
        lambda: objects.put(file, "images/a"),
        lambda: objects.put_bytes(b"result", "results/a"),
        lambda: objects.get("images/a", tmp_path / "copy"),
        lambda: objects.size("images/a"),
        lambda: objects.remove("images/a"),
        lambda: objects.copy("images/a", "images/b"),
        lambda: list(objects.list("images")),
    ]
    for call in calls:
        assert seconds_of(call) < SECONDS + SLACK


def test_no_sender_waits_for_the_time_of_all_that_came_before(objects: Objects):
    took: list[float] = []

    def put() -> None:
        took.append(seconds_of(lambda: objects.put_bytes(b"image", "images/a")))

    senders = [threading.Thread(target=put) for _ in range(6 * PUTS_AT_ONCE)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(took) == len(senders)
    assert max(took) < 2 * SECONDS + SLACK
