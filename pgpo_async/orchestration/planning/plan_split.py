"""How to divide GPUs among generators, scorers and learner ranks.

A stage's throughput is taken to scale with its replicas. All splits are compared by their slowest stage, the
best few are simulated: only that shows what slots, lag and loading cost.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.orchestration.planning.simulation import simulate
from pgpo_async.orchestration.service_times import ServiceTimes

NUM_SIMULATED = 5
# Splits whose steps differ by less are equal: then the one with fewer GPUs is better.
SAME = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Replicas of each role. `slowest_s` is the slowest stage alone, `step_s` the step as simulated."""

    generator: int
    scorer: int
    learner: int
    gpus: float
    slowest_s: float
    step_s: float = float("nan")


def best_splits(
    config: RunConfig, times: ServiceTimes, num_gpus: int, *, num_steps: int, seed: int, group_bytes: int
) -> list[Split]:
    """Return the best few splits of `num_gpus` GPUs, best first.

    A role that the config gives no GPU is taken to need one a replica. Raises ConfigError if there are fewer
    GPUs than one replica of each role needs, or no split can run.
    """
    splits = sorted(_splits(config, times, num_gpus), key=lambda split: split[:2])
    if not splits:
        needed = sum(_gpus_each(config).values())
        raise ConfigError(f"--gpus: must be at least {needed:g}, one replica of each role, got {num_gpus}")
    simulated = []
    for *_, split in splits[:NUM_SIMULATED]:
        changed, changed_times = with_split(config, times, split)
        try:
            result = simulate(changed, changed_times, num_steps=num_steps, seed=seed, group_bytes=group_bytes)
        except StageFailed:
            continue
        simulated.append(dataclasses.replace(split, step_s=result.step_s))
    if not simulated:
        raise ConfigError(f"--gpus: none of the {NUM_SIMULATED} best splits of {num_gpus} GPUs can run")
    fastest_s = min(split.step_s for split in simulated)
    return sorted(simulated, key=lambda s: (s.step_s > (1 + SAME) * fastest_s, s.gpus, s.step_s))


def with_split(config: RunConfig, times: ServiceTimes, split: Split) -> tuple[RunConfig, ServiceTimes]:
    """Return the config with these replicas, and the times with the learner's ranks."""
    roles = {
        name: getattr(config, name).model_copy(update={"replicas": max(1, getattr(split, name))})
        for name in ("generator", "scorer", "learner")
    }
    learn_s = times.learn_s * config.learner.replicas / split.learner
    return config.model_copy(update=roles), dataclasses.replace(times, learn_s=learn_s)


def _gpus_each(config: RunConfig) -> dict[str, float]:
    roles = {"generator": config.generator.gpus, "learner": config.learner.gpus}
    if config.uses_scorers:
        roles["scorer"] = config.scorer.gpus
    return {name: gpus or 1.0 for name, gpus in roles.items()}


def _splits(config: RunConfig, times: ServiceTimes, num_gpus: int) -> Iterator[tuple[float, float, Split]]:
    """Yield each split that leaves no GPU to the learner unused, by its slowest stage and the sum of all."""
    each, in_flight = _gpus_each(config), config.generator.prompts_in_flight
    slots, most_ranks = config.max_slots, config.train.groups_per_step
    generate_s = times.generate_s * most_ranks / (1 - times.filtered_share)
    for generators in range(1, int(num_gpus / each["generator"]) + 1):
        if (generators - 1) * in_flight >= slots:
            return  # no slot would be left for the last of them
        left = num_gpus - generators * each["generator"]
        scorers_to_try = range(1, int(left / each["scorer"]) + 1) if "scorer" in each else (0,)
        for scorers in scorers_to_try:
            rest = left - scorers * each.get("scorer", 0.0)
            ranks = min(most_ranks, int(rest / each["learner"] + 1e-9))
            if ranks < 1:
                break
            stages = (
                generate_s / min(generators * in_flight, slots),
                times.score_s / scorers if scorers else 0.0,
                times.learn_s * config.learner.replicas / ranks,
            )
            slowest_s = sum(stages) if config.mode == "sync" else max(stages)
            split = Split(
                generator=generators,
                scorer=scorers,
                learner=ranks,
                gpus=num_gpus - rest + ranks * each["learner"],
                slowest_s=slowest_s,
            )
            yield slowest_s, sum(stages), split
