"""The frame of the benchmarks: what is kept, and the page that is written of it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from tests.bench.__main__ import benchmarks, page
from tests.bench.section import Section, interleaved, load, ratios, save

SECTION = Section(
    "Inference",
    "Patches per second.",
    (("runtime", "patches/s"), ("ours", "2 | 3")),
    {"ours (patches/s)": (2.0, 3.0)},
)


def test_a_section_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    save(SECTION, tmp_path / "s.json")
    kept = load(tmp_path / "s.json")
    assert replace(kept, measured="").markdown() == SECTION.markdown()
    assert "\nMeasured 2" in kept.markdown()
    save(replace(kept, measured="then"), tmp_path / "s.json")
    assert load(tmp_path / "s.json").measured == "then"
    assert load(tmp_path / "s.json").raw_markdown() == SECTION.raw_markdown()


def test_the_page_has_the_machine_the_table_and_every_number() -> None:
    lines = page([SECTION]).splitlines()
    assert any(line.startswith("| CPU | ") for line in lines)
    assert r"| ours | 2 \| 3 |" in lines
    assert "| ours (patches/s) | 2 3 |" in lines


def test_measures_take_turns() -> None:
    calls: list[str] = []

    def measure(name: str, value: float) -> float:
        calls.append(name)
        return value

    found = interleaved({"a": lambda: measure("a", 1), "b": lambda: measure("b", 2)}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert found == {"a": [1, 1], "b": [2, 2]}


def test_a_ratio_compares_runs_made_side_by_side() -> None:
    assert ratios([2, 20, 9], [1, 10, 3]) == 2


@pytest.mark.parametrize("name", benchmarks())
def test_what_make_bench_runs_is_a_benchmark(name: str) -> None:
    module = import_module(f"tests.bench.{name}")
    assert list(inspect.signature(module.measure).parameters) == ["quick"]
    assert '"--out"' in inspect.getsource(module) or hasattr(module, "run_alone")
