"""A minute of fuzzing in every run of the tests, and whatever fuzzing once found."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

from tests.fuzz.regressions import INPUTS
from tests.fuzz.running import TARGETS, fuzz

SECONDS = 60.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_and_everything_that_once_broke_a_parser_is_taken(name: str):
    target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    for data in (*target.seeds(), *INPUTS.get(name, ()), b""):
        target.one_input(data)


def test_every_target_stands_in_the_list():
    modules = {path.stem for path in Path(__file__).parent.glob("fuzz_*.py")}
    assert modules == {f"fuzz_{name}" for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutated_input_breaks_a_parser(name: str, tmp_path: Path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install atheris (Linux, Python 3.11 to 3.13)")
    outcome = fuzz(name, seconds=SECONDS / len(TARGETS), crashes=tmp_path)
    assert not outcome.broken, outcome.broken
    assert outcome.inputs > len(importlib.import_module(f"tests.fuzz.fuzz_{name}").seeds())
