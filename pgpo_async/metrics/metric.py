"""What a metric is: its name, kind, unit, help, labels. The names themselves are in the modules beside.

    learning_metrics   what the policy learns
    pipeline_metrics   how the stages work together
    health_metrics     what died, was lost or refused
    resource_metrics   memory, disks, devices
    registry           all of them

Names are `pgpo_*`, in base units, `_total` where they count. No label may grow with the run: each has a
closed set of values, or is bounded by words in the code and the config, and `board` stops at
`MAX_OPEN_VALUES`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]

UNITS = ("seconds", "bytes", "ratio", "nats", "tokens", "groups", "prompts", "steps", "")
"""Of the name's end; the empty one for what has no unit (a loss, a count of things that the name says)."""
MAX_OPEN_VALUES = 40
"""Of a label whose values are words of the code or the config; what comes later is counted as `other`."""
OPEN: tuple[str, ...] = ()
"""A label's values where they are not listed here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One family of series.

    `labels`: name and allowed values, or `OPEN`. `condition` says when there is a sample of it, "" if
    there is one in every run. `buckets`: a histogram's upper bounds.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    condition: str = ""
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        assert re.fullmatch(r"pgpo_[a-z][a-z0-9_]*", self.name), f"name must be pgpo_*, got {self.name}"
        assert self.unit in UNITS, f"{self.name}: unit must be one of {UNITS}, got {self.unit}"
        stem = self.name.removesuffix("_total")
        assert not self.unit or stem.endswith(f"_{self.unit}"), f"{self.name} must end with its unit"
        assert (stem != self.name) == (self.kind == "counter"), f"{self.name}: counters end with _total"
        assert (self.kind == "histogram") == bool(self.buckets), f"{self.name}: histograms have buckets"


def gauge(name: str, unit: str, help: str, condition: str = "", **labels: Sequence[str]) -> Metric:
    """A value that goes up and down."""
    return Metric(name=name, kind="gauge", unit=unit, help=help, labels=labels, condition=condition)


def counter(name: str, unit: str, help: str, condition: str = "", **labels: Sequence[str]) -> Metric:
    """A sum that only grows, from the driver's start."""
    return Metric(name=name, kind="counter", unit=unit, help=help, labels=labels, condition=condition)


def histogram(name: str, unit: str, help: str, buckets: tuple[float, ...], condition: str = "") -> Metric:
    """How values are spread, from the driver's start."""
    return Metric(name=name, kind="histogram", unit=unit, help=help, buckets=buckets, condition=condition)
