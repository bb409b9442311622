"""Held-out accuracy on the run's own generators, before and after training."""

import time
from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, PromptError, RolloutGroup, WaitTimeout
from pgpo_async.data.sources import held_out_source
from pgpo_async.evaluation import Accuracy, average_accuracy
from pgpo_async.orchestration.cluster import Cluster

EVALUATION_TIMEOUT_S = 3600.0
POLL_S = 1.0


def held_out_prompts(config: RunConfig) -> tuple[list[Prompt], int]:
    """Return the held-out prompts and how many rows were unusable."""
    evaluation = config.evaluation
    source = held_out_source(config)
    prompts: list[Prompt] = []
    num_failed = 0
    for index in range(evaluation.num_prompts):
        try:
            prompts.append(source.prompt(index))
        except PromptError:
            num_failed += 1
    return prompts, num_failed


def evaluate(config: RunConfig, cluster: Cluster, version: int) -> Accuracy | None:
    """Ask the held-out prompts of engines at `version` (at least); None where evaluation is off.

    What a generator that dies was asked is asked again of others, or of the one that takes its place. Raises
    WaitTimeout, StageFailed, and ValueError if no prompt could be asked.
    """
    if config.evaluation.num_prompts == 0:
        return None
    left, num_failed = held_out_prompts(config)
    groups: list[RolloutGroup] = []
    deadline_s = time.monotonic() + EVALUATION_TIMEOUT_S
    while left:
        calls = _ask(config, cluster.idle_generators(), left, version)
        left = []
        while calls:
            for call in ray.wait(list(calls), timeout=POLL_S)[0]:
                generator, asked = calls.pop(call)
                try:
                    answered, failures = ray.get(call)
                except ray.exceptions.RayActorError as error:
                    cluster.replace_generator(generator, error)
                    left += asked
                    continue
                groups += answered
                num_failed += len(failures)
            cluster.supervisor.raise_failure()
            if time.monotonic() > deadline_s:
                raise WaitTimeout("the held-out answers", EVALUATION_TIMEOUT_S)
    part = "accuracy" if config.reward.function is None else config.algorithm.filter.key
    return average_accuracy(groups, num_failed=num_failed, part=part)


def _ask(
    config: RunConfig, generators: Sequence[Any], prompts: Sequence[Prompt], version: int
) -> dict[Any, tuple[Any, Sequence[Prompt]]]:
    """Share the prompts out; the calls, with whom and what each asks."""
    evaluation = config.evaluation
    how = {
        "version": version,
        "num_samples": evaluation.samples_per_prompt,
        "temperature": evaluation.temperature,
    }
    shares = [(generator, prompts[i :: len(generators)]) for i, generator in enumerate(generators)]
    return {generator.answer.remote(share, **how): (generator, share) for generator, share in shares if share}
