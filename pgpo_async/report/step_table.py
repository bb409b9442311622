"""`metrics.jsonl` as columns: each figure at each step, NaN where it was not measured.

Owns the reading of the step lines, and which zeros mean that nothing was measured. Columns, not rows: a run
of 100,000 steps fits into memory. Called by `run_data`.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pgpo_async.report.run_files import JsonLines, as_count, as_number

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

MAX_COLUMNS = 500
"""A run has about a hundred; a damaged file may have a name a line."""

_ZERO_IS_NOTHING = frozenset(
    {
        "learner/entropy",
        "learner/dependency_mean",
        "learner/dependency_log_mean",
        "learner/boosted_share",
        "learner/advantage_top_share",
        "learner/reference_kl",
        "learner/fresh_mismatch_kl",
        "learner/grad_variance",
        "learner/grad_variance_unshaped",
        "learner/grad_snr",
        "learner/grad_snr_unshaped",
        "learner/is_ratio_max",
        "learner/weight_max",
    }
)
"""A mean over nothing is 0 there; a run in which such a figure is never anything else did not measure it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTable:
    """The steps in order, float64 [steps] for each figure, and what each step's groups were like.

    `lags` and `rewards` hold an array for each step, one entry a trained group, empty where the run did not
    write them.
    """

    steps: Int64Array
    columns: Mapping[str, Float64Array] = field(default_factory=dict)
    lags: Sequence[Int64Array] = ()
    rewards: Sequence[Float64Array] = ()
    num_groups: int = 0
    """Groups named as trained."""
    num_unreadable: int = 0

    def column(self, name: str) -> Float64Array:
        """Return a figure at each step, NaN where it was not measured."""
        found = self.columns.get(name)
        return np.full(len(self.steps), np.nan) if found is None else found

    def has(self, name: str) -> bool:
        """Whether the figure was measured at any step."""
        found = self.columns.get(name)
        return found is not None and bool(np.isfinite(found).any())

    def total(self, name: str) -> float | None:
        """Return a figure's sum over all steps, None where it was never measured."""
        return float(np.nansum(self.column(name))) if self.has(name) else None

    def largest(self, name: str) -> float | None:
        """Return the largest value of a figure, None where it was never measured."""
        return float(np.nanmax(self.column(name))) if self.has(name) else None

    def named(self, prefix: str) -> list[str]:
        """Return the figures whose name begins so and that were measured, in order."""
        return sorted(name for name in self.columns if name.startswith(prefix) and self.has(name))


def read_steps(path: Path) -> StepTable:
    """Read `metrics.jsonl`; of a step that is there twice the later line counts."""
    lines, builder = JsonLines(path), _Builder()
    num_without_step = sum(not builder.add(row) for row in lines)
    return builder.table(lines.num_unreadable + num_without_step)


class _Builder:
    def __init__(self) -> None:
        self._steps = array("q")
        self._columns: dict[str, array[float]] = {}
        self._lags: list[Int64Array] = []
        self._rewards: list[Float64Array] = []
        self._num_groups = array("q")

    def add(self, row: Mapping[str, Any]) -> bool:
        """Take in a line; whether it names its step."""
        step = as_count(row.get("step"))
        if step is None or step >= 1 << 53:
            return False
        position = len(self._steps)
        self._steps.append(step)
        for name, value in row.items():
            number = as_number(value)
            if number is not None:
                self._set(name, position, number)
        lags = [count for value in _listed(row.get("lags")) if (count := as_count(value)) is not None]
        rewards = [
            number for value in _listed(row.get("group_rewards")) if (number := as_number(value)) is not None
        ]
        self._lags.append(np.minimum(np.array(lags, dtype=np.float64), 1 << 20).astype(np.int64))
        self._rewards.append(np.array(rewards, dtype=np.float64))
        self._num_groups.append(len(_listed(row.get("groups"))))
        return True

    def table(self, num_unreadable: int) -> StepTable:
        """Return what was taken in, in the order of the steps."""
        steps = np.array(self._steps, dtype=np.int64)
        # Of equal steps the last: the first of the reversed ones.
        unique, from_end = np.unique(steps[::-1], return_index=True)
        kept = len(steps) - 1 - from_end
        columns = {name: self._filled(values)[kept] for name, values in self._columns.items()}
        return StepTable(
            steps=unique,
            columns={name: values for name, values in columns.items() if not _is_nothing(name, values)},
            lags=[self._lags[row] for row in kept],
            rewards=[self._rewards[row] for row in kept],
            num_groups=sum(self._num_groups[row] for row in kept),
            num_unreadable=num_unreadable,
        )

    def _set(self, name: str, position: int, number: float) -> None:
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) >= MAX_COLUMNS:
                return
            column = self._columns[name] = array("d")
        _extend(column, position)
        column.append(number)

    def _filled(self, column: "array[float]") -> Float64Array:
        _extend(column, len(self._steps))
        return np.array(column, dtype=np.float64)


def _extend(column: "array[float]", length: int) -> None:
    column.extend([float("nan")] * (length - len(column)))


def _is_nothing(name: str, values: Float64Array) -> bool:
    return name in _ZERO_IS_NOTHING and not np.nan_to_num(values).any()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
