"""The values of a run's metrics: set by whoever knows them, read by the exporter. Nothing else holds any.

Takes the registry's metrics only, and of their labels only what they declare. A series appears with its first
value, so that nobody takes a 0 for a measurement. Any thread may call. Each series carries the run's name.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from pgpo_async.metrics.metric import MAX_OPEN_VALUES, OPEN, Metric
from pgpo_async.metrics.registry import REGISTRY

OTHER = "other"

# Unix times of the series' birth would double the counters' series, and say nothing here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Board:
    """One run's. Values that are None or not finite are not measurements, and are left out."""

    def __init__(self, run: str) -> None:
        self.registry = CollectorRegistry()
        self._run = run
        self._lock = threading.Lock()
        self._families: dict[str, Any] = {}
        self._open: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._totals: dict[tuple[str, tuple[str, ...]], float] = {}

    def set(self, metric: Metric, value: float | None, **labels: str) -> None:
        """Set a gauge."""
        assert metric.kind == "gauge", f"{metric.name} is a {metric.kind}"
        if _measured(value):
            self._series(metric, labels).set(value)

    def add(self, metric: Metric, amount: float | None, **labels: str) -> None:
        """Add to a counter; 0 makes its series."""
        assert metric.kind == "counter", f"{metric.name} is a {metric.kind}"
        if _measured(amount):
            self._series(metric, labels).inc(amount)

    def reach(self, metric: Metric, total: float | None, **labels: str) -> None:
        """Bring a counter up to a total that others count.

        Where theirs goes back (a queue at a checkpoint, another process) this one stays, and counts on from
        there: what was done twice counts twice.
        """
        if not _measured(total):
            return
        assert total is not None
        key = metric.name, tuple(labels.values())
        with self._lock:
            before, self._totals[key] = self._totals.get(key, 0.0), total
        self.add(metric, max(0.0, total - before), **labels)

    def observe(self, metric: Metric, value: float | None) -> None:
        """Put a value into a histogram."""
        assert metric.kind == "histogram", f"{metric.name} is a {metric.kind}"
        if _measured(value):
            self._series(metric, {}).observe(value)

    def begin(self, metric: Metric, **labels: str) -> None:
        """Make a counter's or histogram's series with nothing in it: what grows from 0 is seen to grow."""
        assert metric.kind != "gauge", f"{metric.name} is a gauge: nothing is no 0"
        self._series(metric, labels)

    def samples(self) -> Iterator[tuple[str, str, Mapping[str, str], float]]:
        """Every series now: its metric's kind, its name, labels and value."""
        for family in self.registry.collect():
            for sample in family.samples:
                yield family.type, sample.name, sample.labels, sample.value

    def _series(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        with self._lock:
            family = self._families.get(metric.name)
            if family is None:
                family = self._families[metric.name] = self._made(metric)
            values = {name: self._allowed(metric, name, value) for name, value in labels.items()}
        return family.labels(run=self._run, **values)

    def _made(self, metric: Metric) -> Any:
        assert REGISTRY.get(metric.name) is metric, f"{metric.name} is not in the registry"
        kinds: dict[str, Any] = {"gauge": Gauge, "counter": Counter, "histogram": Histogram}
        buckets = {"buckets": metric.buckets} if metric.buckets else {}
        names = ["run", *metric.labels]
        return kinds[metric.kind](metric.name, metric.help, names, registry=self.registry, **buckets)

    def _allowed(self, metric: Metric, name: str, value: str) -> str:
        declared = metric.labels[name]
        if declared != OPEN:
            assert value in declared, f"{metric.name}: {name} must be one of {declared}, got {value!r}"
            return value
        seen = self._open[metric.name, name]
        if value not in seen and len(seen) >= MAX_OPEN_VALUES:
            return OTHER
        seen.add(value)
        return value


def _measured(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
