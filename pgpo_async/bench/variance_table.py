"""The figures of `bench variance` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.report import figures_table, measure_and_print
from pgpo_async.bench.variance import bench_variance

NOTE = (
    "variance: trace of the covariance of the batch's gradient, by that without shaping; SNR: the "
    "gradient's squared norm by its variance; both over all weights, and the final norm's alone. w: the "
    "token weights, of mean 1 where the mass is kept."
)


def run_and_print(*, num_prompts: int, group_size: int, seed: int, path: Path | None) -> None:
    """Measure and report."""
    measure_and_print(
        lambda say: bench_variance(num_prompts=num_prompts, group_size=group_size, seed=seed, say=say),
        show,
        path,
    )


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """The batch in a line, then a table."""
    yield (
        f"{figures['model']}: {figures['num_responses']} responses, {figures['num_tokens']:,} tokens, "
        f"accuracy {figures['accuracy']:.3f}, {figures['num_groups_without_signal']} groups without signal "
        "left out"
    )
    yield table(figures)


def table(figures: dict[str, Any]) -> Table:
    """A row for each method."""
    headings = ("variance", "final norm", "SNR", "final norm", "max w", "mean w", "mean w^2")
    drawn = figures_table("method", *headings, caption=NOTE)
    for row in figures["methods"]:
        drawn.add_row(
            row["method"],
            f"{row['variance_ratio']:.3g}",
            f"{row['final_norm_variance_ratio']:.3g}",
            f"{row['signal_to_noise']:.3f}",
            f"{row['final_norm_signal_to_noise']:.3f}",
            f"{row['weight_max']:.1f}",
            f"{row['weight_mean']:.2f}",
            f"{row['weight_square_mean']:.1f}",
        )
    return drawn
