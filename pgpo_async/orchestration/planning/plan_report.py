"""`pgpo-async plan`: the prediction and the memory as tables, as warning lines and as a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.estimate import Estimate, estimate
from pgpo_async.orchestration.planning.estimate_report import print_memory
from pgpo_async.orchestration.planning.plan_inputs import differences, group_size, model_size, service_times
from pgpo_async.orchestration.planning.plan_split import Split
from pgpo_async.orchestration.planning.planner import Plan, make_plan
from pgpo_async.orchestration.planning.units import in_bytes, in_seconds
from pgpo_async.orchestration.planning.workload import StatedTokens
from pgpo_async.orchestration.service_times import ServiceTimes

_MAIN_TIMES = ("generate_s", "score_s", "learn_s")


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
    gpu: str,
    tokens: StatedTokens,
) -> None:
    """Predict, print the tables and the warnings, write the figures.

    Raises ConfigError for what must be given and is not, a config whose run would stand still, or a file that
    could not be written.
    """
    issues: list[str] = []
    found = None
    if path is not None and not path.parent.is_dir():
        issues.append(f"--json: the folder {path.parent} must exist")
    try:
        found = estimate(config, gpu=gpu, tokens=tokens)
        times = service_times(config, stated, run, _estimated_times(config, stated, run, found))
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
        estimate=found,
    )
    if path is not None:
        path.write_text(json.dumps(plan.as_json(), indent=2) + "\n")
    _print(plan, found)


def _estimated_times(
    config: RunConfig, stated: Mapping[str, float | None], run: Path | None, found: Estimate | None
) -> ServiceTimes | None:
    """The estimated times where they are needed: all that is measured or stated is taken without them."""
    main = _MAIN_TIMES if config.uses_scorers else ("generate_s", "learn_s")
    if run is not None or found is None or all(stated.get(name) is not None for name in main):
        return None
    return found.stages.times if found.stages is not None else None


def _print(plan: Plan, found: Estimate | None) -> None:
    console = Console()
    console.print(table(plan))
    if plan.splits:
        console.print(split_table(plan.splits))
    print_memory(console, plan.config, found, plan.memory)
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
    drawn.add_row("step", in_seconds(result.step_s))
    drawn.add_row("rollouts trained per second", f"{plan.rollouts_per_s:,.1f}")
    for stage, share in result.busy_share.items():
        drawn.add_row(f"busy: {stage}", f"{in_seconds(result.busy_s[stage])} of a step ({share:.0%})")
    drawn.add_row("overlap efficiency", f"{result.overlap_efficiency:.3f}")
    drawn.add_row("learner wait fraction", f"{result.learner_wait_fraction:.3f}")
    drawn.add_row("longest wait for a batch", in_seconds(result.longest_wait_s))
    drawn.add_section()
    lags = ", ".join(f"{lag}: {num}" for lag, num in result.lag_histogram.items())
    drawn.add_row(
        f"lag (at most {plan.config.max_lag})", f"mean {result.lag_mean:.2f}; groups by lag: {lags}"
    )
    drawn.add_row("admission slots held", f"{result.most_groups_held} of {plan.config.max_slots} at most")
    drawn.add_section()
    drawn.add_row("one group", f"{in_bytes(memory.group_bytes)} ({plan.group.how})")
    drawn.add_row("one version of the weights", f"{in_bytes(memory.model_bytes)} ({plan.model.how})")
    return drawn


def split_table(splits: Sequence[Split]) -> Table:
    """Return the best splits, best first."""
    drawn = Table(title="best splits", title_justify="left")
    for name in ("generators", "scorers", "learner ranks", "GPUs", "slowest stage alone", "step"):
        drawn.add_column(name, justify="right")
    for split in splits:
        replicas = (str(split.generator), str(split.scorer), str(split.learner))
        drawn.add_row(*replicas, f"{split.gpus:g}", in_seconds(split.slowest_s), in_seconds(split.step_s))
    return drawn
