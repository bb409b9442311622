"""The figures of `bench chaos` as a table. Called by the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.chaos import bench_chaos
from pgpo_async.bench.report import figures_table, measure_and_print, told_books
from pgpo_async.contracts import ConfigError

NOTE = (
    "Stages that sleep; real Ray nodes, queue, journal, store, admission, supervision, checkpoints, resumes. "
    "recovered: seconds until as many of a role are at work again, detection included (a driver: until the "
    "next step)."
)


def run_and_print(
    *, kills: int, seed: int, steps: int, targets: Sequence[str], keep: Path | None, path: Path | None
) -> None:
    """Run and report. Raises ConfigError for what cannot be run, SystemExit(1) if something does not hold."""
    found: dict[str, Any] = {}

    def measure(say: Any) -> dict[str, Any]:
        found.update(bench_chaos(kills=kills, seed=seed, steps=steps, say=say, targets=targets, keep=keep))
        return found

    try:
        measure_and_print(measure, show, path)
    except ValueError as error:
        raise ConfigError(f"bench chaos: {error}") from error
    if found["problems"]:
        raise SystemExit(1)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """A table of the roles, then what holds."""
    drawn = figures_table("struck", "times", "recovered: median", "longest", caption=NOTE)
    for target, count in sorted(figures["struck"].items(), key=lambda item: -item[1]):
        times = [figures[name].get(target) for name in ("recover_s", "recover_max_s")]
        drawn.add_row(target, str(count), *("" if time is None else f"{time:.1f} s" for time in times))
    yield drawn
    signals = ", ".join(f"{count} {name}" for name, count in sorted(figures["signals"].items()))
    yield (
        f"{figures['kills']} blows ({signals}) in {figures['wall_s']:.0f} s, seed {figures['seed']}; longest "
        f"pause between two steps: {figures['longest_pause_s']:.0f} s; ended by itself and was resumed: "
        f"{figures['ended_by_itself']} times\n"
        f"prompts: {told_books(figures['accounting'])}; accounted for exactly once: {figures['accounted']}\n"
        f"lag: at most {figures['max_lag_seen']} ({figures['max_lag_allowed']} allowed); steps done again "
        f"after a checkpoint: {figures['rolled_back_steps']}; groups that trained twice otherwise: "
        f"{figures['repeated_groups']}"
    )
    for problem in figures["problems"]:
        yield f"does not hold: {problem}"
