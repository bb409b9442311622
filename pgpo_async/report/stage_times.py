"""What the stages did over wall time: busy shares, the learner's waits, the queue, in pieces of time.

Owns the figures behind the stage timeline, from step lines of this version and of older ones. Drawn by
`stage_timeline`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_events import MARKED
from pgpo_async.report.run_files import as_mapping, as_number
from pgpo_async.report.step_table import Float64Array, Int64Array, StepTable

LONG_START = 0.15
"""Of the run's time, before the first step."""

MAX_PIECES = 240
"""Of the wall time; steps are joined beyond it."""

QUEUE_STATES = {
    "reserved": "being generated",
    "generated": "waiting for a scorer",
    "scoring": "being scored",
    "scored": "waiting for the learner",
    "training": "in training",
}
"""Of groups, in the order in which one has them, with their names for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure over time: float64 [pieces], NaN where it was not measured; `mean` over all of training."""

    key: str
    label: str
    values: Float64Array
    mean: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """Times of pieces of the run, seconds since its start, and what was measured in each."""

    starts_s: Float64Array
    ends_s: Float64Array
    steps: Sequence[tuple[int, int]]
    busy: Sequence[Row]
    queue: Sequence[Row]
    bytes: Sequence[Row]
    begin_s: float
    """Where the picture begins: with the run, or, where the start took long and nothing happened, later."""
    end_s: float


def pieces_of(run: RunData) -> Pieces | None:
    """Return the run's pieces in the order of time; None where no step has a time."""
    table = run.steps
    began_s, times, lengths = run.began_s, table.column("time_s"), table.column("step_s")
    usable = np.flatnonzero(np.isfinite(times) & np.isfinite(lengths) & (lengths >= 0))
    if began_s is None or not len(usable):
        return None
    order = usable[np.argsort(times[usable], kind="stable")]
    edges = _edges(times[order])
    first, last = order[edges[:-1]], order[edges[1:] - 1]
    weights = np.maximum(lengths[order], 1e-9)

    def row(key: str, label: str, values: Float64Array, mean: float | None = None) -> Row | None:
        chosen = values[order]
        known = np.isfinite(chosen)
        if not known.any():
            return None
        mass = np.where(known, weights, 0.0)
        sums = np.add.reduceat(np.where(known, chosen, 0.0) * mass, edges[:-1])
        masses = np.add.reduceat(mass, edges[:-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            pieces = np.where(masses > 0, sums / masses, np.nan)
        whole = float(np.nansum(np.where(known, chosen, 0.0) * mass) / mass.sum())
        return Row(key=key, label=label, values=pieces, mean=whole if mean is None else mean)

    busy = [row(key, label, values, _told(run, key)) for key, label, values in _stages(table)]
    queue = [row(key, label, table.column(f"pipeline/queue_{key}")) for key, label in QUEUE_STATES.items()]
    in_bytes = [row("bytes", "bytes in the queue", table.column("pipeline/queue_bytes"))]
    ends_s = times[last] - began_s
    starts_s = np.maximum(times[first] - lengths[first] - began_s, 0.0)
    end_s = max(float(ends_s.max()), (run.ended_s or began_s) - began_s, 1e-3)
    begin_s = _begin_s(run, float(starts_s.min()), end_s)
    return Pieces(
        starts_s=starts_s,
        ends_s=ends_s,
        steps=list(zip(table.steps[first].tolist(), table.steps[last].tolist(), strict=True)),
        busy=[found for found in busy if found is not None],
        queue=[found for found in queue if found is not None],
        bytes=[found for found in in_bytes if found is not None],
        begin_s=begin_s,
        end_s=end_s,
    )


def _edges(times: Float64Array) -> Int64Array:
    """Where pieces begin, and the end: a step each, or the steps that ended in the same part of the time.

    Not so many steps each: a piece would then reach over a pause between two starts of a run.
    """
    if len(times) <= MAX_PIECES:
        return np.arange(len(times) + 1)
    parts = np.floor((times - times[0]) / max(times[-1] - times[0], 1e-9) * MAX_PIECES)
    return np.concatenate([[0], np.flatnonzero(np.diff(parts)) + 1, [len(times)]])


def _begin_s(run: RunData, first_s: float, end_s: float) -> float:
    """The start of a run may take longer than its steps; it is shown where something went wrong in it."""
    began_s = run.began_s or 0.0
    marked = any(
        event.time_s is not None and event.time_s - began_s < first_s
        for event in run.events
        if event.kind in MARKED
    )
    return 0.0 if marked or first_s < LONG_START * end_s else first_s - 0.02 * (end_s - first_s)


def _stages(table: StepTable) -> list[tuple[str, str, Float64Array]]:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.where(table.column("step_s") > 0, table.column("step_s"), np.nan)
        waits = table.column("learner_wait_s") / lengths
        learn = table.column("learner/busy_s") / lengths
    # The learner's own clock is of the very step.
    if not table.has("learner/busy_s"):
        learn = table.column("pipeline/busy_learn")
    stages = [
        ("generate", "generators busy", table.column("pipeline/busy_generate")),
        ("score", "scorers busy", table.column("pipeline/busy_score")),
        ("learn", "learner busy", learn),
        ("wait", "learner waits", waits),
    ]
    return [(key, label, np.clip(values, 0.0, 1.0)) for key, label, values in stages]


def _told(run: RunData, key: str) -> float | None:
    """The summary's mean: of all processes' own clocks, where there is one."""
    train_s = as_number(run.summary.get("train_s"))
    busy_s = as_number(as_mapping(run.summary.get("busy_s")).get(key))
    return busy_s / train_s if train_s and busy_s is not None and train_s > 0 else None
