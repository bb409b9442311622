"""What of a config cannot work or wastes, by the predicted figures: one line each, the field first."""

import math
from collections.abc import Callable, Iterator

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.simulation_result import SimulationResult
from pgpo_async.orchestration.service_times import ServiceTimes

# A stage that works less than this share of what the slowest does could give devices away, up to the other.
MOSTLY_IDLE = 0.5
WELL_BUSY = 0.9
# Share of the trained groups that may be made in vain before it is worth a line.
WASTE = 0.05


def slot_warnings(config: RunConfig, times: ServiceTimes) -> Iterator[str]:
    """Yield where admission slots limit the pace, by Little's law: groups = pace * seconds, in each stage."""
    slots, in_flight = config.max_slots, config.generator.replicas * config.generator.prompts_in_flight
    max_groups = config.queue.max_groups
    if max_groups is not None and max_groups < slots:
        yield f"queue.max_groups {max_groups} is below the {slots} groups that admission lets in"
        slots = max_groups
    if config.mode == "sync" or config.max_lag == 0:
        return
    num_groups, busy = config.train.groups_per_step, times.busy_per_step(config)
    pace = num_groups / max(busy.values())
    generating = pace * times.generate_s / (1 - times.filtered_share)
    scoring = pace * times.score_s / num_groups if config.uses_scorers else 0.0
    training = pace * busy["learn"]
    needed, window = math.ceil(generating + scoring + training - 1e-6), config.order_window or 0
    if needed > slots:
        why = (
            f"Little's law asks for {needed} at the pace of the slowest stage: {generating:.0f} being "
            f"generated, {scoring:.0f} scored, {training:.0f} trained"
        )
        if needed <= slots + window:
            yield f"train.order_window {window} leaves {slots} admission slots, {why}; make it smaller"
        else:
            yield f"train.max_lag {config.max_lag} allows {slots} admission slots, {why}; raise it"
    elif slots >= in_flight > (left := slots - scoring - training):
        yield (
            f"generator.prompts_in_flight: the engines have room for {in_flight} groups, but with "
            f"{training:.0f} being trained and {scoring:.0f} scored, {slots} admission slots leave {left:.0f}"
        )
    elif config.uses_scorers and config.scorer.replicas > (left := slots - generating - training):
        yield (
            f"scorer.replicas {config.scorer.replicas}: {slots} admission slots leave {left:.0f} groups for "
            "them to score"
        )


def turn_warnings(config: RunConfig, times: ServiceTimes, result: SimulationResult) -> Iterator[str]:
    """Yield what taking turns costs."""
    if config.mode != "sync":
        return
    ideal_s = max(times.busy_per_step(config).values())
    yield (
        f"mode sync: the stages take turns, so a step takes {result.step_s:.3g} s where the slowest stage "
        f"alone takes {ideal_s:.3g} s"
    )
    num_leases = math.ceil(config.train.groups_per_step / config.scorer.groups_per_lease)
    if config.uses_scorers and num_leases < config.scorer.replicas:
        yield (
            f"scorer.groups_per_lease {config.scorer.groups_per_lease}: a batch of "
            f"{config.train.groups_per_step} groups is {num_leases} leases, so of {config.scorer.replicas} "
            "scorers the others idle"
        )


def order_warnings(
    config: RunConfig, result: SimulationResult, simulated: Callable[[RunConfig], SimulationResult]
) -> Iterator[str]:
    """Yield what waiting for overtaken groups costs, by a second simulation if the first is not ideal."""
    if config.order_window is None or result.overlap_efficiency >= WELL_BUSY:
        return
    train = config.train.model_copy(update={"order_window": None})
    free_s = simulated(config.model_copy(update={"train": train})).step_s
    if free_s < WELL_BUSY * result.step_s:
        yield (
            f"train.order_window {config.order_window}: the learner waits for groups that take long; a step "
            f"takes {result.step_s:.3g} s, without the window (null) {free_s:.3g} s"
        )


def weight_warnings(
    config: RunConfig, times: ServiceTimes, result: SimulationResult, instant: Callable[[], SimulationResult]
) -> Iterator[str]:
    """Yield what the weights' way to the generators costs, by a simulation in which it takes no time."""
    if config.mode == "sync" or not times.publish_s + times.load_s or result.overlap_efficiency >= WELL_BUSY:
        return
    instant_s = instant().step_s
    if instant_s < WELL_BUSY * result.step_s:
        yield (
            f"train.max_lag {config.max_lag}: weights take {times.publish_s:.3g} s to be published and "
            f"{times.load_s:.3g} s to be loaded, and groups become too old meanwhile; a step takes "
            f"{result.step_s:.3g} s, with no such delay {instant_s:.3g} s; raise it, or weights.update_share"
        )


def result_warnings(config: RunConfig, result: SimulationResult) -> Iterator[str]:
    """Yield what the simulated run shows."""
    if result.longest_wait_s > config.train.batch_timeout_s:
        yield (
            f"train.batch_timeout_s {config.train.batch_timeout_s:g} is below the longest wait for a batch, "
            f"{result.longest_wait_s:.0f} s: the run would end there"
        )
    wasted = result.accounting.stale + result.num_cancelled
    if wasted > WASTE * result.accounting.trained:
        yield (
            f"train.max_lag {config.max_lag}: {wasted / result.accounting.trained:.0%} as many groups as "
            "train get too old first and are made in vain; raise it"
        )
    yield from _idle_warnings(config, result)


def _idle_warnings(config: RunConfig, result: SimulationResult) -> Iterator[str]:
    if config.mode == "sync":  # idling is what turns are
        return
    roles = {"generate": ("generator", config.generator), "learn": ("learner", config.learner)}
    if config.uses_scorers:
        roles["score"] = ("scorer", config.scorer)
    for stage, (name, role) in roles.items():
        # Of the slowest stage's time: where slots hold all of them up, taking devices away is no remedy.
        share = result.busy_s[stage] / max(result.busy_s.values())
        enough = max(1, math.ceil(role.replicas * share / WELL_BUSY))
        busy = f"busy {result.busy_share[stage]:.0%} of the time, {share:.0%} of what the slowest stage is"
        if share < MOSTLY_IDLE and enough < role.replicas:
            yield (
                f"{name}.replicas {role.replicas}: {busy}: {enough} would do, the other devices could go to "
                "the slowest stage"
            )
        elif share < MOSTLY_IDLE and stage == "score" and role.gpus >= 1:
            yield f"scorer.gpus {role.gpus:g}: {busy}: it could share a device"
