"""The next image is read while the model works on this one, and neither pays for the other."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from cadnode.core.exam import ExamRules
from cadnode.core.jobs import Exam
from cadnode.core.model import PatchScores
from cadnode.core.reasons import Reason
from cadnode.core.retry import RetryRules
from cadnode.pipeline import Pipeline, Rules
from tests.contract.fake_classifier import FakeClassifier
from tests.unit.bench import LEASE, Bench


class WatchedClassifier(FakeClassifier):
    """Says when it is at work."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self._steps = steps
        self.waits_for: threading.Event | None = None

    def classify(self, patches: np.ndarray) -> PatchScores:
        if self.waits_for is not None:
            assert self.waits_for.wait(20), "nothing was read ahead"
        self._steps.append("scored")
        return super().classify(patches)


class WatchedBench(Bench):
    """Notes what begins, what is scored and what is written down, in order."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[str] = []
        self.classifier = WatchedClassifier(self.steps)
        begin, record = self.store.begin_image, self.store.record_image

        def name(exam: Exam, image_id: int) -> str:
            return next(image.path for image in exam.images if image.id == image_id)

        def begun(exam, image_id, *, now):
            self.steps.append(f"begin {name(exam, image_id)}")
            return begin(exam, image_id, now=now)

        def recorded(exam, image_id, **fields):
            self.steps.append(f"record {name(exam, image_id)}")
            return record(exam, image_id, **fields)

        self.store.begin_image = begun  # type: ignore[method-assign]
        self.store.record_image = recorded  # type: ignore[method-assign]
        self.pipeline = Pipeline(
            store=self.store,
            files=self.files,
            reader=self.reader,
            classifier=lambda: self.classifier,
            builders=[self.builder],
            senders=self.senders,
            rules=Rules(
                exam=ExamRules(frozenset({"RCC", "LCC"}), quiet_seconds=60),
                analyzed_views=frozenset({"CC", "MLO"}),
                retry=RetryRules(),
                max_tries=5,
                destinations={},
            ),
            manufacturer="test",
            clock=lambda: self.now,
        )

    def order(self) -> list[str]:
        """What happened, several batches of one image as one."""
        return [
            step
            for step, before in zip(self.steps, ["", *self.steps], strict=False)
            if step != before
        ]


def held(bench: WatchedBench) -> Exam:
    exam = bench.claim()
    assert exam is not None
    return exam


@pytest.fixture
def bench(tmp_path: Path) -> WatchedBench:
    return WatchedBench(tmp_path)


def test_the_next_image_is_decoded_while_the_model_works(bench: WatchedBench) -> None:
    decoded = threading.Event()
    decode = bench.reader.mammogram

    def mammogram(path, header):
        if path.name == "lcc":
            decoded.set()
        return decode(path, header)

    bench.reader.mammogram = mammogram  # type: ignore[method-assign]
    bench.classifier.waits_for = decoded
    bench.send("rcc", "RCC")
    bench.send("lcc", "LCC")
    bench.analyze()
    assert bench.statuses() == ["delivered"]
    assert bench.reader.decoded == ["rcc", "lcc"]


def test_each_image_is_counted_once_and_before_its_reading_begins(bench: WatchedBench) -> None:
    bench.send("rcc", "RCC")
    bench.send("lcc", "LCC")
    bench.analyze()
    assert bench.order()[:6] == [
        "begin rcc",
        "begin lcc",
        "scored",
        "record rcc",
        "scored",
        "record lcc",
    ]


def test_an_image_that_took_the_worker_down_is_read_alone(bench: WatchedBench) -> None:
    bench.send("rcc", "RCC")
    bench.send("lcc", "LCC")
    exam = held(bench)
    for image in exam.images:
        bench.store.begin_image(exam, image.id, now=bench.now)
    bench.wait(LEASE.total_seconds())
    bench.steps.clear()
    bench.analyze()
    assert bench.order()[:6] == [
        "begin rcc",
        "scored",
        "record rcc",
        "begin lcc",
        "scored",
        "record lcc",
    ]


def test_the_neighbour_of_an_image_that_is_given_up_is_read(bench: WatchedBench) -> None:
    bench.send("rcc", "RCC")
    bench.send("lcc", "LCC")
    exam = held(bench)
    bench.store.begin_image(exam, exam.images[1].id, now=bench.now)  # read ahead, the first time
    for _ in range(3):
        bench.store.begin_image(exam, exam.images[0].id, now=bench.now)
        bench.wait(LEASE.total_seconds())
        exam = held(bench)
    bench.wait(LEASE.total_seconds())
    bench.analyze()
    assert bench.reasons() == {"rcc": Reason.WORKER_LOST.code, "lcc": "analyzed"}


def test_an_image_that_cannot_be_decoded_fails_alone_when_it_was_read_ahead(
    bench: WatchedBench,
) -> None:
    bench.reader.failures["lcc"] = Reason.DECODING_FAILED
    bench.send("rcc", "RCC")
    bench.send("lcc", "LCC")
    bench.analyze()
    assert bench.reasons() == {"rcc": "analyzed", "lcc": Reason.DECODING_FAILED.code}


def test_one_that_is_not_read_is_not_decoded_ahead(bench: WatchedBench) -> None:
    bench.send("rcc", "RCC")
    bench.send("spot", "LXCCL")
    bench.send("lcc", "LCC")
    bench.analyze()
    assert sorted(bench.reader.decoded) == ["lcc", "rcc"]
