"""Numbers of one run: what a row of the comparison's table is made of.

Owns each figure's definition, name and unit. Called by `results`, which takes them over seeds.

"At the end" is the mean over the last quarter of the steps: a single step is of few prompts. A geometric mean
is over what spans powers of ten.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgpo_async.compare.curves import RunCurves, as_number

LAST_PART = 4
"""The end of a run is its last quarter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A row of the table: `key` in results.json, `label` for readers, `form` of its numbers."""

    key: str
    label: str
    form: str
    of_run: Callable[[RunCurves], float | None]
    paired: bool = False
    """Whether differences to the first method are told, seed by seed."""


def _from_summary(key: str) -> Callable[[RunCurves], float | None]:
    return lambda run: as_number(run.summary.get(key))


def _over_steps(
    mean: Callable[[Sequence[float]], float | None], name: str
) -> Callable[[RunCurves], float | None]:
    return lambda run: mean([value for _, value in run.points(name)])


def _at_end(name: str) -> Callable[[RunCurves], float | None]:
    return lambda run: end_mean(run, name)


def end_mean(run: RunCurves, name: str) -> float | None:
    """Return the mean of a figure over the last quarter of the run's steps (rounded up)."""
    last = set(run.steps[-math.ceil(len(run.steps) / LAST_PART) :]) if run.steps else set()
    return mean([value for step, value in run.points(name) if step in last])


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return exp of the mean logarithm of the positive values; None if there are none."""
    found = mean([math.log(value) for value in values if value > 0])
    return None if found is None else math.exp(found)


def variance_ratio(run: RunCurves) -> list[tuple[int, float]]:
    """Return the gradient's variance by that without shaping, at the steps that have both."""
    return _by_unshaped(run, "learner/grad_variance")


def _by_unshaped(run: RunCurves, name: str) -> list[tuple[int, float]]:
    shaped, plain = run.values(name), run.values(f"{name}_unshaped")
    return [
        (step, above / below)
        for step, above, below in zip(run.steps, shaped, plain, strict=True)
        if above is not None and below is not None and above > 0 and below > 0
    ]


def steps_to(run: RunCurves, accuracy: float) -> float | None:
    """Return the first step whose smoothed accuracy is at least `accuracy`; None if it never is."""
    return next((float(step) for step, value in run.smoothed_accuracy() if value >= accuracy), None)


def seconds_to(run: RunCurves, accuracy: float) -> float | None:
    """Return the seconds of training until the step of `steps_to` had ended; None if it never did."""
    step = steps_to(run, accuracy)
    return None if step is None else run.elapsed_s().get(int(step))


FIGURES = (
    Figure(
        key="accuracy_before",
        label="held-out accuracy before",
        form=".3f",
        of_run=_from_summary("accuracy_before"),
    ),
    Figure(
        key="accuracy_after",
        label="held-out accuracy after",
        form=".3f",
        of_run=_from_summary("accuracy_after"),
        paired=True,
    ),
    Figure(
        key="accuracy_end",
        label="training accuracy, last quarter of steps",
        form=".3f",
        of_run=_at_end("accuracy"),
        paired=True,
    ),
    Figure(
        key="accuracy_area",
        label="training accuracy, mean over all steps",
        form=".3f",
        of_run=_over_steps(mean, "accuracy"),
        paired=True,
    ),
    Figure(key="train_s", label="wall time of training (s)", form=".1f", of_run=_from_summary("train_s")),
    Figure(
        key="entropy_end",
        label="entropy at the end (nats)",
        form=".3f",
        of_run=_at_end("learner/entropy"),
    ),
    Figure(
        key="grad_variance",
        label="gradient variance, geometric mean",
        form=".2e",
        of_run=_over_steps(geometric_mean, "learner/grad_variance"),
    ),
    Figure(
        key="grad_variance_ratio",
        label="gradient variance by unshaped, geometric mean",
        form=".3f",
        of_run=lambda run: geometric_mean(value for _, value in variance_ratio(run)),
    ),
    Figure(
        key="grad_snr",
        label="gradient signal to noise, geometric mean",
        form=".3f",
        of_run=_over_steps(geometric_mean, "learner/grad_snr"),
    ),
    Figure(
        key="grad_snr_ratio",
        label="gradient signal to noise by unshaped, geometric mean",
        form=".3f",
        of_run=lambda run: geometric_mean(value for _, value in _by_unshaped(run, "learner/grad_snr")),
    ),
    Figure(
        key="weight_max",
        label="largest token weight",
        form=".2f",
        of_run=_over_steps(lambda values: max(values, default=None), "learner/weight_max"),
    ),
    Figure(
        key="advantage_top_share",
        label="advantage on the 10 % most dependent tokens",
        form=".3f",
        of_run=_over_steps(mean, "learner/advantage_top_share"),
    ),
    Figure(
        key="dependency_end",
        label="visual dependency at the end",
        form=".3f",
        of_run=_at_end("learner/dependency_mean"),
    ),
)
"""In the order of the table. `steps_to` and `seconds_to` need an accuracy that the results choose."""
