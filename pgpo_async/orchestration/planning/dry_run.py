"""What `launch --dry-run` tells besides the placement: memory by role, and the step time that follows.

The same figures as `plan` prints for the GPU that is taken where none is named. A model of unknown size is no
error here: what can be told is told.
"""

from rich.console import Console

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.estimate import Estimate, estimate
from pgpo_async.orchestration.planning.estimate_report import print_memory
from pgpo_async.orchestration.planning.peak_memory import planned_memory
from pgpo_async.orchestration.planning.plan_inputs import group_size, model_size
from pgpo_async.orchestration.planning.planner import make_plan
from pgpo_async.orchestration.planning.units import in_seconds


def print_expectations(config: RunConfig, console: Console) -> None:
    """Print memory, expected step time and assumptions."""
    found = estimate(config)
    print_memory(console, config, found, planned_memory(config))
    for line in _pace(config, found):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _pace(config: RunConfig, found: Estimate | None) -> list[str]:
    if found is None or found.stages is None:
        problems = [f"warning: {problem}" for problem in found.problems] if found is not None else []
        return [*problems, "expected step: not estimated; `pgpo-async plan` predicts it from stated times"]
    try:
        plan = make_plan(
            config,
            found.stages.times,
            group=group_size(config, None),
            model=model_size(config, None, None),
            estimate=found,
        )
    except ConfigError as error:
        return [f"warning: {issue}" for issue in error.issues]
    busy = ", ".join(f"{stage} {in_seconds(s)}" for stage, s in plan.result.busy_s.items())
    return [
        f"expected step on {found.gpu.name}: {in_seconds(plan.result.step_s)} (busy: {busy})",
        *(f"warning: {warning}" for warning in plan.warnings),
    ]
