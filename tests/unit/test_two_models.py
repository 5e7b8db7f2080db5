"""Workers with two models over one job database: an update machine by machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from cadnode.core.mammogram import Intent
from tests.contract.fake_classifier import FAKE_SPEC, FakeClassifier
from tests.unit.bench import MG_PROCESSING, Bench

OLD, NEW = FAKE_SPEC, replace(FAKE_SPEC, version="2")
VIEWS = ("RCC", "LCC", "RMLO", "LMLO")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def use(bench: Bench, spec) -> None:
    """The next step is done by a worker with this model."""
    bench.pipeline._classifier = lambda: FakeClassifier(spec)


def models_of_last_result(bench: Bench) -> tuple[str, set[str | None]]:
    """The version the report names, and the models that have read its images."""
    named = bench.builder.reports[-1].algorithm.version
    return named, {image.value.model for image in bench.store.images.values()}


def take_turns(bench: Bench, *specs) -> None:
    """Each step by the next of these models, until nothing is due."""
    turns = cycle(specs)
    for _ in range(50):
        use(bench, next(turns))
        exam = bench.claim()
        if exam is None:
            return
        bench.pipeline.advance(exam, lambda: None)
    pytest.fail("the workers take turns at one exam for ever")


@pytest.mark.parametrize("first", [OLD, NEW])
def test_an_exam_that_two_models_took_turns_at_has_one_result_that_names_one(bench, first):
    other = NEW if first is OLD else OLD
    for view in VIEWS:
        bench.send(view.lower(), view)
        take_turns(bench, first, other)
        first, other = other, first
    assert bench.statuses() == ["reported"]
    assert set(bench.reasons().values()) == {"analyzed"}
    named, models = models_of_last_result(bench)
    assert models == {f"{FAKE_SPEC.name} {named}"}
    assert len(bench.builder.reports) == 1


def test_taking_turns_costs_no_image_more_than_a_second_reading(bench):
    for spec, view in zip(cycle([OLD, NEW]), VIEWS, strict=False):
        use(bench, spec)
        bench.send(view.lower(), view)
        bench.pipeline.advance(bench.claim(), lambda: None)
    use(bench, OLD)
    bench.analyze()
    assert max(Counter(bench.reader.decoded).values()) == 2


def test_many_updates_do_not_make_an_image_the_one_that_takes_workers_down(bench):
    bench.send_four()
    for version in range(8):
        use(bench, replace(OLD, version=str(version)))
        bench.analyze()
        late = f"late {version}"
        bench.send(late, "RCC")
    bench.analyze()
    assert set(bench.reasons().values()) == {"analyzed"}


def test_a_processing_image_that_the_old_model_has_read_stays_in_the_result_of_the_new(bench):
    bench.send("raw", "RCC", sop_class_uid=MG_PROCESSING, intent=Intent.PROCESSING)
    bench.wait(60)
    use(bench, OLD)
    bench.pipeline.advance(bench.claim(), lambda: None)
    assert bench.statuses() == ["analyzed"]
    use(bench, NEW)
    bench.analyze()
    assert bench.reasons() == {"raw": "analyzed"}
    assert [image.failure for image in bench.builder.reports[-1].images] == [None]
    assert models_of_last_result(bench) == ("2", {"fake 2"})
