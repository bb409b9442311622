"""What a run came to, in rows of a name and a value: held-out accuracy and the ends of its curves.

Owns the intervals. Called by `card`.
"""

import math
from collections.abc import Iterator

import numpy as np

from pgpo_async.export.recipe import Row
from pgpo_async.export.source import Source
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_count, as_number

NORMAL_95 = 1.96
"""Standard errors to each side of a mean."""
MOST_STEPS = 5
"""At an end of a curve, averaged."""

CURVES = (
    ("reward", "reward of all responses generated"),
    ("accuracy", "their accuracy"),
    ("learner/response_tokens_mean", "tokens of a response trained on"),
    ("learner/dependency_mean", "visual dependency of a token"),
)


def accuracy_rows(source: Source) -> Iterator[Row]:
    """Iterate held-out accuracy; what was measured after the run's end is not told of a checkpoint."""
    for when in ("before",) if source.checkpoint is not None else ("before", "after"):
        mean = as_number(source.run.summary.get(f"accuracy_{when}"))
        yield (
            f"held-out accuracy {when} training",
            "not measured" if mean is None else _estimate(source.run, when, mean),
        )
    if source.checkpoint is not None and source.checkpoint.value is not None:
        yield "accuracy of the responses generated before this checkpoint", f"{source.checkpoint.value:.3f}"


def curve_rows(source: Source) -> Iterator[tuple[str, str, str]]:
    """Iterate curves with the means of their first and of their last steps."""
    steps = source.run.steps
    seen = steps.steps <= source.num_steps
    num = num_averaged(int(seen.sum()))
    for key, name in CURVES:
        values = steps.column(key)[seen]
        first, last = values[:num], values[-num:]
        if np.isfinite(first).any() and np.isfinite(last).any():
            yield name, f"{np.nanmean(first):.4g}", f"{np.nanmean(last):.4g}"


def num_averaged(num_steps: int) -> int:
    """Return how many steps at each end of a curve are averaged: never one step at both."""
    return max(1, min(MOST_STEPS, num_steps // 2))


def interval(mean: float, *, standard_error: float | None, num_prompts: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean over prompts whose values lie in 0 to 1.

    Without a standard error Wilson's for answers that are right or wrong: no such values spread more.
    """
    if standard_error is not None:
        low, high = mean - NORMAL_95 * standard_error, mean + NORMAL_95 * standard_error
    else:
        square = NORMAL_95**2 / num_prompts
        centre = (mean + square / 2) / (1 + square)
        half = math.sqrt(square * (mean * (1 - mean) + square / 4)) / (1 + square)
        low, high = centre - half, centre + half
    return max(0.0, low), min(1.0, high)


def _estimate(run: RunData, when: str, mean: float) -> str:
    standard_error = as_number(run.summary.get(f"accuracy_{when}_standard_error"))
    num_prompts = as_count(run.setting("evaluation.num_prompts"))
    answers = as_count(run.setting("evaluation.samples_per_prompt"))
    if not num_prompts or not 0.0 <= mean <= 1.0:
        return f"{mean:.3f}"
    low, high = interval(mean, standard_error=standard_error, num_prompts=num_prompts)
    kind = "95 % interval" if standard_error is not None else "95 % interval within"
    asked = f"{num_prompts:,} prompts" + (f", {answers} answers each" if answers else "")
    return f"{mean:.3f} ({kind} {low:.3f} to {high:.3f}; {asked})"
