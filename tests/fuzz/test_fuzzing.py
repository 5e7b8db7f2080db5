"""A minute of fuzzing in every run of the tests, and whatever fuzzing once found."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import fuzz_association, fuzz_messages
from tests.fuzz.regressions import INPUTS
from tests.fuzz.running import TARGETS, fuzz
from tests.fuzz.upper_layer import converse
from tests.integration import pdus
from tests.peers import absent

SECONDS = 60.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_and_everything_that_once_broke_a_parser_is_taken(name: str):
    target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    for data in (*target.seeds(), *INPUTS.get(name, ()), b""):
        target.one_input(data)


@pytest.mark.filterwarnings("ignore")
def test_the_upper_layer_under_the_fuzzer_answers_as_the_node_does():
    associate, echo = fuzz_association.seeds()[0], fuzz_messages.seeds()[2]
    assert converse(associate)[0] == pdus.ASSOCIATE_AC
    answers = converse(echo, dict(fuzz_messages.CONTEXTS))
    answered = next(pdus.fragments(answers[6:]))[2]
    assert pdus.command_elements(answered)[0x0900] == b"\0\0"
    store = converse(fuzz_messages.seeds()[0], dict(fuzz_messages.CONTEXTS))
    answered = next(pdus.fragments(store[6:]))[2]
    assert pdus.command_elements(answered)[0x0900] == b"\0\0"


def test_a_release_that_crosses_our_acceptance_ends_the_association_not_its_thread():
    # In pynetdicom's table there is no acceptance after that release.
    said = converse(fuzz_association.seeds()[0] + pdus.release_rq(), crossing=True)
    assert {kind for kind, _ in every_pdu(said)} == {pdus.ABORT}


def every_pdu(said: bytes) -> Iterator[tuple[int, bytes]]:
    while said:
        length = int.from_bytes(said[2:6], "big")
        yield said[0], said[6 : 6 + length]
        said = said[6 + length :]


def test_every_target_stands_in_the_list():
    modules = {path.stem for path in Path(__file__).parent.glob("fuzz_*.py")}
    assert modules == {f"fuzz_{name}" for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutated_input_breaks_a_parser(name: str, tmp_path: Path):
    if importlib.util.find_spec("atheris") is None:
        absent("atheris is not installed: pip install atheris (Linux, Python 3.11 to 3.13)")
    outcome = fuzz(name, seconds=SECONDS / len(TARGETS), crashes=tmp_path)
    assert not outcome.broken, outcome.broken
    assert outcome.inputs > len(importlib.import_module(f"tests.fuzz.fuzz_{name}").seeds())
