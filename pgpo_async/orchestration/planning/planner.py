"""What a run will come to, before it is started: its step time, waits, lag and memory, and what to change.

Predicts by simulation with the real queue and admission (`simulation`), from service times that are stated or
were measured by an earlier run or estimated. Called by `plan_report` for `pgpo-async plan`, by `dry_run`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.orchestration.planning.estimate import Estimate
from pgpo_async.orchestration.planning.plan_inputs import Size
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory, memory_warnings, plan_memory
from pgpo_async.orchestration.planning.plan_split import Split, best_splits
from pgpo_async.orchestration.planning.plan_warnings import (
    order_warnings,
    result_warnings,
    slot_warnings,
    turn_warnings,
    weight_warnings,
)
from pgpo_async.orchestration.planning.simulation import simulate
from pgpo_async.orchestration.planning.simulation_result import SimulationResult
from pgpo_async.orchestration.service_times import ServiceTimes

# A prediction's groups and steps: enough to be steady, few enough to take about a second.
_NUM_GROUPS = 3200
_FEWEST_STEPS, _MOST_STEPS = 30, 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The prediction for one config. `splits` are the best few, best first; none if not asked for."""

    config: RunConfig
    times: ServiceTimes
    result: SimulationResult
    group: Size
    model: Size
    memory: PlannedMemory
    splits: Sequence[Split]
    warnings: Sequence[str]
    estimate: Estimate | None = None

    @property
    def rollouts_per_s(self) -> float:
        """Responses trained per second."""
        num_rollouts = self.config.train.groups_per_step * self.config.generation.group_size
        return num_rollouts / self.result.step_s

    def as_json(self) -> dict[str, Any]:
        """Return the figures of `--json` (DESIGN section 9)."""
        result = self.result
        return {
            "step_s": result.step_s,
            "busy_share": result.busy_share,
            "learner_wait_fraction": result.learner_wait_fraction,
            "longest_wait_s": result.longest_wait_s,
            "overlap_efficiency": result.overlap_efficiency,
            "lag_mean": result.lag_mean,
            "lag_max": result.lag_max,
            "lag_histogram": {str(lag): num for lag, num in result.lag_histogram.items()},
            "rollouts_per_s": self.rollouts_per_s,
            "memory": self.memory.as_json(),
            "best_split": asdict(self.splits[0]) if self.splits else None,
            "splits": [asdict(split) for split in self.splits],
            "service_times": asdict(self.times),
            "num_steps_simulated": result.num_steps,
            "accounting": result.accounting.as_dict(),
            "warnings": list(self.warnings),
            **(self.estimate.as_json() if self.estimate is not None else {}),
        }


def make_plan(
    config: RunConfig,
    times: ServiceTimes,
    *,
    group: Size,
    model: Size,
    num_gpus: int | None = None,
    seed: int = 0,
    notes: Sequence[str] = (),
    estimate: Estimate | None = None,
) -> Plan:
    """Predict the run; `notes` are warnings known before, as are those of the `estimate`.

    Raises ConfigError if the run would stand still, with all that is wrong with it, or `num_gpus` is too few.
    """
    num_steps = min(_MOST_STEPS, max(_FEWEST_STEPS, _NUM_GROUPS // config.train.groups_per_step))
    does_not_fit = estimate.problems if estimate is not None else ()
    known = [*notes, *does_not_fit, *config.warnings(), *slot_warnings(config, times)]

    def simulated(config: RunConfig, times: ServiceTimes = times) -> SimulationResult:
        return simulate(config, times, num_steps=num_steps, seed=seed, group_bytes=group.num_bytes)

    try:
        result = simulated(config)
    except StageFailed as error:
        # Its step time stands in for one that will never be.
        step_s = max(times.busy_per_step(config).values())
        memory = _memory(config, times, step_s, group, model)
        stands_still = f"the run would stand still: {error.message}"
        raise ConfigError([*known, *memory_warnings(config, memory), stands_still]) from error
    memory = _memory(config, times, result.step_s, group, model)
    warnings = [
        *known,
        *memory_warnings(config, memory),
        *turn_warnings(config, times, result),
        *order_warnings(config, result, simulated),
        *weight_warnings(
            config, times, result, lambda: simulated(config, replace(times, publish_s=0.0, load_s=0.0))
        ),
        *result_warnings(config, result),
    ]
    splits: list[Split] = []
    if num_gpus is not None:
        splits = best_splits(
            config, times, num_gpus, num_steps=num_steps, seed=seed, group_bytes=group.num_bytes
        )
    return Plan(
        config=config,
        times=times,
        result=result,
        group=group,
        model=model,
        memory=memory,
        splits=splits,
        warnings=warnings,
        estimate=estimate,
    )


def _memory(config: RunConfig, times: ServiceTimes, step_s: float, group: Size, model: Size) -> PlannedMemory:
    return plan_memory(config, times, step_s=step_s, group_bytes=group.num_bytes, model_bytes=model.num_bytes)
