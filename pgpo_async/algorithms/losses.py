"""The scalars that the learner minimises: decoupled clipped policy loss here, what is added in `loss_terms`.

The learner calls `token_losses` (for the metrics) and `aggregate`; `policy_loss` is both in one. Each scalar
takes a `normalizer`, the count of the whole optimizer step over all ranks and micro-batches (DESIGN 5.6):
with it the scalars of any split sum to the scalar of the whole.
"""

import torch
from torch import Tensor

from pgpo_async.algorithms.aggregation import Aggregation, aggregate
from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.loss_terms import papo_terms, reference_kl, token_terms
from pgpo_async.algorithms.off_policy import LOG_RATIO_CLIP, ISMode, importance_weights, mismatch_k3
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep

__all__ = [
    "Aggregation",
    "aggregate",
    "papo_terms",
    "policy_loss",
    "reference_kl",
    "token_losses",
    "token_terms",
]


def token_losses(
    logprobs_BT: Tensor,
    proximal_logprobs_BT: Tensor,
    behaviour_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float | None = 3.0,
    is_mode: ISMode = "truncate",
    is_cap: float = 2.0,
    is_bounds: tuple[float, float] = (0.5, 5.0),
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate of each token, to be minimised, and what was clipped.

    With r = exp(lp - lp_proximal): L = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)); where A < 0 and
    `dual_clip` is c, L = min(L, -A c); then times the importance weight (see `importance_weights`). Decoupled
    PPO (AReaL, arXiv 2505.24298), asymmetric clip (DAPO, arXiv 2503.14476, sec. 3.1), dual clip
    (arXiv 1912.09729). Gradient flows into `logprobs_BT` only.

    Args:
        logprobs_BT: of the policy in training, nats.
        proximal_logprobs_BT: of the scorer's sighted pass, nats.
        behaviour_logprobs_BT: of the generator, nats.
        advantages_BT: shaped advantages A_t.
        mask_BT: 1 on response tokens.
        clip_low: how far below 1 the ratio may fall before the gradient stops, for A < 0.
        clip_high: how far above 1 the ratio may rise before the gradient stops, for A > 0.
        dual_clip: c > 1, or None for no bound on the loss of tokens with A < 0.
        is_mode: truncate, icepop or off.
        is_cap: upper bound for truncate.
        is_bounds: lowest and highest ratio for icepop.

    Returns:
        The losses [B, T], 0 in padding, and metrics without gradient, all sums over response tokens, so that
        they add over micro-batches and ranks: `num_tokens`, `clip_low_count` and `clip_high_count`
        (tokens whose gradient that side of the clip stopped), `dual_clip_count`, `ratio_sum`, `policy_kl_sum`
        (k3 of KL(proximal || current)), `mismatch_kl_sum` (k3 of KL(behaviour || proximal)), `is_weight_sum`,
        `is_capped_count`.

    Raises:
        ValueError: the shapes are not one [B, T], or a bound is out of range.
    """
    check_BT(
        logprobs_BT=logprobs_BT,
        proximal_logprobs_BT=proximal_logprobs_BT,
        behaviour_logprobs_BT=behaviour_logprobs_BT,
        advantages_BT=advantages_BT,
        mask_BT=mask_BT,
    )
    if not 0 <= clip_low <= 1:
        raise ValueError(f"clip_low must be in [0, 1], got {clip_low}")
    if not clip_high >= 0:
        raise ValueError(f"clip_high must not be negative, got {clip_high}")
    if dual_clip is not None and not dual_clip > 1:
        raise ValueError(f"dual_clip must be above 1, or None, got {dual_clip}")

    real_BT = mask_BT != 0
    dtype = compute_dtype(logprobs_BT, proximal_logprobs_BT, behaviour_logprobs_BT, advantages_BT)
    current_BT = keep(logprobs_BT, real_BT, dtype=dtype)
    proximal_BT = keep(proximal_logprobs_BT.detach(), real_BT, dtype=dtype)
    advantage_BT = keep(advantages_BT.detach(), real_BT, dtype=dtype)
    ratio_BT = (current_BT - proximal_BT).clamp(-LOG_RATIO_CLIP, LOG_RATIO_CLIP).exp()
    plain_BT = -advantage_BT * ratio_BT
    clipped_BT = -advantage_BT * ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT = torch.maximum(plain_BT, clipped_BT)
    stopped_BT = clipped_BT > plain_BT
    dual_BT = torch.zeros_like(real_BT)
    if dual_clip is not None:
        bound_BT = -advantage_BT * dual_clip
        dual_BT = (advantage_BT < 0) & (loss_BT > bound_BT)
        loss_BT = torch.where(dual_BT, bound_BT, loss_BT)
    weights_BT, capped_BT = importance_weights(
        proximal_BT, behaviour_logprobs_BT.to(dtype), real_BT, mode=is_mode, cap=is_cap, bounds=is_bounds
    )
    loss_BT = torch.where(real_BT, loss_BT * weights_BT, 0.0)

    with torch.no_grad():
        metrics = {
            "num_tokens": real_BT.sum(),
            "clip_low_count": (stopped_BT & (advantage_BT < 0)).sum(),
            "clip_high_count": (stopped_BT & (advantage_BT > 0)).sum(),
            "dual_clip_count": dual_BT.sum(),
            "ratio_sum": torch.where(real_BT, ratio_BT, 0.0).sum(),
            "policy_kl_sum": k3(proximal_BT, current_BT).sum(),
            "mismatch_kl_sum": mismatch_k3(behaviour_logprobs_BT, proximal_BT, real_BT).sum(),
            "is_weight_sum": weights_BT.sum(),
            "is_capped_count": capped_BT.sum(),
        }
    return loss_BT, {name: value.to(dtype) for name, value in metrics.items()}


def policy_loss(
    logprobs_BT: Tensor,
    proximal_logprobs_BT: Tensor,
    behaviour_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float | None = 3.0,
    is_cap: float | None = 2.0,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """The token mean of `token_losses` with truncated importance weights, as a scalar to minimise.

    `is_cap=None` leaves the importance weight out altogether (weight 1, not an uncapped one). `normalizer` is
    the token count of the whole optimizer step, by default the number of mask tokens. Other arguments, shapes
    and errors: `token_losses`, `aggregate`.
    """
    loss_BT, _ = token_losses(
        logprobs_BT,
        proximal_logprobs_BT,
        behaviour_logprobs_BT,
        advantages_BT,
        mask_BT,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
        is_mode="off" if is_cap is None else "truncate",
        is_cap=2.0 if is_cap is None else is_cap,
    )
    return aggregate(loss_BT, mask_BT, normalizer=normalizer)
