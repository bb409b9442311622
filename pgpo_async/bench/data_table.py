"""The figures of `bench data` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.data import bench_data
from pgpo_async.bench.report import figures_table, measure_and_print


def run_and_print(*, rows: int, width: int, height: int, threads: int, path: Path | None) -> None:
    """Measure and report."""
    measure_and_print(
        lambda say: bench_data(rows=rows, width=width, height=height, threads=threads, say=say), show, path
    )


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """What was read, and how fast."""
    yield (
        f"{figures['rows']:,} rows, a JPEG of {figures['width']} x {figures['height']} each "
        f"({figures['image_tokens']} image tokens), {figures['file_bytes'] / 1e6:.0f} MB of Parquet, "
        f"opened in {figures['open_s']:.2f} s"
    )
    drawn = figures_table("stage", "a second")
    drawn.add_row("drawn in shuffled order and decoded once, one thread", f"{figures['rows_per_s']:.0f} rows")
    drawn.add_row("decoded and cut into patches, one thread", f"{figures['images_per_s']:.0f} images")
    drawn.add_row(
        f"decoded and cut into patches, {figures['threads']} threads",
        f"{figures['images_per_s_threads']:.0f} images",
    )
    yield drawn
