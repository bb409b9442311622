"""The figures of `bench metrics` and `bench evaluation` as tables. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.evaluation_cost import bench_evaluation
from pgpo_async.bench.metrics_cost import bench_metrics
from pgpo_async.bench.report import figures_table, measure_and_print

METRICS = (
    "Stages that sleep; all else is real. One run,\nin blocks. On: the defaults, a scrape each second,\n"
    "Ray's mirror, TensorBoard."
)
EVALUATION = (
    "Stages that sleep, those that evaluate, too;\nall else is real. One run, in blocks.\n"
    "On: one evaluation after another."
)


def print_metrics(*, steps: int, blocks: int, path: Path | None) -> None:
    """Measure what looking costs, and report."""
    measure_and_print(lambda say: bench_metrics(steps=steps, blocks=blocks, say=say), _metrics, path)


def print_evaluation(*, steps: int, blocks: int, path: Path | None) -> None:
    """Measure what evaluating costs, and report."""
    measure_and_print(lambda say: bench_evaluation(steps=steps, blocks=blocks, say=say), _evaluation, path)


def _metrics(figures: dict[str, Any]) -> Iterator[str | Table]:
    yield _table("metrics", METRICS, figures)
    yield f"what looking costs: {_cost('metrics_overhead', figures)}, {figures['scrapes']} scrapes"


def _evaluation(figures: dict[str, Any]) -> Iterator[str | Table]:
    yield _table("evaluation", EVALUATION, figures)
    yield (
        f"what evaluating costs: {_cost('evaluation_overhead', figures)}, {figures['evaluations']} "
        f"evaluations of {figures['evaluation_s']:.2f} s"
    )


def _table(name: str, note: str, figures: dict[str, Any]) -> Table:
    drawn = figures_table(name, "median step", "mean", caption=note)
    for state in ("on", "off"):
        median_s, mean_s = figures[f"step_s_{state}"], figures[f"mean_step_s_{state}"]
        drawn.add_row(state, f"{median_s:.4f} s", f"{mean_s:.4f} s")
    return drawn


def _cost(name: str, figures: dict[str, Any]) -> str:
    error = figures["standard_error"]
    told = f" +- {error:.2%} (standard error)" if error is not None else ""
    how = f"{figures['blocks']} pairs of blocks of {figures['steps']} steps"
    return f"{figures[name]:+.2%} of a step{told}, {how}"
