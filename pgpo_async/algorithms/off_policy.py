"""Corrects for tokens that another policy sampled than the one the ratio is taken against.

Behaviour log-probs are vLLM's, of one or several older weight versions; proximal log-probs are the scorer's
sighted pass, or interpolated where a run has no scorer. The weight between them carries no gradient
(decoupled PPO, AReaL, arXiv 2505.24298).
Called by `losses`; `mismatch_kl` also by the learner's metrics, `interpolated_proximal` by the learner.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep, masked_mean

ISMode = Literal["truncate", "icepop", "off"]

LOG_RATIO_CLIP = 20.0
"""Log ratios are clipped to +- this before exp, so that no token can make an inf; far beyond any clip."""


def interpolated_proximal(logprobs_BT: Tensor, behaviour_logprobs_BT: Tensor, lag_BT: Tensor) -> Tensor:
    """Proximal log-probs without a forward pass: between behaviour and current, log-linear in the version.

    lp_behaviour + alpha (lp - lp_behaviour) with alpha = (v_proximal - v_behaviour) / (v_theta - v_behaviour)
    = lag / (lag + 1) (AReaL's documentation, "Proximal Log-Probability Approximation"): v_proximal are the
    weights that the step starts from, v_behaviour those that sampled the token, v_theta = v_proximal + 1 the
    ones in the making. At lag 0 it is the behaviour policy itself: the loss is plain PPO against the sampler.

    Args:
        logprobs_BT: of the policy in training, nats.
        behaviour_logprobs_BT: of the generator, nats.
        lag_BT: v_proximal - v_behaviour of each token, in optimizer steps; integer or float.

    Returns:
        Log-probs [B, T], nats; no gradient; float32 (float64 if a log-prob is). Padding is not cleaned, which
        the loss does, but must not hold a negative lag either.

    Raises:
        ValueError: the shapes are not one [B, T], or a lag is negative.
    """
    check_BT(logprobs_BT=logprobs_BT, behaviour_logprobs_BT=behaviour_logprobs_BT, lag_BT=lag_BT)
    if bool((lag_BT < 0).any()):
        raise ValueError(f"lag_BT must not be negative, got {lag_BT.amin().item()}")
    dtype = compute_dtype(logprobs_BT, behaviour_logprobs_BT)
    current_BT, behaviour_BT = logprobs_BT.detach().to(dtype), behaviour_logprobs_BT.detach().to(dtype)
    alpha_BT = lag_BT.to(dtype) / (lag_BT.to(dtype) + 1)
    return behaviour_BT + alpha_BT * (current_BT - behaviour_BT)


class ImportanceWeights(NamedTuple):
    """`weights_BT`, 0 in padding; `capped_BT`, true at tokens whose ratio the mode cut or dropped."""

    weights_BT: Tensor
    capped_BT: Tensor


def importance_weights(
    proximal_logprobs_BT: Tensor,
    behaviour_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    mode: ISMode = "truncate",
    cap: float = 2.0,
    bounds: tuple[float, float] = (0.5, 5.0),
) -> ImportanceWeights:
    """pi_proximal(x_t) / pi_behaviour(x_t), made safe, without gradient.

    `truncate`: min(ratio, cap) (truncated importance sampling). `icepop`: the ratio inside [bounds], ends
    included, and 0 outside, which leaves out tokens that the engines disagree on (IcePop, arXiv 2510.18855).
    `off`: 1.

    Args:
        proximal_logprobs_BT: nats, of the policy that the loss's ratio is taken against.
        behaviour_logprobs_BT: nats, of the policy that sampled.
        mask_BT: 1 on response tokens.
        mode: see above.
        cap: upper bound of `truncate`; not used by the others.
        bounds: lowest and highest ratio of `icepop`; not used by the others.

    Raises:
        ValueError: the shapes are not one [B, T], an unknown mode, or a cap or bounds out of range.
    """
    check_BT(
        proximal_logprobs_BT=proximal_logprobs_BT,
        behaviour_logprobs_BT=behaviour_logprobs_BT,
        mask_BT=mask_BT,
    )
    if mode not in get_args(ISMode):
        raise ValueError(f"is_mode must be one of {list(get_args(ISMode))}, got {mode!r}")
    real_BT = mask_BT != 0
    dtype = compute_dtype(proximal_logprobs_BT, behaviour_logprobs_BT)
    if mode == "off":
        return ImportanceWeights(real_BT.to(dtype), torch.zeros_like(real_BT))
    log_ratio_BT = keep(proximal_logprobs_BT.detach(), real_BT, dtype=dtype) - keep(
        behaviour_logprobs_BT.detach(), real_BT, dtype=dtype
    )
    ratio_BT = log_ratio_BT.clamp(-LOG_RATIO_CLIP, LOG_RATIO_CLIP).exp()
    if mode == "truncate":
        if not cap > 0:
            raise ValueError(f"is_cap must be positive, got {cap}")
        capped_BT, weights_BT = ratio_BT > cap, ratio_BT.clamp(max=cap)
    else:
        low, high = bounds
        if not 0 <= low < high:
            raise ValueError(f"is_bounds must be rising and not negative, got {bounds}")
        capped_BT = (ratio_BT < low) | (ratio_BT > high)
        weights_BT = torch.where(capped_BT, 0.0, ratio_BT)
    return ImportanceWeights(torch.where(real_BT, weights_BT, 0.0), capped_BT & real_BT)


def mismatch_kl(behaviour_logprobs_BT: Tensor, proximal_logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean k3 estimate of KL(behaviour || proximal) over the mask, nats, as a scalar without gradient.

    At lag 0 it measures only the difference of numerics between the engines (DESIGN 7); 0 for an empty mask.

    Raises:
        ValueError: the shapes are not one [B, T].
    """
    return masked_mean(mismatch_k3(behaviour_logprobs_BT, proximal_logprobs_BT, mask_BT), mask_BT != 0)


def mismatch_k3(behaviour_logprobs_BT: Tensor, proximal_logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The per-token terms of `mismatch_kl`, 0 in padding: for sums over micro-batches and ranks."""
    check_BT(
        behaviour_logprobs_BT=behaviour_logprobs_BT,
        proximal_logprobs_BT=proximal_logprobs_BT,
        mask_BT=mask_BT,
    )
    real_BT = mask_BT != 0
    dtype = compute_dtype(behaviour_logprobs_BT, proximal_logprobs_BT)
    return k3(
        keep(behaviour_logprobs_BT.detach(), real_BT, dtype=dtype),
        keep(proximal_logprobs_BT.detach(), real_BT, dtype=dtype),
    )
