"""The figures of `bench loop` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.loop import bench_loop
from pgpo_async.bench.report import figures_table, measure_and_print
from pgpo_async.config.schema import RunConfig


def run_and_print(config: RunConfig, *, steps: int, peer: str, path: Path | None) -> None:
    """Measure and report. Raises ConfigError for what cannot be measured here."""
    measure_and_print(lambda say: bench_loop(config, steps=steps, peer=peer, say=say), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """The pace of each trainer, then where our CPU time goes."""
    yield _pace(figures)
    yield (
        f"ours: {figures['num_steps']} steps; the learner waits {figures['learner_wait_fraction']:.1%} of "
        f"the time, mean lag {figures['lag_mean']:.2f}"
    )
    if "peer" in figures:
        before_s, after_s = figures["peer"]["steps_s"]
        name = figures["peer"]["name"]
        yield f"{name} before and after: {before_s:.2f} s, {after_s:.2f} s a step; the better counts"
    yield _cpu(figures)
    cpu_s, num_cpus = sum(figures["cpu_s_per_step"].values()), figures["num_cpus"]
    yield (
        f"CPU seconds a step of all processes on this machine, {num_cpus} cores: "
        f"{cpu_s / (num_cpus * figures['step_s']):.0%} of their time. Scoring, which is what visual "
        f"dependency costs, is {figures['scorer_cpu_share']:.1%} of it."
    )


def _pace(figures: dict[str, Any]) -> Table:
    drawn = figures_table("trainer", "rollouts/s", "step", "response tokens", "ratio")
    rows = [("pgpo_async", figures["step_s"], figures["response_tokens"], "")]
    if "peer" in figures:
        peer = figures["peer"]
        rows[0] = (*rows[0][:3], f"{figures['rollouts_ratio']:.2f}")
        name = f"{peer['name']}, micro-batch {peer['micro_batch']}"
        rows.append((name, peer["step_s"], peer["response_tokens"], "1"))
    for name, step_s, tokens, ratio in rows:
        pace = figures["rollouts_per_step"] / step_s
        drawn.add_row(name, f"{pace:.1f}", f"{step_s:.2f} s", f"{tokens:.1f}", ratio)
    return drawn


def _cpu(figures: dict[str, Any]) -> Table:
    cpu_s = figures["cpu_s_per_step"]
    total = sum(cpu_s.values())
    drawn = figures_table("role", "CPU s a step", "share")
    for role, seconds in sorted(cpu_s.items(), key=lambda item: -item[1]):
        drawn.add_row(role, f"{seconds:.3f}", f"{seconds / total:.1%}")
    return drawn
