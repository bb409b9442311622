"""The figures of `bench queue` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.queue_bench import bench_queue
from pgpo_async.bench.report import figures_table, measure_and_print

NOTE = (
    "own: memory of the queue's process (of ray.util.queue's two) less shared pages, with {depth} groups "
    "held, half of them scored. Shared are libraries and the object store: the replay queue keeps its groups "
    "there, one copy for all processes, ray.util.queue in its own memory. resident: with shared pages. "
    "Rates: medians of {turns} turns."
)


def run_and_print(*, num_groups: int, group_bytes: int, depth: int, repeats: int, path: Path | None) -> None:
    """Measure and report. Raises ConfigError for sizes that cannot be measured."""
    measure_and_print(
        lambda say: bench_queue(
            num_groups=num_groups, group_bytes=group_bytes, depth=depth, repeats=repeats, say=say
        ),
        show,
        path,
    )


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """What was sent, then a table."""
    yield (
        f"{figures['groups']:,} groups of {figures['group_bytes']:,} bytes, {figures['in_flight']} in flight,"
        " from a generator's process through a scorer's to a learner's"
    )
    yield table(figures)


def table(figures: dict[str, Any]) -> Table:
    """A row for each queue, then their ratio."""
    note = NOTE.format(depth=figures["depth"], turns=len(figures["seconds"]))
    headings = ("groups/s", "MB/s", "own MB", "store MB", "resident MB")
    drawn = figures_table("queue", *headings, caption=note)
    for name, prefix in (("replay queue", ""), ("ray.util.queue", "ray_queue_")):
        drawn.add_row(
            name,
            f"{figures[f'{prefix}groups_per_s']:.1f}",
            _megabytes(figures[f"{prefix}bytes_per_s"]),
            _megabytes(figures[f"{prefix}rss_bytes"]),
            "" if prefix else _megabytes(figures["store_bytes"]),
            _megabytes(figures[f"{prefix}plain_rss_bytes"]),
        )
    rate = figures["groups_per_s"] / figures["ray_queue_groups_per_s"]
    memory = figures["rss_bytes"] / figures["ray_queue_rss_bytes"]
    drawn.add_row("ratio", f"{rate:.2f}", f"{rate:.2f}", f"{memory:.2f}", "", "")
    return drawn


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.1f}"
