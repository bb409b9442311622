"""Token visual dependency S_t: how much the image changed the probability of each response token.

Owns the estimate from two sets of log-probs. Does not own how they are computed (`pgpo_async.policy`) nor
what follows from S_t (`shaping`). Called by the scorer.
"""

from torch import Tensor

from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep, masked_mean


def token_visual_dependency(
    sighted_logprobs_BT: Tensor,
    blind_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    log_ratio_clip: float = 20.0,
    max_dependency: float = 10.0,
) -> Tensor:
    """S_t, the k3 estimate of KL(pi(.|s_t, I) || pi(.|s_t)): the information that the image I adds.

    PGPO arXiv 2604.01840, sec. 3 and app. A.1. Both passes must come from the same weights, kernels and
    precision (DESIGN 5.4): a difference of numerics would read as dependency.

    Args:
        sighted_logprobs_BT: log pi(x_t | s_t, I), nats.
        blind_logprobs_BT: log pi(x_t | s_t), nats, the image hidden.
        mask_BT: 1 on response tokens.
        log_ratio_clip: bound on the absolute log ratio.
        max_dependency: bound on S_t.

    Returns:
        S_BT in nats, in [0, max_dependency], 0 in padding; no gradient; float32 (float64 if an input is).

    Raises:
        ValueError: the shapes are not one [B, T], or a bound is not positive.
    """
    check_BT(sighted_logprobs_BT=sighted_logprobs_BT, blind_logprobs_BT=blind_logprobs_BT, mask_BT=mask_BT)
    real_BT = mask_BT != 0
    dtype = compute_dtype(sighted_logprobs_BT, blind_logprobs_BT)
    # Padding becomes 0 in both passes, so its ratio is 1 and its dependency 0.
    return k3(
        keep(sighted_logprobs_BT.detach(), real_BT, dtype=dtype),
        keep(blind_logprobs_BT.detach(), real_BT, dtype=dtype),
        log_ratio_clip=log_ratio_clip,
        max_value=max_dependency,
    )


def exact_visual_dependency(kl_BT: Tensor, mask_BT: Tensor, *, max_dependency: float = 10.0) -> Tensor:
    """S_t as KL(pi(.|s_t, I) || pi(.|s_t)) itself, which `token_visual_dependency` estimates from one token.

    Args:
        kl_BT: the divergence over the whole vocabulary, nats (`pgpo_async.policy`).
        mask_BT: 1 on response tokens.
        max_dependency: bound on S_t, the same as the estimate's.

    Returns:
        S_BT in nats, in [0, max_dependency], 0 in padding; no gradient.

    Raises:
        ValueError: the shapes are not one [B, T], or the bound is not positive.
    """
    check_BT(kl_BT=kl_BT, mask_BT=mask_BT)
    if not max_dependency > 0:
        raise ValueError(f"max_dependency must be positive, got {max_dependency}")
    kept_BT = keep(kl_BT.detach(), mask_BT != 0, dtype=compute_dtype(kl_BT))
    return kept_BT.clamp(0.0, max_dependency)


def dependency_metrics(dependency_BT: Tensor, mask_BT: Tensor) -> dict[str, Tensor]:
    """Mean S and mean log(1 + S) over the mask, in nats: `dependency_mean`, `dependency_log_mean`.

    Both 0 for an empty mask. Means over several batches need weighting by their token counts.

    Raises:
        ValueError: the shapes are not one [B, T].
    """
    check_BT(dependency_BT=dependency_BT, mask_BT=mask_BT)
    real_BT = mask_BT != 0
    kept_BT = keep(dependency_BT.detach(), real_BT, dtype=compute_dtype(dependency_BT))
    return {
        "dependency_mean": masked_mean(kept_BT, real_BT),
        "dependency_log_mean": masked_mean(kept_BT.log1p(), real_BT),
    }
