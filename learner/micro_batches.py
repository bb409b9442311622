"""A rank's share of one optimizer step, cut into micro-batches, and checked before any rank starts.

Owns the cut and the stand-in that a rank with fewer micro-batches runs, so that all ranks run the same
collectives. What a bad group can break is found here: an error inside the step would leave the other ranks
waiting in a collective. Images are decoded when their micro-batch's turn comes near (`policy.ahead`), not all
at once. No model, no device. Called by `engine`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pgpo_async.algorithms.shaping import ImageMasking
from pgpo_async.config import RunConfig
from pgpo_async.contracts import TrainBatch
from pgpo_async.learner.loss_inputs import LossInputs, loss_inputs
from pgpo_async.learner.step_metrics import group_sums, largest_ratio, largest_weight
from pgpo_async.policy.ahead import ahead
from pgpo_async.policy.inputs import Collator, PolicyInputs, PromptGroup, prompt_group
from pgpo_async.policy.packing import GroupSize, pack


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MicroBatch:
    """One forward and backward pass: prompts with some responses, and the loss's inputs for the same ones."""

    groups: tuple[PromptGroup, ...]
    loss_inputs: LossInputs


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Collated:
    """A micro-batch as the model takes it; `masked` with cells of its images black, where a loss reads it."""

    batch: MicroBatch
    inputs: PolicyInputs
    masked: PolicyInputs | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepWork:
    """What one rank trains in a step, on the host."""

    batch: TrainBatch
    micro_batches: tuple[MicroBatch, ...]
    sums: dict[str, float]
    largest_weight: float
    largest_ratio: float
    """Of proximal to behaviour probability, before any cap: the tail of the importance weights."""

    @property
    def step(self) -> int:
        """Optimizer steps before this one."""
        return self.batch.step

    def collated(self, collator: Collator, masking: ImageMasking | None, seed: int) -> Iterator[Collated]:
        """The micro-batches with their model inputs, the next being made while one is used."""

        def collate(batch: MicroBatch) -> Collated:
            masked = None
            if masking is not None:
                masked = collator(batch.groups, view="masked", masking=masking, seed=seed, dummy_image=True)
            return Collated(batch=batch, inputs=collator(batch.groups, dummy_image=True), masked=masked)

        return ahead(partial(collate, batch) for batch in self.micro_batches)


def plan_step(
    batch: TrainBatch, config: RunConfig, collator: Collator, *, pair_cost: float, num_passes: int = 1
) -> StepWork:
    """Plan a batch, which may hold no group; a micro-batch's tokens are those of all its `num_passes`.

    Raises ValueError for a normalizer that is not positive, or groups that `loss_inputs` or
    `Collator.check` refuse.
    """
    if not batch.normalizer > 0:
        raise ValueError(f"normalizer must be positive, got {batch.normalizer}")
    groups = [prompt_group(scored.group) for scored in batch.groups]
    for group in groups:
        collator.check(group)
    inputs = loss_inputs(batch.groups, config.algorithm, version=batch.version)
    firsts = np.cumsum([0, *(len(group.responses) for group in groups)])
    sizes = [GroupSize(prompt=len(g.prompt_token_ids), responses=g.response_lengths) for g in groups]
    plan = pack(sizes, max(1, config.learner.micro_batch_tokens // num_passes), pair_cost=pair_cost)
    return StepWork(
        batch=batch,
        micro_batches=tuple(
            MicroBatch(
                groups=tuple(groups[part.group].select(part.responses) for part in parts),
                loss_inputs=inputs.select([int(firsts[p.group]) + i for p in parts for i in p.responses]),
            )
            for parts in plan
        ),
        sums=group_sums(batch.groups, inputs),
        largest_weight=largest_weight(batch.groups),
        largest_ratio=largest_ratio(inputs),
    )


def stand_in(collator: Collator, config: Any) -> PolicyInputs:
    """The shortest batch that runs through all of the model of this Hugging Face config, tower included."""
    placeholders = {config.image_token_id, config.video_token_id}
    token_id = next(token for token in range(3) if token not in placeholders)
    token = np.array([token_id], dtype=np.int32)
    group = PromptGroup(prompt_token_ids=token, responses=(token,))
    return collator([group], dummy_image=True)
