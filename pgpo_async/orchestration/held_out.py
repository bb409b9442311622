"""Held-out accuracy on the run's own generators, before and after training."""

from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, PromptError, WaitTimeout
from pgpo_async.data.sources import held_out_source
from pgpo_async.evaluation import Accuracy, average_accuracy

EVALUATION_TIMEOUT_S = 3600.0


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


def evaluate(config: RunConfig, generators: list[Any], version: int) -> Accuracy | None:
    """Ask the held-out prompts of engines at `version` (at least); None where evaluation is off.

    Raises WaitTimeout, and ValueError if no prompt could be asked.
    """
    if config.evaluation.num_prompts == 0:
        return None
    prompts, num_failed = held_out_prompts(config)
    calls = [
        generator.answer.remote(
            prompts[i :: len(generators)],
            version=version,
            num_samples=config.evaluation.samples_per_prompt,
            temperature=config.evaluation.temperature,
        )
        for i, generator in enumerate(generators)
    ]
    try:
        answers = ray.get(calls, timeout=EVALUATION_TIMEOUT_S)
    except ray.exceptions.GetTimeoutError:
        raise WaitTimeout("the held-out answers", EVALUATION_TIMEOUT_S) from None
    groups = [group for answered, _ in answers for group in answered]
    num_failed += sum(len(failures) for _, failures in answers)
    part = "accuracy" if config.reward.function is None else config.algorithm.filter.key
    return average_accuracy(groups, num_failed=num_failed, part=part)
