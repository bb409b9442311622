"""The figures of `bench metrics` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.metrics_cost import bench_metrics
from pgpo_async.bench.report import figures_table, measure_and_print

NOTE = (
    "Stages that sleep; all else is real. One run,\nin blocks. On: the defaults, a scrape each second,\n"
    "Ray's mirror, TensorBoard."
)


def run_and_print(*, steps: int, blocks: int, path: Path | None) -> None:
    """Measure and report."""
    measure_and_print(lambda say: bench_metrics(steps=steps, blocks=blocks, say=say), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """Two rows and what they differ by."""
    drawn = figures_table("metrics", "median step", "mean", caption=NOTE)
    for name in ("on", "off"):
        median_s, mean_s = figures[f"step_s_{name}"], figures[f"mean_step_s_{name}"]
        drawn.add_row(f"all {name}", f"{median_s:.4f} s", f"{mean_s:.4f} s")
    yield drawn
    error = figures["standard_error"]
    told = f" +- {error:.2%} (standard error)" if error is not None else ""
    yield (
        f"what looking costs: {figures['metrics_overhead']:+.2%} of a step{told}, {figures['blocks']} "
        f"pairs of blocks of {figures['steps']} steps, {figures['scrapes']} scrapes"
    )
