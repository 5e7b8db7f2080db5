"""Copies of objects on this machine's disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cadnode.storage.file_cache import (
    IN_USE_SECONDS,
    LEFT_BEHIND_SECONDS,
    UNUSED_SECONDS,
    FileCache,
)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.looked_at: list[str] = []
        self.cache = self.process()

    def process(self) -> FileCache:
        def is_whole(path: Path, name: str) -> bool:
            self.looked_at.append(name)
            return path.read_bytes() == b"0123456789"

        return FileCache(self.folder, 30, is_whole=is_whole, clock=self.clock)

    def add(self, name: str, *, in_use: bool = False) -> None:
        aside = self.cache.aside()
        aside.write_bytes(b"0123456789")
        self.cache.add(aside, name, in_use=in_use)
        self.clock.now += 1

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "cache")


def test_what_was_added_is_found_and_nothing_else(bench: Bench):
    bench.add("a")
    found = bench.cache.find("a")
    assert found is not None
    assert found.read_bytes() == b"0123456789"
    assert bench.cache.find("b") is None


def test_the_least_recently_used_go_first(bench: Bench):
    for name in "abc":
        bench.add(name)
    bench.clock.now += IN_USE_SECONDS
    bench.cache.find("a")
    bench.add("d")
    assert bench.names() == ["a", "c", "d"]


def test_what_nobody_has_asked_for_in_a_day_goes_though_there_is_room(bench: Bench):
    bench.add("a", in_use=True)
    bench.clock.now += UNUSED_SECONDS - 2
    bench.add("b")
    assert bench.names() == ["a", "b"]
    bench.clock.now += 1
    bench.add("c")
    assert bench.names() == ["b", "c"]


def test_what_is_in_use_stays_whatever_the_limit(bench: Bench):
    for name in "abcde":
        bench.add(name, in_use=True)
    assert bench.names() == ["a", "b", "c", "d", "e"]
    bench.clock.now += IN_USE_SECONDS
    bench.add("f")
    assert bench.names() == ["d", "e", "f"]


def test_a_copy_is_looked_at_once_by_each_process(bench: Bench):
    bench.add("a")
    assert bench.cache.find("a")
    assert bench.looked_at == []
    other = bench.process()
    assert other.find("a")
    assert other.find("a")
    assert bench.looked_at == ["a"]


def test_a_copy_that_is_not_whole_is_not_handed_out(bench: Bench):
    bench.add("a")
    (bench.folder / "a").write_bytes(b"01234")
    assert bench.process().find("a") is None
    assert bench.names() == []


def test_another_file_under_the_name_is_looked_at_again(bench: Bench):
    bench.add("a")
    other = bench.folder / "other"
    other.write_bytes(b"another")
    other.replace(bench.folder / "a")
    assert bench.cache.find("a") is None
    assert bench.looked_at == ["a"]


def test_what_is_forgotten_is_gone(bench: Bench):
    bench.add("a")
    bench.cache.forget("a")
    bench.cache.forget("a")
    assert bench.cache.find("a") is None


def test_what_a_process_left_half_done_goes_in_time(bench: Bench):
    half = bench.cache.aside()
    half.write_bytes(b"x" * 100)
    began = half.stat().st_mtime
    bench.clock.now = began + LEFT_BEHIND_SECONDS - 1
    bench.cache.shrink_to(0)
    assert bench.names() == [half.name]
    bench.clock.now = began + LEFT_BEHIND_SECONDS
    bench.cache.shrink_to(0)
    assert bench.names() == []


def test_a_copy_asked_for_while_others_are_chosen_to_go_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    bench.add("a")
    other, found = bench.process(), []
    listed = other._copies

    def asked_for_meanwhile() -> list[tuple[float, int, str]]:
        copies = listed()
        found.append(bench.cache.find("a"))
        return copies

    monkeypatch.setattr(other, "_copies", asked_for_meanwhile)
    other.shrink_to(0)
    assert found == [bench.folder / "a"]
    assert (bench.folder / "a").read_bytes() == b"0123456789"


def test_a_copy_that_is_mended_while_it_is_looked_at_stays(tmp_path: Path):
    def is_whole(path: Path, name: str) -> bool:
        spoiled = path.read_bytes() != b"whole"
        if spoiled:
            # Another process fetches it at this moment.
            aside = other.aside()
            aside.write_bytes(b"whole")
            other.add(aside, name, in_use=True)
        return not spoiled

    cache, other = (FileCache(tmp_path / "cache", 30, is_whole=is_whole) for _ in range(2))
    spoiled = cache.aside()
    spoiled.write_bytes(b"spoiled")
    spoiled.replace(cache.place("a"))
    assert cache.find("a") is None
    assert cache.place("a").read_bytes() == b"whole"


def test_what_others_have_deleted_takes_no_memory(bench: Bench):
    other = bench.process()
    for name in "abcdef":
        bench.add(name)
        bench.clock.now += IN_USE_SECONDS
        other.shrink_to(0)
    assert len(bench.cache._believed) <= 1


def test_a_folder_that_somebody_deleted_is_made_again(bench: Bench):
    bench.add("a")
    shutil.rmtree(bench.folder)
    assert bench.cache.size() == 0
    bench.cache.shrink_to(0)
    bench.add("b")
    assert bench.names() == ["b"]
