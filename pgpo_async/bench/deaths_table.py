"""The figures of `bench deaths` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.deaths import bench_deaths
from pgpo_async.bench.report import figures_table, measure_and_print, told_books
from pgpo_async.config.schema import RunConfig

NOTE = (
    "SIGKILL each. noticed: seconds until the run's events tell of it; recovered: until they tell that "
    "another process is at work in its place."
)


def run_and_print(config: RunConfig, *, path: Path | None) -> None:
    """Run and report."""
    measure_and_print(lambda say: bench_deaths(config, say=say), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """A row for each death, then how the run ended."""
    drawn = figures_table("killed", "after step", "noticed", "recovered", caption=NOTE)
    for row in figures["deaths"]:
        drawn.add_row(
            row["role"], str(row["after_step"]), f"{row['detect_s']:.1f} s", f"{row['recover_s']:.1f} s"
        )
    yield drawn
    # A config may ask no held-out prompts.
    before, after = (
        "not asked" if value is None else f"{value:.3f}"
        for value in (figures["accuracy_before"], figures["accuracy_after"])
    )
    yield (
        f"{figures['status']}: {figures['steps']} steps on {figures['ranks']} learner ranks in "
        f"{figures['wall_s']:.0f} s; held-out accuracy {before} -> {after}\n"
        f"prompts: {told_books(figures['accounting'])}; the books add up: {figures['accounting_balanced']}\n"
        f"lag: at most {figures['lag_max']} ({figures['lag_max_allowed']} allowed); left behind: "
        f"{', '.join(figures['left_behind']) or 'nothing'}"
    )
