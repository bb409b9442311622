"""VPPO (arXiv 2510.09285): which tokens learn, and how much each trajectory counts.

Both formulas read S_t as PGPO does, taken against a masked image instead of a hidden one.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping.interface import (
    BaseShaper,
    ImageMasking,
    LossTerms,
    Need,
    Scope,
    Shaped,
    Signals,
)
from pgpo_async.algorithms.shaping.shared import clean_signal, weight_metrics
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep, masked_mean
from pgpo_async.algorithms.visual_dependency import dependency_metrics

MIN_RANGE = 1e-6
"""Where the mean dependencies of a batch differ by no more, nats, all trajectory factors are 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VppoShaper(BaseShaper):
    """Token mask times trajectory factor, over the optimizer step; loss term 0.06 mean(-lp).

    Responses to prompts without an image get weights of 1 and take no part in the batch's range.

    Metrics: `weight_metrics`; over tokens of prompts with an image `dependency_mean`, `dependency_log_mean`
    (nats) and `kept_share`, the share of tokens that carry gradient; `factor_min`, `factor_max`.
    """

    name: ClassVar[str] = "vppo"
    needs: ClassVar[frozenset[Need]] = frozenset({"masked_image"})
    scope: ClassVar[Scope] = "batch"

    top_fraction: float = 0.4
    floor: float = 0.9
    entropy_penalty: float = 0.06
    mask_probability: float = 0.5
    mask_cell_px: int = 14

    def __post_init__(self) -> None:
        _check_range(top_fraction=self.top_fraction, floor=self.floor)
        if not self.entropy_penalty >= 0:
            raise ValueError(f"entropy_penalty must not be negative, got {self.entropy_penalty}")
        ImageMasking(probability=self.mask_probability, cell_px=self.mask_cell_px)  # refuses its own

    @property
    def masking(self) -> ImageMasking:
        """After the resize, where 14 px is a patch; a fresh mask for each response."""
        return ImageMasking(
            probability=self.mask_probability, cell_px=self.mask_cell_px, resized=True, per_response=True
        )

    @property
    def loss_terms(self) -> LossTerms:
        """The entropy penalty."""
        return LossTerms(entropy=self.entropy_penalty)

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        name = "masked_dependency_BT"
        real_BT, imaged_BT = signals.real_BT, signals.imaged_BT
        dependency_BT = clean_signal(signals.require(name, self.name), imaged_BT, name)
        # A row without an image is an empty response here: nothing to keep, a factor of 1, not in the range.
        kept_BT = vppo_token_mask(dependency_BT, imaged_BT, top_fraction=self.top_fraction)
        factors_B = vppo_trajectory_factors(dependency_BT, imaged_BT, floor=self.floor)
        weights_BT = torch.where(imaged_BT, kept_BT * factors_B.unsqueeze(1), real_BT.to(kept_BT.dtype))
        # The factors of those in the range average 1, so the others' 1 is never the least or the largest.
        extremes = factors_B if len(factors_B) else factors_B.new_ones(1)
        metrics = {
            **weight_metrics(weights_BT, real_BT, imaged_BT),
            **dependency_metrics(dependency_BT, imaged_BT),
            "kept_share": masked_mean(kept_BT, imaged_BT),
            "factor_min": extremes.amin(),
            "factor_max": extremes.amax(),
        }
        return Shaped(weights_BT=weights_BT, metrics=metrics)


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
    _check_range(top_fraction=top_fraction)
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
    _check_range(floor=floor)
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


def _check_range(*, top_fraction: float = 1.0, floor: float = 0.0) -> None:
    if not 0 < top_fraction <= 1:
        raise ValueError(f"top_fraction must be in (0, 1], got {top_fraction}")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor}")
