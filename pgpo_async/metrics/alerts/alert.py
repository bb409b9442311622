"""What an alert is, and the conditions that several share. The alerts are in the modules beside."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts.limits import WINDOW
from pgpo_async.metrics.promql import Part, Queries

Severity = Literal["critical", "warning", "info"]
"""Of `critical` somebody must be woken: the run stands still, or will lose work. `info` is for a look."""

MARKS: Mapping[str, str] = {
    "<run>": "{{ $labels.run }}",
    "<role>": "{{ $labels.role }}",
    "<count>": '{{ $value | printf "%.0f" }}',
    "<percent>": "{{ $value | humanizePercentage }}",
    "<duration>": "{{ $value | humanizeDuration }}",
    "<number>": '{{ $value | printf "%.3g" }}',
}
"""What a text says, as Prometheus's templates."""
VALUE_MARKS = {mark for mark, template in MARKS.items() if "$value" in template}

PARTS: tuple[Part, Part] = ("sum", "count")
RUNS = Queries(window=WINDOW)
"""All runs that Prometheus knows, each with a verdict of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """`expr` has a sample for each run (and role) it is true of; `lasting` is how long it must be so.

    `summary` and `description` tell run, role and value by the words of `MARKS`.
    """

    name: str
    expr: str
    lasting: str
    severity: Severity
    summary: str
    description: str

    def __post_init__(self) -> None:
        assert re.fullmatch(r"Pgpo[A-Z][A-Za-z]+", self.name), f"name must be Pgpo*, got {self.name}"
        assert "<run>" in self.summary, f"{self.name}: the summary must name the run"
        told = set(re.findall(r"<\w+>", self.summary))
        assert told <= set(MARKS), f"{self.name}: {told - set(MARKS)} must be of MARKS"
        assert told & VALUE_MARKS, f"{self.name}: the summary must tell the value"


def as_template(text: str) -> str:
    """The text as Prometheus takes it."""
    return re.sub(r"<\w+>", lambda mark: MARKS[mark.group()], text)


def training(expr: str) -> str:
    """Only of runs that have steps before them: not of those that evaluate at their end."""
    done = f"({RUNS.now(pipeline.STEP)} >= {RUNS.now(pipeline.STEPS_WANTED)})"
    return f"{alive(expr)}\nunless on (run) {done}"


def alive(expr: str) -> str:
    """Only of runs that answer: a query that looks back tells of a run for as long after its end."""
    return f"({expr})\nand on (run) {RUNS.now(pipeline.RUN)}"


def mean_step_s(within: str = "") -> str:
    """Seconds of a step, as a mean since the driver's start."""
    total, count = (RUNS.ever(pipeline.STEP_TIME, of=of, within=within) for of in PARTS)
    return f"({total} / {count})"


def more_than(number: int, counted: str) -> str:
    """Where so many were counted, or more: `increase` stretches whole numbers a little."""
    return f"{counted} > {number - 0.5:g}"
