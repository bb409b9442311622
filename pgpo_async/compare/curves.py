"""What a run folder says of its run, step by step; and the seeds of a method joined.

Owns the reading of `metrics.jsonl` and `summary.json`, and what counts as measured: not NaN, and not 0 where
the learner writes 0 for a mean over nothing. Called by `figures`, `plots` and `report`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FINISHED = "completed"
"""The status in `summary.json` of a run that reached its last step."""

MISSING = "missing"
"""The status of a run that left no summary."""

SMOOTHED_STEPS = 5
"""Accuracy is shown as the running mean of so many steps: a step's own is of few prompts."""

_ZERO_IS_NOTHING = (
    "learner/entropy",
    "learner/dependency_mean",
    "learner/grad_variance",
    "learner/grad_variance_unshaped",
    "learner/grad_snr",
    "learner/grad_snr_unshaped",
    "learner/weight_max",
    "learner/advantage_top_share",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCurves:
    """One run: its steps in order, and each figure at each step, None where it was not measured."""

    method: str
    seed: int
    folder: Path | None = None
    status: str = MISSING
    steps: tuple[int, ...] = ()
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    num_unreadable: int = 0
    """Lines of `metrics.jsonl` that are not JSON."""

    @property
    def finished(self) -> bool:
        """Whether the run may be averaged with others: to its end, with every line of its metrics."""
        return self.status == FINISHED and bool(self.steps) and self.num_unreadable == 0

    @property
    def told(self) -> str:
        """Return what there is of a run that did not finish."""
        lines = f", {self.num_unreadable} lines of metrics.jsonl unreadable" if self.num_unreadable else ""
        return f"{self.method}, seed {self.seed}: {self.status}, {len(self.steps)} steps{lines}"

    def values(self, name: str) -> tuple[float | None, ...]:
        """Return a figure at each step, None where it was not measured."""
        return self.series.get(name, (None,) * len(self.steps))

    def points(self, name: str) -> list[tuple[int, float]]:
        """Return steps and values where the figure was measured."""
        pairs = zip(self.steps, self.values(name), strict=True)
        return [(step, value) for step, value in pairs if value is not None]

    def smoothed_accuracy(self) -> list[tuple[int, float]]:
        """Return accuracy as the mean of up to `SMOOTHED_STEPS` measured steps, the step itself the last."""
        points = self.points("accuracy")
        values = [value for _, value in points]
        windows = [values[max(0, end - SMOOTHED_STEPS) : end] for end in range(1, len(values) + 1)]
        return [(step, sum(window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]

    def elapsed_s(self) -> dict[int, float]:
        """Return the seconds from the beginning of training to the end of each step.

        `time_s` is the clock when a step was recorded; training began `step_s` before the first.
        """
        times, lengths = self.values("time_s"), self.values("step_s")
        if not times or times[0] is None or lengths[0] is None:
            return {}
        began = times[0] - lengths[0]
        return {step: time - began for step, time in zip(self.steps, times, strict=True) if time is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over seeds; its standard error if there are two or more, and how many there are."""

    mean: float
    standard_error: float | None
    count: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean and standard error, sqrt(sum (x - mean)^2 / (n - 1) / n); None of no values."""
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean=mean, standard_error=None, count=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(mean=mean, standard_error=math.sqrt(variance / count), count=count)


def join(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, Estimate]]:
    """Join the seeds of a method: steps (or seconds) and estimates, where every line has a value."""
    if not lines:
        return []
    tables = [dict(line) for line in lines]
    joined = []
    for at in sorted(set.intersection(*(set(table) for table in tables))):
        found = estimate([table[at] for table in tables])
        assert found is not None
        joined.append((at, found))
    return joined


def read_run(method: str, seed: int, folder: Path | None) -> RunCurves:
    """Read a run's folder, None if it never had one. What is not there or half-written is no error."""
    if folder is None:
        return RunCurves(method=method, seed=seed)
    rows, num_unreadable = _read_rows(folder / "metrics.jsonl")
    summary = _read_summary(folder / "summary.json")
    names = sorted({name for row in rows for name in row} - {"step"})
    return RunCurves(
        method=method,
        seed=seed,
        folder=folder,
        status=str(summary.get("status", MISSING)),
        steps=tuple(row["step"] for row in rows),
        series={name: tuple(_measured(name, row.get(name)) for row in rows) for name in names},
        summary=summary,
        num_unreadable=num_unreadable,
    )


def _read_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the steps' objects in order, and how many lines could not be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], 0
    rows: dict[int, dict[str, Any]] = {}
    num_unreadable = 0
    for line in lines:
        row = _object(line)
        if isinstance(row.get("step"), int):
            rows[row["step"]] = row
        else:
            num_unreadable += 1
    return [rows[step] for step in sorted(rows)], num_unreadable


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        return _object(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}


def _object(text: str) -> dict[str, Any]:
    """Return the text's JSON object; an empty one if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _measured(name: str, value: Any) -> float | None:
    number = as_number(value)
    return None if number == 0 and name in _ZERO_IS_NOTHING else number


def as_number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
