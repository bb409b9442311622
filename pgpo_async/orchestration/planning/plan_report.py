"""`pgpo-async plan`: the prediction as a table, as warning lines and as a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.plan_inputs import differences, group_size, model_size, service_times
from pgpo_async.orchestration.planning.plan_split import Split
from pgpo_async.orchestration.planning.planner import Plan, make_plan


def plan_and_print(
    config: RunConfig,
    *,
    stated: Mapping[str, float | None],
    run: Path | None,
    group_bytes: int | None,
    model_bytes: int | None,
    parameters: float | None,
    num_gpus: int | None,
    seed: int,
    path: Path | None,
) -> None:
    """Predict, print the table and the warnings, write the figures.

    Raises ConfigError for what must be given and is not, a config whose run would stand still, or a file that
    could not be written.
    """
    issues: list[str] = []
    if path is not None and not path.parent.is_dir():
        issues.append(f"--json: the folder {path.parent} must exist")
    try:
        times = service_times(config, stated, run)
    except ConfigError as error:
        issues += error.issues
    try:
        model = model_size(config, model_bytes, parameters)
    except ConfigError as error:
        issues += error.issues
    if issues:
        raise ConfigError(issues)
    plan = make_plan(
        config,
        times,
        group=group_size(config, group_bytes),
        model=model,
        num_gpus=num_gpus,
        seed=seed,
        notes=differences(config, run) if run is not None else (),
    )
    if path is not None:
        path.write_text(json.dumps(plan.as_json(), indent=2) + "\n")
    console = Console()
    console.print(table(plan))
    if plan.splits:
        console.print(split_table(plan.splits))
    for warning in plan.warnings:
        console.print(f"warning: {warning}", soft_wrap=True, highlight=False, markup=False)


def table(plan: Plan) -> Table:
    """Return the prediction."""
    result, memory = plan.result, plan.memory
    drawn = Table(
        title=f"plan of {plan.config.name}: {result.num_steps} steps simulated",
        title_justify="left",
        show_header=False,
    )
    drawn.add_row("step", _s(result.step_s))
    drawn.add_row("rollouts trained per second", f"{plan.rollouts_per_s:,.1f}")
    for stage, share in result.busy_share.items():
        drawn.add_row(f"busy: {stage}", f"{_s(result.busy_s[stage])} of a step ({share:.0%})")
    drawn.add_row("overlap efficiency", f"{result.overlap_efficiency:.3f}")
    drawn.add_row("learner wait fraction", f"{result.learner_wait_fraction:.3f}")
    drawn.add_row("longest wait for a batch", _s(result.longest_wait_s))
    drawn.add_section()
    lags = ", ".join(f"{lag}: {num}" for lag, num in result.lag_histogram.items())
    drawn.add_row(
        f"lag (at most {plan.config.max_lag})", f"mean {result.lag_mean:.2f}; groups by lag: {lags}"
    )
    drawn.add_row("admission slots held", f"{result.most_groups_held} of {plan.config.max_slots} at most")
    drawn.add_section()
    drawn.add_row("one group", f"{_bytes(memory.group_bytes)} ({plan.group.how})")
    drawn.add_row("one version of the weights", f"{_bytes(memory.model_bytes)} ({plan.model.how})")
    drawn.add_row("/dev/shm of each node", f"{_bytes(memory.staged_bytes)} of staged weights")
    drawn.add_row("learner's first rank", f"{_bytes(memory.snapshot_bytes)} of snapshots being published")
    parts = f"{_bytes(memory.queue_bytes)} of groups, {_bytes(memory.weight_store_bytes)} of weights"
    drawn.add_row("object store", f"{_bytes(memory.object_store_bytes)}: {parts}")
    return drawn


def split_table(splits: Sequence[Split]) -> Table:
    """Return the best splits, best first."""
    drawn = Table(title="best splits", title_justify="left")
    for name in ("generators", "scorers", "learner ranks", "GPUs", "slowest stage alone", "step"):
        drawn.add_column(name, justify="right")
    for split in splits:
        replicas = (str(split.generator), str(split.scorer), str(split.learner))
        drawn.add_row(*replicas, f"{split.gpus:g}", _s(split.slowest_s), _s(split.step_s))
    return drawn


def _s(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"


def _bytes(num_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.3g} {unit}" if unit != "bytes" else f"{num_bytes:.0f} bytes"
        num_bytes /= 1024
    return f"{num_bytes:.3g} TiB"
