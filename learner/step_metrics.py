"""What an optimizer step reports: sums that add over micro-batches and ranks, then means.

Owns the names. Every rank adds up the same fixed list, so that one all-reduce of one vector is enough. Called
by `engine`, and by `group` for the reports of all ranks.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pgpo_async.algorithms.off_policy import LOG_RATIO_CLIP
from pgpo_async.contracts import ScoredGroup
from pgpo_async.learner.agreement import NAMES as AGREEMENT_SUMS
from pgpo_async.learner.agreement import agreement, agreement_sums
from pgpo_async.learner.loss_inputs import LossInputs

_TOKEN_SUMS = (
    "num_tokens",
    "clip_low_count",
    "clip_high_count",
    "dual_clip_count",
    "ratio_sum",
    "policy_kl_sum",
    "mismatch_kl_sum",
    "is_weight_sum",
    "is_capped_count",
)
"""Made by `algorithms.losses.token_losses`."""

_GROUP_SUMS = (
    "num_groups",
    "num_rollouts",
    "num_truncated",
    "reward_sum",
    "advantage_abs_sum",
    "weight_sum",
    "num_image_tokens",
    "dependency_sum",
    "dependency_log_sum",
    "num_judged_tokens",
    "boosted_sum",
    "measured_advantage_sum",
    "top_advantage_sum",
)

TOP_SHARE = 0.1
"""Share of a response's tokens, those of the largest dependency, whose part of the advantage is told."""

SUM_NAMES = ("loss", "entropy_sum", "reference_kl_sum", *_TOKEN_SUMS, *_GROUP_SUMS, *AGREEMENT_SUMS)


class StepSums:
    """The sums of one rank, kept on its device: reading them would wait for it."""

    def __init__(self, device: torch.device) -> None:
        self._totals = torch.zeros(len(SUM_NAMES), dtype=torch.float64, device=device)

    def add(self, sums: Mapping[str, Tensor | float]) -> None:
        """Add some of `SUM_NAMES`; others are not accepted."""
        unknown = set(sums) - set(SUM_NAMES)
        assert not unknown, f"unknown sums {unknown}"
        row = [torch.as_tensor(sums.get(name, 0.0), dtype=torch.float64) for name in SUM_NAMES]
        self._totals += torch.stack([value.detach().to(self._totals.device) for value in row])

    def over_ranks(self) -> dict[str, float]:
        """The sums over all ranks. Collective."""
        torch.distributed.all_reduce(self._totals)
        return dict(zip(SUM_NAMES, self._totals.tolist(), strict=True))


def group_sums(groups: Sequence[ScoredGroup], inputs: LossInputs) -> dict[str, float]:
    """What is known before the forward pass. Dependency counts only where the prompt has an image."""
    rollouts = [rollout for scored in groups for rollout in scored.group.rollouts]
    seen = [row for scored in groups if scored.group.prompt.images for row in scored.dependency]
    dependency = np.concatenate([np.zeros(0, np.float32), *seen]).astype(np.float64)
    # A scorer that made no blind pass may leave NaN: nothing was measured.
    dependency = dependency[np.isfinite(dependency)]
    measured, top = _advantage_mass(groups, inputs)
    judged = [scored.metrics for scored in groups if "boosted_share" in scored.metrics]
    return {
        "num_groups": len(groups),
        "num_rollouts": len(rollouts),
        "num_truncated": sum(rollout.truncated for rollout in rollouts),
        "reward_sum": sum(rollout.reward for rollout in rollouts),
        "advantage_abs_sum": float(inputs.advantages_N.double().abs().sum()),
        "weight_sum": sum(float(row.sum(dtype=np.float64)) for s in groups for row in s.token_weights),
        "num_image_tokens": len(dependency),
        "dependency_sum": float(dependency.sum()),
        "dependency_log_sum": float(np.log1p(dependency).sum()),
        "num_judged_tokens": sum(metrics["num_image_tokens"] for metrics in judged),
        "boosted_sum": sum(metrics["boosted_share"] * metrics["num_image_tokens"] for metrics in judged),
        "measured_advantage_sum": measured,
        "top_advantage_sum": top,
        **agreement_sums(groups),
    }


def _advantage_mass(groups: Sequence[ScoredGroup], inputs: LossInputs) -> tuple[float, float]:
    """Sums of abs(A_t w_t) over responses with a dependency: of all tokens, of the most dependent ones."""
    dependency = [row for scored in groups for row in scored.dependency]
    shown = [bool(scored.group.prompt.images) for scored in groups for _ in scored.dependency]
    if not dependency:
        return 0.0, 0.0
    advantages = np.split(inputs.advantages_N.abs().numpy(), np.cumsum(inputs.lengths)[:-1])
    whole = top = 0.0
    for has_image, row, masses in zip(shown, dependency, advantages, strict=True):
        if has_image and len(row) and np.isfinite(row).all():
            num_top = math.ceil(TOP_SHARE * len(row))
            most = np.argsort(-row, kind="stable")[:num_top]
            whole += float(masses.sum(dtype=np.float64))
            top += float(masses[most].sum(dtype=np.float64))
    return whole, top


def largest_weight(groups: Sequence[ScoredGroup]) -> float:
    """The largest token weight, 0 without tokens."""
    return max(
        (float(row.max()) for scored in groups for row in scored.token_weights if len(row)), default=0.0
    )


def largest_ratio(inputs: LossInputs) -> float:
    """The largest pi_proximal / pi_behaviour, at most e^20; 0 without tokens, 1 without a scorer."""
    log_ratio_N = (inputs.proximal_logprobs_N - inputs.behaviour_logprobs_N).nan_to_num(0.0)
    return float(log_ratio_N.max().clamp(max=LOG_RATIO_CLIP).exp()) if len(log_ratio_N) else 0.0


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """The step's metrics from sums over all ranks. A mean over nothing is 0."""

    def per(name: str, count: str) -> float:
        return sums[name] / max(1.0, sums[count])

    def per_mass(name: str, whole: str) -> float:
        return sums[name] / sums[whole] if sums[whole] > 0 else 0.0

    return {
        "loss": sums["loss"],
        "num_tokens": sums["num_tokens"],
        "num_groups": sums["num_groups"],
        "num_rollouts": sums["num_rollouts"],
        "ratio_mean": per("ratio_sum", "num_tokens"),
        "clip_low_fraction": per("clip_low_count", "num_tokens"),
        "clip_high_fraction": per("clip_high_count", "num_tokens"),
        "dual_clip_fraction": per("dual_clip_count", "num_tokens"),
        "is_weight_mean": per("is_weight_sum", "num_tokens"),
        "is_capped_share": per("is_capped_count", "num_tokens"),
        "entropy": per("entropy_sum", "num_tokens"),
        "reference_kl": per("reference_kl_sum", "num_tokens"),
        "policy_kl": per("policy_kl_sum", "num_tokens"),
        "mismatch_kl": per("mismatch_kl_sum", "num_tokens"),
        "advantage_abs_mean": per("advantage_abs_sum", "num_tokens"),
        "weight_mean": per("weight_sum", "num_tokens"),
        "dependency_mean": per("dependency_sum", "num_image_tokens"),
        "dependency_log_mean": per("dependency_log_sum", "num_image_tokens"),
        "boosted_share": per("boosted_sum", "num_judged_tokens"),
        "advantage_top_share": per_mass("top_advantage_sum", "measured_advantage_sum"),
        "reward_mean": per("reward_sum", "num_rollouts"),
        "truncated_share": per("num_truncated", "num_rollouts"),
        "response_tokens_mean": per("num_tokens", "num_rollouts"),
        **agreement(sums),
    }
