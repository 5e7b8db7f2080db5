"""The recording implementation of the metrics port: numbers in memory and in the process's file."""

from __future__ import annotations

import json
import os
import threading
from array import array
from bisect import bisect_left
from collections import Counter as Tally
from pathlib import Path

from cadnode.core.metrics import OTHER, RECORDED, Counter, Gauge, Histogram, Metric
from cadnode.metrics.slots import take_slot
from cadnode.metrics.values import ValueFile

MOST_SERIES = 200
"""Of one metric in one process: beyond it labels become 'other', whatever somebody sends."""

_GAUGES = frozenset(metric.name for metric in RECORDED if isinstance(metric, Gauge))


class Recording:
    """Counts and times for one process; safe to share between threads."""

    def __init__(self, folder: Path, process: str) -> None:
        """Record into a file below `folder`. Raises OSError."""
        self._slot = take_slot(folder, process)
        self._file = ValueFile(self._slot.path, _is_counted)
        self._lock = threading.Lock()
        self._held: dict[tuple[str, tuple[str, ...]], tuple[str, array[float]]] = {}
        self._of_metric: Tally[str] = Tally()

    def add(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """See Metrics.add."""
        with self._lock:
            name, values = self._series(counter, labels, 1)
            values[0] += by
            self._file.write(name)

    def observe(self, histogram: Histogram, seconds: float, *labels: str) -> None:
        """See Metrics.observe."""
        with self._lock:
            # The sum, then the count of each bucket, then of what is beyond the last.
            name, values = self._series(histogram, labels, len(histogram.buckets) + 2)
            values[0] += seconds
            values[1 + bisect_left(histogram.buckets, seconds)] += 1
            self._file.write(name)

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """See Metrics.set."""
        with self._lock:
            name, values = self._series(gauge, labels, 1)
            values[0] = value
            self._file.write(name)

    def close(self) -> None:
        """Let go of file and slot; what was counted stays."""
        with self._lock:
            self._file.close()
            os.close(self._slot.lock)

    def _series(
        self, metric: Metric, labels: tuple[str, ...], count: int
    ) -> tuple[str, array[float]]:
        key = (metric.name, labels)
        held = self._held.get(key)
        if held is not None:
            return held
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
        if self._of_metric[metric.name] >= MOST_SERIES and set(labels) != {OTHER}:
            return self._series(metric, (OTHER,) * len(labels), count)
        name = series_name(metric.name, labels)
        self._held[key] = held = (name, self._file.series(name, count))
        self._of_metric[metric.name] += 1
        return held


def _is_counted(name: str) -> bool:
    """False for a gauge: what was so with a process that is gone is not so with the next."""
    series = series_of(name)
    return series is not None and series[0] not in _GAUGES


def series_name(metric: str, labels: tuple[str, ...]) -> str:
    """How a series is called in the file."""
    return json.dumps([metric, *labels])


def series_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The metric and the labels of a series; None for a name that nobody can read."""
    try:
        metric, *labels = json.loads(name)
    except ValueError:
        return None
    return str(metric), tuple(str(label) for label in labels)
