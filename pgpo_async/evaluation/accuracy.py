"""avg@k: the mean over prompts of the mean accuracy of k sampled answers (PGPO sec. 4, avg@8)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgpo_async.contracts import RolloutGroup
from pgpo_async.evaluation.estimates import estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """avg@k over prompts, with the standard error over prompts and what could not be asked."""

    mean: float
    standard_error: float
    num_prompts: int
    num_failed: int
    mean_response_tokens: float

    def __str__(self) -> str:
        failed = f", {self.num_failed} failed" if self.num_failed else ""
        return f"{self.mean:.3f} +- {self.standard_error:.3f} ({self.num_prompts} prompts{failed})"


def average_accuracy(
    groups: Sequence[RolloutGroup], *, num_failed: int = 0, part: str = "accuracy"
) -> Accuracy:
    """Return avg@k of reward part `part` over answered prompts.

    A prompt that could not be asked counts in `num_failed`, never as wrong. Raises ValueError if there
    is no answered prompt, or if `part` is not among the rewards.
    """
    if not groups:
        raise ValueError(f"accuracy must have at least one answered prompt, got none ({num_failed} failed)")
    means = []
    for group in groups:
        for rollout in group.rollouts:
            if part not in rollout.reward_parts:
                raise ValueError(f"reward part must be one of {sorted(rollout.reward_parts)}, got {part!r}")
        means.append(sum(r.reward_parts[part] for r in group.rollouts) / len(group.rollouts))
    found = estimate(means)
    lengths = [len(r.response_token_ids) for group in groups for r in group.rollouts]
    return Accuracy(
        mean=found.mean,
        standard_error=found.standard_error if len(means) > 1 else 0.0,
        num_prompts=len(groups),
        num_failed=num_failed,
        mean_response_tokens=sum(lengths) / len(lengths),
    )
