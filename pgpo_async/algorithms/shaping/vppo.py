"""The two formulas of VPPO (arXiv 2510.09285): which tokens learn, and how much each trajectory counts.

Both read the same S_t as PGPO, from VPPO's masked image instead of a hidden one.
"""

import torch
from torch import Tensor

from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep

MIN_RANGE = 1e-6
"""Where the mean dependencies of a batch differ by no more, nats, all trajectory factors are 1."""


def vppo_token_mask(dependency_BT: Tensor, mask_BT: Tensor, *, top_fraction: float = 0.4) -> Tensor:
    """1 on the top ceil(top_fraction T) tokens of each response by S_t, else 0 (arXiv 2510.09285).

    Of equal tokens the earlier is taken. The loss still divides by all response tokens.

    Args:
        dependency_BT: S_t in nats.
        mask_BT: 1 on response tokens.
        top_fraction: in (0, 1].

    Returns:
        A float mask [B, T], 0 in padding; float32 (float64 if the dependency is).

    Raises:
        ValueError: the shapes are not one [B, T], or the fraction is out of range.
    """
    check_BT(dependency_BT=dependency_BT, mask_BT=mask_BT)
    if not 0 < top_fraction <= 1:
        raise ValueError(f"top_fraction must be in (0, 1], got {top_fraction}")
    real_BT = mask_BT != 0
    dtype = compute_dtype(dependency_BT)
    ranked_BT = keep(dependency_BT.detach(), real_BT, dtype=dtype, fill=-torch.inf)
    order_BT = ranked_BT.argsort(dim=1, descending=True, stable=True)
    rank_T = torch.arange(ranked_BT.shape[1], device=ranked_BT.device)
    rank_BT = torch.empty_like(order_BT).scatter(1, order_BT, rank_T.expand_as(order_BT))
    num_top_B1 = (real_BT.sum(dim=1, keepdim=True).to(torch.float64) * top_fraction).ceil()
    return ((rank_BT < num_top_B1) & real_BT).to(dtype)


def vppo_trajectory_factors(dependency_BT: Tensor, mask_BT: Tensor, *, floor: float = 0.9) -> Tensor:
    """The factor on each trajectory's advantage: b_min + n (b_max - b_min) (arXiv 2510.09285).

    n is the response's mean S_t, min-maxed over the batch; b_min is `floor`; b_max = b_min + (1 - b_min) /
    mean n, so that the factors' mean is 1. All 1 where the range of the means is at most 1e-6. The batch must
    be the whole optimizer step, which the released code's per-device range is not. Empty responses take no
    part and get 1.

    Args:
        dependency_BT: S_t in nats.
        mask_BT: 1 on response tokens.
        floor: b_min in [0, 1].

    Returns:
        Factors [B], no gradient; float32 (float64 if the dependency is).

    Raises:
        ValueError: the shapes are not one [B, T], or the floor is out of range.
    """
    check_BT(dependency_BT=dependency_BT, mask_BT=mask_BT)
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor}")
    real_BT = mask_BT != 0
    kept_BT = keep(dependency_BT.detach(), real_BT, dtype=compute_dtype(dependency_BT))
    length_B = real_BT.sum(dim=1)
    filled_B = length_B > 0
    mean_B = kept_BT.sum(dim=1) / length_B.clamp(min=1)
    ones_B = torch.ones_like(mean_B)
    if not bool(filled_B.any()):
        return ones_B
    lowest = mean_B[filled_B].amin()
    spread = mean_B[filled_B].amax() - lowest
    if not bool(spread > MIN_RANGE):
        return ones_B
    n_B = (mean_B - lowest) / spread
    rise = (1 - floor) / n_B[filled_B].mean()
    return torch.where(filled_B, floor + n_B * rise, ones_B)
