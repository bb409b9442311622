"""Scored groups to the flat tensors that the loss reads, in the collator's order.

Owns the order (group after group, rollout after rollout, token after token) and the shaped advantage
A_t = A w_t. The loss itself is `pgpo_async.algorithms.losses`'. Called by `engine`.

Shapes: `B` sequences, `N` response tokens of all of them, one after another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pgpo_async.algorithms.advantages import group_advantages
from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.losses import aggregate, token_losses, token_terms
from pgpo_async.algorithms.off_policy import interpolated_proximal
from pgpo_async.algorithms.shaping import LossTerms
from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import REFERENCE, Rollout, ScoredGroup


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LossInputs:
    """float32 [N] each; no gradient. `lags_N` are optimizer steps since each token's version.

    `advantages_N` are shaped, `plain_advantages_N` are not.

    `scales_N` makes the token loss the wanted mean: 1 for `token_mean`, 1 / T for `sequence_mean`, 0 for a
    response that is left out.
    """

    lengths: tuple[int, ...]
    proximal_logprobs_N: Tensor
    behaviour_logprobs_N: Tensor
    lags_N: Tensor
    advantages_N: Tensor
    plain_advantages_N: Tensor
    scales_N: Tensor
    reference_logprobs_N: Tensor | None = None

    def select(self, indices: Sequence[int]) -> "LossInputs":
        """The inputs of some sequences, in the order given."""
        starts = np.concatenate(([0], np.cumsum(self.lengths)))
        pieces = [np.arange(starts[i], starts[i + 1]) for i in indices]
        index_n = torch.from_numpy(np.concatenate([np.arange(0), *pieces]))
        return self._map(
            lambda values_N: values_N.index_select(0, index_n), tuple(self.lengths[i] for i in indices)
        )

    def to(self, device: torch.device) -> "LossInputs":
        """The inputs on a device."""
        return self._map(lambda values_N: values_N.to(device, non_blocking=True), self.lengths)

    def _map(self, change: Callable[[Tensor], Tensor], lengths: tuple[int, ...]) -> "LossInputs":
        return LossInputs(
            lengths=lengths,
            proximal_logprobs_N=change(self.proximal_logprobs_N),
            behaviour_logprobs_N=change(self.behaviour_logprobs_N),
            lags_N=change(self.lags_N),
            advantages_N=change(self.advantages_N),
            plain_advantages_N=change(self.plain_advantages_N),
            scales_N=change(self.scales_N),
            reference_logprobs_N=None
            if self.reference_logprobs_N is None
            else change(self.reference_logprobs_N),
        )


def loss_inputs(groups: Sequence[ScoredGroup], algorithm: AlgorithmConfig, *, version: int = 0) -> LossInputs:
    """Flatten the groups of an optimizer step on weights `version`.

    Raises ValueError for a reward that is not finite, or a group too small to compare.
    """
    rollouts = [rollout for scored in groups for rollout in scored.group.rollouts]
    lengths = tuple(len(rollout.response_token_ids) for rollout in rollouts)
    advantages_B = group_advantages(
        torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64),
        torch.tensor([i for i, scored in enumerate(groups) for _ in scored.group.rollouts], dtype=torch.long),
        normalize=algorithm.advantage,
    ).float()
    length_B = torch.tensor(lengths, dtype=torch.long)
    weights_N = _flat([row for scored in groups for row in scored.token_weights])
    scales_B = torch.ones(len(lengths)) if algorithm.loss == "token_mean" else 1.0 / length_B.clamp(min=1)
    if algorithm.mask_truncated:
        scales_B = scales_B * torch.tensor([float(not rollout.truncated) for rollout in rollouts])
    plain_advantages_N = advantages_B.repeat_interleave(length_B)
    return LossInputs(
        lengths=lengths,
        proximal_logprobs_N=_flat([row for scored in groups for row in scored.proximal_logprobs]),
        behaviour_logprobs_N=_flat([rollout.behaviour_logprobs for rollout in rollouts]),
        lags_N=_flat([_lags(rollout, version) for rollout in rollouts]),
        advantages_N=plain_advantages_N * weights_N,
        plain_advantages_N=plain_advantages_N,
        scales_N=scales_B.repeat_interleave(length_B),
        reference_logprobs_N=_flat(_reference_rows(groups)) if algorithm.kl_coef > 0 else None,
    )


def micro_batch_loss(
    logprobs_N: Tensor,
    inputs: LossInputs,
    algorithm: AlgorithmConfig,
    normalizer: float,
    *,
    interpolate: bool = False,
    terms: LossTerms | None = None,
    masked_logprobs_N: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This micro-batch's part of the step's loss (the parts sum to the whole), and `token_losses`' sums.

    With `interpolate` the proximal log-probs are interpolated between behaviour and current policy. `terms`
    are a method's own, with the log-probs under the masked image where they read them.

    A loss that is not finite has a gradient that is not finite at every log-prob, whatever the cause, so that
    the check of the gradient norm, which all ranks share, catches it.
    """
    proximal_N = inputs.proximal_logprobs_N
    if interpolate:
        proximal_N = interpolated_proximal(
            logprobs_N.unsqueeze(0), inputs.behaviour_logprobs_N.unsqueeze(0), inputs.lags_N.unsqueeze(0)
        )[0]

    def row(values_N: Tensor) -> Tensor:
        return values_N.unsqueeze(0)

    mask_BT = torch.ones_like(row(inputs.advantages_N), dtype=torch.bool)
    losses_BT, sums = token_losses(
        row(logprobs_N),
        row(proximal_N),
        row(inputs.behaviour_logprobs_N),
        row(inputs.advantages_N),
        mask_BT,
        clip_low=algorithm.clip_low,
        clip_high=algorithm.clip_high,
        dual_clip=algorithm.dual_clip,
        is_mode=algorithm.is_mode,
        is_cap=algorithm.is_cap,
        is_bounds=(algorithm.icepop_low, algorithm.icepop_high),
    )
    if terms is not None:
        masked_BT = None if masked_logprobs_N is None else row(masked_logprobs_N)
        losses_BT = losses_BT + token_terms(row(logprobs_N), masked_BT, mask_BT, terms)
    if inputs.reference_logprobs_N is not None:
        kl_BT = k3(row(logprobs_N), row(inputs.reference_logprobs_N))
        losses_BT = losses_BT + algorithm.kl_coef * kl_BT
        sums["reference_kl_sum"] = kl_BT.detach().sum()
    loss = aggregate(losses_BT * row(inputs.scales_N), mask_BT, normalizer=normalizer)
    poison = torch.where(loss.detach().isfinite(), 1.0, torch.nan)
    return loss * poison, sums


def _reference_rows(groups: Sequence[ScoredGroup]) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    missing = [scored.group.group_id for scored in groups if REFERENCE not in scored.signals]
    if missing:
        raise ValueError(
            f"groups must hold {REFERENCE} with algorithm.kl_coef above 0, got none in {missing[0]}"
        )
    return [row for scored in groups for row in scored.signals[REFERENCE]]


def _lags(rollout: Rollout, version: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    lags = np.zeros(len(rollout.response_token_ids), np.float32)
    for span in rollout.version_spans:
        lags[span.start : span.end] = max(0, version - span.version)
    return lags


def _flat(rows: Sequence[np.ndarray[tuple[int], np.dtype[np.float32]]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.float32), *rows]))
