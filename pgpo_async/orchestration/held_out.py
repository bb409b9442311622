"""Held-out accuracy on the run's own generators, before and after training."""

from collections.abc import Sequence
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.sources import held_out_source
from pgpo_async.evaluation import Accuracy, average_accuracy
from pgpo_async.orchestration.asking import Engines, ask
from pgpo_async.orchestration.cluster import Cluster


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


def accuracy_part(config: RunConfig) -> str:
    """Return the reward's part that accuracy is."""
    return "accuracy" if config.reward.function is None else config.algorithm.filter.key


def accuracy_of(config: RunConfig, engines: Engines, version: int) -> Accuracy:
    """Ask the held-out prompts of engines at `version` (at least).

    Raises StageFailed, and ValueError if no prompt could be asked.
    """
    prompts, num_failed = held_out_prompts(config)
    answers = list(ask(engines, prompts, config, version=version))
    groups = [answer.group for answer in answers if answer.group is not None]
    num_failed += len(answers) - len(groups)
    return average_accuracy(groups, num_failed=num_failed, part=accuracy_part(config))


def evaluate(config: RunConfig, cluster: Cluster, version: int) -> Accuracy | None:
    """Ask them of the run's generators while no loop runs; None where evaluation is off. Raises as above.

    What a generator that dies was asked is asked again of others, or of the one that takes its place.
    """
    if config.evaluation.num_prompts == 0:
        return None
    return accuracy_of(config, _Own(cluster), version)


class _Own:
    """The cluster's generators as `Engines`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def idle(self) -> Sequence[Any]:
        self._cluster.supervisor.raise_failure()
        return self._cluster.idle_generators()

    def replace(self, actor: Any, error: BaseException) -> None:
        self._cluster.replace_generator(actor, error)
