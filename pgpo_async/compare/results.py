"""A comparison in numbers: each figure over the seeds of a method, and differences seed by seed.

Owns what may be averaged: runs that finished, the others are named. Called by `report`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pgpo_async.compare.curves import Estimate, RunCurves, estimate
from pgpo_async.compare.figures import FIGURES, seconds_to, steps_to
from pgpo_async.config import CompareConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """When the runs of a method came to the target accuracy.

    No estimate unless all of them did: a mean over the quick ones alone would praise the method.
    """

    estimate: Estimate | None
    num_reached: int
    num_runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodResults:
    """One method. `runs` are those that finished; `figures` lack what no run measured.

    `differences` are to the first method, of the same seed, over the seeds that both finished; none for the
    first method itself.
    """

    method: str
    num_planned: int
    runs: tuple[RunCurves, ...]
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    steps_to_target: Reached | None
    seconds_to_target: Reached | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """The whole comparison; `unfinished` are the runs that are in no mean."""

    name: str
    seeds: tuple[int, ...]
    methods: tuple[MethodResults, ...]
    unfinished: tuple[RunCurves, ...]
    target_accuracy: float | None
    target_given: bool
    """Whether the caller chose the target; or it is the training accuracy that the first method ends with."""

    @property
    def first(self) -> str:
        """The method that the others are compared with."""
        return self.methods[0].method


def results_of(compare: CompareConfig, runs: Sequence[RunCurves]) -> Results:
    """Return the comparison's results; a planned run that `runs` lacks is missing.

    The target is `compare.target_accuracy`; by default the training accuracy over the last quarter of the
    first method's steps, mean over its seeds. Raises ValueError for a run that was
    not planned, or is there twice.
    """
    by_name = _by_name(compare, runs)
    planned = {
        method: [by_name.get((method, seed), RunCurves(method=method, seed=seed)) for seed in compare.seeds]
        for method in compare.methods
    }
    finished = {method: [run for run in runs if run.finished] for method, runs in planned.items()}
    figures = {method: _figures(runs) for method, runs in finished.items()}
    first = next(iter(compare.methods))
    target = compare.target_accuracy
    if target is None and "accuracy_end" in figures[first]:
        target = figures[first]["accuracy_end"].mean
    return Results(
        name=compare.name,
        seeds=tuple(compare.seeds),
        methods=tuple(
            MethodResults(
                method=method,
                num_planned=len(compare.seeds),
                runs=tuple(finished[method]),
                figures=figures[method],
                differences=_differences(finished[method], finished[first]) if method != first else {},
                steps_to_target=_reached(finished[method], steps_to, target),
                seconds_to_target=_reached(finished[method], seconds_to, target),
            )
            for method in compare.methods
        ),
        unfinished=tuple(run for runs in planned.values() for run in runs if not run.finished),
        target_accuracy=target,
        target_given=compare.target_accuracy is not None,
    )


def _by_name(compare: CompareConfig, runs: Sequence[RunCurves]) -> dict[tuple[str, int], RunCurves]:
    by_name: dict[tuple[str, int], RunCurves] = {}
    for run in runs:
        if run.method not in compare.methods or run.seed not in compare.seeds:
            raise ValueError(f"run must be of the comparison, got {run.method!r} with seed {run.seed}")
        if (run.method, run.seed) in by_name:
            raise ValueError(f"run must be there once, got {run.method!r} with seed {run.seed} twice")
        by_name[run.method, run.seed] = run
    return by_name


def _figures(runs: Sequence[RunCurves]) -> dict[str, Estimate]:
    found = {}
    for figure in FIGURES:
        values = [figure.of_run(run) for run in runs]
        over_seeds = estimate([value for value in values if value is not None])
        if over_seeds is not None:
            found[figure.key] = over_seeds
    return found


def _differences(runs: Sequence[RunCurves], first: Sequence[RunCurves]) -> dict[str, Estimate]:
    others = {run.seed: run for run in first}
    found = {}
    for figure in FIGURES:
        if not figure.paired:
            continue
        differences = []
        for run in runs:
            ours = figure.of_run(run)
            theirs = figure.of_run(others[run.seed]) if run.seed in others else None
            if ours is not None and theirs is not None:
                differences.append(ours - theirs)
        over_seeds = estimate(differences)
        if over_seeds is not None:
            found[figure.key] = over_seeds
    return found


def _reached(
    runs: Sequence[RunCurves],
    when: Callable[[RunCurves, float], float | None],
    target: float | None,
) -> Reached | None:
    if target is None:
        return None
    found = [at for run in runs if (at := when(run, target)) is not None]
    return Reached(
        estimate=estimate(found) if len(found) == len(runs) else None,
        num_reached=len(found),
        num_runs=len(runs),
    )
