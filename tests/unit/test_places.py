"""Several receivers on one address: which number each has, and what it clears up."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from cadnode.core.errors import ConfigError
from cadnode.places import clear_up, number_of, take_place


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def partial(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "half.part"
    path.write_bytes(b"half")
    return path


def test_a_receiver_that_is_alone_writes_where_it_always_did(incoming: Path, locks: Path):
    with take_place(incoming, locks, 1) as place:
        assert (place.number, place.folder) == (1, incoming)
    assert not locks.exists()


def test_each_of_several_has_a_number_and_a_folder_of_its_own(incoming: Path, locks: Path):
    with take_place(incoming, locks, 2) as first, take_place(incoming, locks, 2) as second:
        assert (first.number, second.number) == (1, 2)
        assert first.folder != second.folder


def test_one_that_is_started_again_has_the_number_that_the_supervisor_means(
    incoming: Path, locks: Path
):
    with take_place(incoming, locks, 3, wanted=number_of("receive 2")) as place:
        assert place.number == 2
        with take_place(incoming, locks, 3, wanted=2) as other:
            assert other.number == 1


def test_a_number_is_free_again_when_its_receiver_has_ended(incoming: Path, locks: Path):
    with take_place(incoming, locks, 2, wanted=2):
        pass
    with take_place(incoming, locks, 2, wanted=2) as place:
        assert place.number == 2


def test_one_too_many_is_refused(incoming: Path, locks: Path):
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(take_place(incoming, locks, 2))
        with pytest.raises(ConfigError, match="receivers = 2"):
            stack.enter_context(take_place(incoming, locks, 2))


def test_what_a_killed_receiver_left_goes_and_what_another_one_writes_stays(
    incoming: Path, locks: Path
):
    with take_place(incoming, locks, 3, wanted=2) as other:
        written, left = partial(other.folder), partial(incoming / "receiver-3")
        before = partial(incoming)
        clear_up(incoming, locks, 3)
    assert written.exists()
    assert not left.exists()
    assert not before.exists()


def test_the_single_receiver_clears_up_after_several(incoming: Path, locks: Path):
    left = partial(incoming / "receiver-2")
    clear_up(incoming, locks, 1)
    assert not left.exists()


@pytest.mark.parametrize(("name", "number"), [("receive", 1), ("receive 2", 2), ("", 1)])
def test_the_number_is_the_one_in_the_name(name: str, number: int):
    assert number_of(name) == number
