"""A rank's share of one optimizer step, cut into micro-batches and collated before any rank starts.

Owns the cut and the stand-in that a rank with fewer micro-batches runs, so that all ranks run the same
collectives. Everything that a bad group can break happens here: an error inside the step would leave the
other ranks waiting in a collective. No model, no device. Called by `engine`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgpo_async.config import RunConfig
from pgpo_async.contracts import TrainBatch
from pgpo_async.learner.loss_inputs import LossInputs, loss_inputs
from pgpo_async.learner.step_metrics import group_sums, largest_weight
from pgpo_async.policy.inputs import Collator, PolicyInputs, PolicySequence, sequences_of
from pgpo_async.policy.passes import split_by_budget


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MicroBatch:
    """One forward and backward pass: the model's inputs and the loss's, for the same response tokens."""

    policy_inputs: PolicyInputs
    loss_inputs: LossInputs


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepWork:
    """What one rank trains in a step, on the host."""

    step: int
    normalizer: float
    micro_batches: tuple[MicroBatch, ...]
    sums: dict[str, float]
    largest_weight: float


def plan_step(batch: TrainBatch, config: RunConfig, collator: Collator) -> StepWork:
    """Plan a batch, which may hold no group.

    Raises ValueError for a normalizer that is not positive, or groups that `loss_inputs` or the collator
    refuse.
    """
    if not batch.normalizer > 0:
        raise ValueError(f"normalizer must be positive, got {batch.normalizer}")
    sequences = [sequence for scored in batch.groups for sequence in sequences_of(scored.group)]
    inputs = loss_inputs(batch.groups, config.algorithm)
    return StepWork(
        step=batch.step,
        normalizer=batch.normalizer,
        micro_batches=tuple(
            MicroBatch(
                policy_inputs=collator([sequences[i] for i in indices], dummy_image=True),
                loss_inputs=inputs.select(indices),
            )
            for indices in _cut(sequences, config.learner.micro_batch_tokens)
        ),
        sums=group_sums(batch.groups, inputs),
        largest_weight=largest_weight(batch.groups),
    )


def stand_in(collator: Collator, config: Any) -> PolicyInputs:
    """The shortest batch that runs through all of the model of this Hugging Face config, tower included."""
    placeholders = {config.image_token_id, config.video_token_id}
    token_id = next(token for token in range(3) if token not in placeholders)
    token = np.array([token_id], dtype=np.int32)
    return collator([PolicySequence(prompt_token_ids=token, response_token_ids=token)], dummy_image=True)


def _cut(sequences: Sequence[PolicySequence], budget: int) -> list[list[int]]:
    num_tokens = [sequence.num_tokens for sequence in sequences]
    # A group's answers share the prompt's array: together, the tower sees their images once.
    keys = [id(sequence.prompt_token_ids) for sequence in sequences]
    return split_by_budget(num_tokens, budget, keys=keys)
