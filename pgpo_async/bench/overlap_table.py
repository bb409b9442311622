"""The figures of `bench overlap` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.overlap import bench_overlap, loads
from pgpo_async.bench.report import figures_table, measure_and_print
from pgpo_async.orchestration.service_times import ServiceTimes

NOTE = (
    "Stages that sleep; real actors, queue, admission, weight turns and loop. generate, score, learn: "
    "seconds that each must work for one step at its parallelism; eff.: the largest of them by the step; "
    "planned: what `pgpo-async plan` expects; waits: share of the time that the learner does; lag: mean, max."
)
HEADINGS = ("generate", "score", "learn", "step", "planned", "eff.", "waits", "lag")


def run_and_print(times: ServiceTimes, *, steps: int, shapes: bool, path: Path | None) -> None:
    """Measure and report."""
    first, *others = loads(times)
    also = tuple(others) if shapes else ()
    measure_and_print(lambda say: bench_overlap(first, steps=steps, say=say, others=also), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """A table of the loads, then what the first of them is compared with."""
    yield table(figures)
    yield (
        f"in turns: {figures['sync_step_s']:.2f} s a step, so {figures['speedup_over_sync']:.2f} x as fast "
        f"asynchronously (the stages' sum by the slowest: {figures['ideal_speedup']:.2f})\n"
        f"without a scorer: {figures['unshaped_step_s']:.3f} s a step, so visual dependency costs "
        f"{figures['dependency_overhead']:+.1%}"
    )


def table(figures: dict[str, Any]) -> Table:
    """A row for each shape of load."""
    drawn = figures_table("load", *HEADINGS, caption=NOTE)
    for row in figures["shapes"]:
        busy = row["busy_per_step_s"]
        drawn.add_row(
            row["name"],
            *(f"{busy[stage]:.2f}" for stage in ("generate", "score", "learn")),
            f"{row['step_s']:.3f}",
            f"{row['predicted_step_s']:.3f}",
            f"{row['overlap_efficiency']:.3f}",
            f"{row['learner_wait_fraction']:.1%}",
            f"{row['lag_mean']:.1f}, {row['lag_max']}",
        )
    return drawn
