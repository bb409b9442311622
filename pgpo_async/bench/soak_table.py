"""The figures of `bench soak` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.report import figures_table, measure_and_print
from pgpo_async.bench.soak import bench_soak

NOTE = "Stages that sleep; all else is real. Medians over a tenth of the run; growth: from middle to end."


def run_and_print(*, groups: int, path: Path | None) -> None:
    """Run and report."""
    measure_and_print(lambda say: bench_soak(groups=groups, say=say), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """A row for each figure that was watched."""
    drawn = figures_table("figure", "first quarter", "middle", "end", "growth", caption=NOTE)
    for name, row in sorted(figures["figures"].items()):
        scale, form = (2**20, "{:.1f} MiB") if name.endswith("_bytes") else (1, "{:.0f}")
        told = (form.format(row[when] / scale) for when in ("quarter", "middle", "end"))
        drawn.add_row(name.removesuffix("_bytes").replace("_", " "), *told, f"{row['growth']:+.1%}")
    yield drawn
    yield (
        f"{figures['groups']} groups in {figures['steps']} steps, {figures['wall_s']:.0f} s; accounting adds "
        f"up: {figures['accounting_balanced']}"
    )
