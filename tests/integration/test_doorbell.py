"""The bell between processes: whoever listens is woken, and nobody minds who does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadnode.bell import Bell
from cadnode.doorbell import FOLDER, Doorbell, Listener
from cadnode.worker import run_lane

LONG = 30.0
"""Seconds that nobody waits unless a ring is lost."""


@pytest.fixture
def doorbell(tmp_path: Path) -> Iterator[Doorbell]:
    made = Doorbell(tmp_path)
    yield made
    made.close()


def heard(bell: Bell, rings: int = 0) -> bool:
    """Wait for one more ring than `rings`; False when it does not come."""
    bell.wait(rings, LONG)
    return bell.rings > rings


def sockets(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / FOLDER).iterdir())


def test_every_listener_hears_a_ring(tmp_path, doorbell):
    bells = [Bell(), Bell()]
    listeners = [Listener(tmp_path, bell) for bell in bells]
    for listener in listeners:
        listener.start()
    doorbell.ring()
    assert all(heard(bell) for bell in bells)
    for listener in listeners:
        listener.close()
    assert sockets(tmp_path) == []
    doorbell.ring()


def test_threads_that_ring_at_once_reach_everybody(tmp_path, doorbell, monkeypatch):
    listening = 40
    for number in range(listening):
        (tmp_path / FOLDER / f"{socket.gethostname()}.{number}").touch()
    reached = threading.local()
    missed: list[int] = []

    def ring_at(folder: int, name: str) -> None:
        reached.names.add(name)

    def ring() -> None:
        for _ in range(4000):
            reached.names = set()
            doorbell.ring()
            if len(reached.names) < listening:
                missed.append(len(reached.names))

    monkeypatch.setattr(doorbell, "_ring_at", ring_at)
    threads = [threading.Thread(target=ring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []


def test_a_ring_during_the_look_is_not_lost():
    bell, stopping = Bell(), threading.Event()
    looks: list[int] = []

    class Lane:
        name = "analysis"

        def run_once(self) -> bool:
            looks.append(len(looks))
            if len(looks) == 1:
                bell.ring()
            if len(looks) == 2:
                stopping.set()
            return False

    run_lane(Lane(), stopping=stopping, poll_seconds=LONG, bell=bell)
    assert len(looks) == 2


def test_what_a_killed_process_left_behind_is_cleared_away_and_the_others_still_hear(
    tmp_path, doorbell
):
    dead = tmp_path / FOLDER / f"{socket.gethostname()}.1.dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as once:
        handle = os.open(tmp_path / FOLDER, os.O_RDONLY)
        once.bind(f"/proc/self/fd/{handle}/{dead.name}")
        os.close(handle)
    bell = Bell()
    listener = Listener(tmp_path, bell)
    listener.start()
    assert len(sockets(tmp_path)) == 2
    doorbell.ring()
    assert heard(bell)
    assert dead.name not in sockets(tmp_path)
    listener.close()


def test_the_socket_of_another_machine_on_a_shared_folder_is_left_alone(tmp_path, doorbell):
    other = tmp_path / FOLDER / "another-machine.1.abcd"
    other.touch()
    doorbell.ring()
    assert other.exists()


def test_a_data_folder_with_a_long_name_has_its_bell(tmp_path):
    folder = tmp_path / ("long " * 30)
    doorbell, bell = Doorbell(folder), Bell()
    listener = Listener(folder, bell)
    listener.start()
    doorbell.ring()
    assert heard(bell)
    listener.close()
    doorbell.close()


def test_where_no_bell_can_be_hung_nothing_breaks(tmp_path):
    (tmp_path / FOLDER).write_text("a file in its place")
    doorbell, listener = Doorbell(tmp_path), Listener(tmp_path, Bell())
    listener.start()
    doorbell.ring()
    listener.close()
    doorbell.close()
