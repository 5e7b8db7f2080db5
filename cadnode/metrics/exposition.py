"""What all processes have recorded, put together, in the words that Prometheus reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import CollectorRegistry

from cadnode.core.metrics import RECORDED, Counter, Gauge, Histogram, Metric
from cadnode.metrics.recording import series_of
from cadnode.metrics.slots import files
from cadnode.metrics.values import read_values

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One gauge as it stands at this moment."""

    gauge: Gauge
    value: float
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to one scrape."""

    content: bytes
    content_type: str


def page(folder: Path, readings: Iterable[Reading], gauges: Sequence[Gauge], accept: str) -> Page:
    """The numbers of every process below `folder`, and `readings` of `gauges`, in the format that
    the request header `accept` asks for (Prometheus text without one)."""
    # Collected first: the registry asks what it holds when it is given a collector.
    families = [*_recorded(folder), *_read(readings, gauges)]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    encode, content_type = choose_encoder(accept)
    return Page(encode(registry), content_type)


def totals(folder: Path) -> Mapping[str, Mapping[Labels, list[float]]]:
    """By metric and labels: the sums over all processes, or the largest of gauges that do not add
    up. Gauges of dead processes do not count."""
    gauges = {metric.name: metric for metric in RECORDED if isinstance(metric, Gauge)}
    found: dict[str, dict[Labels, list[float]]] = defaultdict(dict)
    for path, alive in files(folder):
        # The last record of a series counts: an update may have changed the number of buckets.
        for name, values in dict(read_values(path)).items():
            series = series_of(name)
            if series is None or (series[0] in gauges and not alive):
                continue
            metric, labels = series
            before = found[metric].get(labels)
            if before is None:
                found[metric][labels] = values.tolist()
            elif metric in gauges and not gauges[metric].adds_up:
                found[metric][labels] = [max(before[0], values[0])]
            elif len(before) == len(values):
                found[metric][labels] = [a + b for a, b in zip(before, values, strict=True)]
    return found


class _Collected:
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families


def _recorded(folder: Path) -> Iterator[Family]:
    found = totals(folder)
    for metric in RECORDED:
        series = found.get(metric.name, {})
        if not series and not metric.labels:
            # Shown as zero: a rule over something that has not happened yet has an answer.
            series = {(): [0.0] * _size(metric)}
        fitting = {
            labels: values
            for labels, values in series.items()
            if len(labels) == len(metric.labels) and len(values) == _size(metric)
        }
        yield _family(metric, fitting)


def _read(readings: Iterable[Reading], gauges: Sequence[Gauge]) -> Iterator[Family]:
    by_gauge: dict[str, dict[Labels, list[float]]] = defaultdict(dict)
    for reading in readings:
        by_gauge[reading.gauge.name][reading.labels] = [reading.value]
    for gauge in gauges:
        yield _family(gauge, by_gauge.get(gauge.name, {}))


def _size(metric: Metric) -> int:
    return len(metric.buckets) + 2 if isinstance(metric, Histogram) else 1


def _family(metric: Metric, series: Mapping[Labels, Sequence[float]]) -> Family:
    if isinstance(metric, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, (total, *counts) in sorted(series.items()):
            histogram.add_metric(labels, _cumulative(metric.buckets, counts), sum_value=total)
        return histogram
    if isinstance(metric, Counter):
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, (value,) in sorted(series.items()):
            counter.add_metric(labels, value)
        return counter
    gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, (value,) in sorted(series.items()):
        gauge.add_metric(labels, value)
    return gauge


def _cumulative(bounds: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    buckets, seen = [], 0.0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        seen += count
        buckets.append((_bound(bound), seen))
    return buckets


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else repr(seconds)
