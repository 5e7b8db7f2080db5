"""The node's ports with a clock beside them: what the pipeline uses is timed, and does not know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.exam import BuiltResult, ExamReport
from cadnode.core.mammogram import ImageHeader, Mammogram
from cadnode.core.metrics import (
    DECODE_DURATION,
    DELIVERY_DURATION,
    INFERENCE_DURATION,
    MODEL_INFO,
    PATCH_SECONDS,
    PATCHES,
    REPORT_DURATION,
    Metrics,
)
from cadnode.core.model import ModelSpec, PatchScores, RunsOn
from cadnode.core.ports import (
    Classifier,
    MammogramReader,
    OutgoingObject,
    OutputBuilder,
    PeerCheck,
    Sender,
)
from cadnode.core.retry import SendOutcome


class MeteredReader:
    """A `MammogramReader` whose decoding is timed."""

    def __init__(self, reader: MammogramReader, metrics: Metrics) -> None:
        self._reader = reader
        self._metrics = metrics

    def header(self, path: Path) -> ImageHeader:
        """As the reader does."""
        return self._reader.header(path)

    def mammogram(self, path: Path, header: ImageHeader) -> Mammogram:
        """As the reader does."""
        began = time.perf_counter()
        found = self._reader.mammogram(path, header)
        self._metrics.observe(DECODE_DURATION, time.perf_counter() - began)
        return found


class MeteredClassifier:
    """A `Classifier` whose patches are counted."""

    def __init__(
        self,
        classifier: Classifier,
        metrics: Metrics,
        note: Callable[[int, float], None] = lambda patches, seconds: None,
    ) -> None:
        """`note` too is told how many patches a call has scored, and in how many seconds."""
        self._classifier = classifier
        self._metrics = metrics
        self._note = note
        metrics.set(MODEL_INFO, 1.0, classifier.spec.name, classifier.spec.version)

    @property
    def spec(self) -> ModelSpec:
        """As of the classifier."""
        return self._classifier.spec

    @property
    def runs_on(self) -> RunsOn:
        """As of the classifier."""
        return self._classifier.runs_on

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        """As the classifier does."""
        began = time.perf_counter()
        scores = self._classifier.classify(patches)
        seconds = time.perf_counter() - began
        self._metrics.observe(INFERENCE_DURATION, seconds)
        self._metrics.add(PATCHES, by=len(patches))
        self._metrics.add(PATCH_SECONDS, by=seconds)
        self._note(len(patches), seconds)
        return scores


class MeteredBuilder:
    """An `OutputBuilder` whose objects are timed."""

    def __init__(self, builder: OutputBuilder, metrics: Metrics) -> None:
        self._builder = builder
        self._metrics = metrics

    @property
    def kind(self) -> str:
        """As of the builder."""
        return self._builder.kind

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """As the builder does."""
        began = time.perf_counter()
        for built in self._builder.objects(report):
            self._metrics.observe(REPORT_DURATION, time.perf_counter() - began, self.kind)
            yield built
            began = time.perf_counter()


class MeteredSender:
    """A `Sender` whose associations are timed."""

    def __init__(self, sender: Sender, destination: str, metrics: Metrics) -> None:
        self._sender = sender
        self._destination = destination
        self._metrics = metrics

    def send(self, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        """As the sender does."""
        began = time.perf_counter()
        outcomes = self._sender.send(objects)
        self._metrics.observe(DELIVERY_DURATION, time.perf_counter() - began, self._destination)
        return outcomes

    def check(self, sop_class_uids: Sequence[str]) -> PeerCheck:
        """As the sender does."""
        return self._sender.check(sop_class_uids)
