"""The per-token divergence estimator k3. Knows no mask: callers clean padding first.

Used by visual dependency, the mismatch and reference KL, and PAPO.
"""

from torch import Tensor

from pgpo_async.algorithms.tensors import check_same_shape, compute_dtype


def k3(
    logprobs_BT: Tensor, other_logprobs_BT: Tensor, *, log_ratio_clip: float = 20.0, max_value: float = 10.0
) -> Tensor:
    """Estimate KL(p || other) per token, at tokens that were sampled from p.

    (r - 1) - log r with r = exp(other - logprobs): unbiased before clipping and never negative
    (Schulman, "Approximating KL divergence", 2020; PGPO arXiv 2604.01840, app. A.1).

    Args:
        logprobs_BT: log p(x_t), nats; the policy that sampled. Any shape.
        other_logprobs_BT: log other(x_t), nats, same shape.
        log_ratio_clip: the log ratio is clipped to +- this.
        max_value: the result is clipped to [0, max_value]; no gradient flows where a clip acts.

    Returns:
        The estimate in nats, same shape, float32 (float64 if an input is).

    Raises:
        ValueError: shapes differ, or a bound is not positive.
    """
    check_same_shape(logprobs_BT=logprobs_BT, other_logprobs_BT=other_logprobs_BT)
    if not log_ratio_clip > 0:
        raise ValueError(f"log_ratio_clip must be positive, got {log_ratio_clip}")
    if not max_value > 0:
        raise ValueError(f"max_value must be positive, got {max_value}")
    dtype = compute_dtype(logprobs_BT, other_logprobs_BT)
    log_ratio_BT = (other_logprobs_BT.to(dtype) - logprobs_BT.to(dtype)).clamp(
        -log_ratio_clip, log_ratio_clip
    )
    # expm1: for nearly equal policies exp(x) - 1 would leave only rounding error.
    return (log_ratio_BT.expm1() - log_ratio_BT).clamp(0.0, max_value)
