"""PGPO's token weights (arXiv 2604.01840, eq. 4 to 8) and the shaper that the scorer runs.

Owns the weights of a response given its S_t. Every row is worked out by itself, all rows at once.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping.interface import BaseShaper, Need, Shaped, Signals
from pgpo_async.algorithms.shaping.shared import clean_signal, weight_metrics
from pgpo_async.algorithms.tensors import check_BT, masked_mean
from pgpo_async.algorithms.visual_dependency import dependency_metrics

ThresholdMode = Literal["absolute", "quantile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PgpoShaper(BaseShaper):
    """`pgpo_weights` with fixed parameters; responses to prompts without an image get weights of 1.

    Metrics: over response tokens `num_tokens`, `weight_mean` (1 with mass normalization), `weight_max`; over
    those of prompts with an image `num_image_tokens`, `dependency_mean`, `dependency_log_mean` (nats) and
    `boosted_share`, the share of tokens at or above the threshold. To combine batches, weigh means by counts.
    """

    name: ClassVar[str] = "pgpo"
    needs: ClassVar[frozenset[Need]] = frozenset({"blind"})

    tau: float = 0.4
    beta: float = 2.0
    eps: float = 1e-8
    threshold_mode: ThresholdMode = "absolute"
    low_weight_floor: float = 0.0
    mass_normalization: bool = True
    min_spread: float = 1e-3
    max_weight: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ValueError(f"tau must be in [0, 1], got {self.tau}")
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, got {self.beta}")
        if not self.eps > 0:
            raise ValueError(f"eps must be positive, got {self.eps}")
        if self.threshold_mode not in get_args(ThresholdMode):
            raise ValueError(
                f"threshold_mode must be one of {list(get_args(ThresholdMode))}, got {self.threshold_mode!r}"
            )
        if not 0 <= self.low_weight_floor <= 1:
            raise ValueError(f"low_weight_floor must be in [0, 1], got {self.low_weight_floor}")
        if not self.min_spread >= 0:
            raise ValueError(f"min_spread must not be negative, got {self.min_spread}")
        # Below 1 the capped weights could not hold the mass.
        if self.max_weight is not None and not self.max_weight >= 1:
            raise ValueError(f"max_weight must be at least 1, or None, got {self.max_weight}")

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        dependency_BT = signals.require("dependency_BT", self.name)
        real_BT, imaged_BT = signals.real_BT, signals.imaged_BT
        # A row without an image is an empty response here: its dependency may be anything.
        shaped_BT, boosted_BT = self._weights(dependency_BT, imaged_BT)
        weights_BT = torch.where(imaged_BT, shaped_BT, real_BT.to(shaped_BT.dtype))
        metrics = {
            **weight_metrics(weights_BT, real_BT, imaged_BT),
            **dependency_metrics(dependency_BT, imaged_BT),
            "boosted_share": masked_mean(boosted_BT.to(shaped_BT.dtype), imaged_BT),
        }
        return Shaped(weights_BT=weights_BT, metrics=metrics)

    def _weights(self, dependency_BT: Tensor, real_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The weights, and which tokens are at or above the threshold (none in a flat response)."""
        dependency_BT = clean_signal(dependency_BT, real_BT, "dependency_BT")
        if dependency_BT.numel() == 0:
            return dependency_BT, real_BT
        s_BT = dependency_BT.log1p()
        lowest_B1 = s_BT.masked_fill(~real_BT, torch.inf).amin(dim=1, keepdim=True)
        highest_B1 = s_BT.masked_fill(~real_BT, -torch.inf).amax(dim=1, keepdim=True)
        spread_B1 = highest_B1 - lowest_B1  # -inf in an empty response: flat
        # Without this, rounding noise of 1e-7 would give one token the mass of all.
        flat_B1 = (spread_B1 < self.min_spread) | (spread_B1 <= torch.finfo(spread_B1.dtype).tiny)
        usable_BT = real_BT & ~flat_B1
        importance_BT = torch.where(usable_BT, (s_BT - lowest_B1) / (spread_B1 + self.eps), 0.0)

        threshold_B1 = self._threshold(importance_BT, real_BT)
        high_BT = importance_BT >= threshold_B1
        suppressed_BT = (importance_BT / (threshold_B1 + self.eps)).clamp(min=self.low_weight_floor)
        boosted_BT = 1 + self.beta * (importance_BT - threshold_B1) / (1 - threshold_B1 + self.eps)
        weights_BT = torch.where(usable_BT, torch.where(high_BT, boosted_BT, suppressed_BT), 0.0)
        if self.mass_normalization:
            num_tokens_B1 = real_BT.sum(dim=1, keepdim=True)
            weights_BT = weights_BT / weights_BT.sum(dim=1, keepdim=True) * num_tokens_B1
            if self.max_weight is not None:
                weights_BT = _cap(weights_BT, usable_BT, self.max_weight)
        elif self.max_weight is not None:
            weights_BT = weights_BT.clamp(max=self.max_weight)
        weights_BT = torch.where(flat_B1, 1.0, weights_BT)
        return torch.where(real_BT, weights_BT, 0.0), high_BT & usable_BT

    def _threshold(self, importance_BT: Tensor, real_BT: Tensor) -> Tensor:
        if self.threshold_mode == "absolute":
            return importance_BT.new_full((len(importance_BT), 1), self.tau)
        ascending_BT = importance_BT.masked_fill(~real_BT, torch.inf).sort(dim=1).values
        num_tokens_B1 = real_BT.sum(dim=1, keepdim=True)
        # float64, as floor(T tau) in Python: in float32 an index could be one off. tau=1 names the last.
        index_B1 = (num_tokens_B1.to(torch.float64) * self.tau).floor().long()
        threshold_B1 = ascending_BT.gather(1, index_B1.minimum(num_tokens_B1 - 1).clamp(min=0))
        return torch.where(num_tokens_B1 > 0, threshold_B1, 0.0)


def pgpo_weights(
    dependency_BT: Tensor,
    mask_BT: Tensor,
    *,
    tau: float = 0.4,
    beta: float = 2.0,
    eps: float = 1e-8,
    threshold_mode: ThresholdMode = "absolute",
    low_weight_floor: float = 0.0,
    mass_normalization: bool = True,
    min_spread: float = 1e-3,
    max_weight: float | None = None,
) -> Tensor:
    """Weights w_t of the response tokens; the shaped advantage is A w_t (PGPO arXiv 2604.01840, eq. 4 to 8).

    Per response: s = log(1 + S); I = (s - min s) / (max s - min s + eps); w = I / (tau + eps) where I < tau,
    else 1 + beta (I - tau) / (1 - tau + eps); then w <- w T / sum w.

    Args:
        dependency_BT: S_t in nats, not negative.
        mask_BT: 1 on response tokens.
        tau: threshold in [0, 1]; 1 is suppression only, 0 boosting only.
        beta: how much the most dependent token is boosted above 1, before normalization.
        eps: guards the divisions.
        threshold_mode: `quantile` puts the ascending I at index floor(T tau), at most the last, for tau.
        low_weight_floor: least weight of a suppressed token, before normalization.
        mass_normalization: scale each response's weights to sum to its token count T.
        min_spread: where max s - min s is below, nats, the response is flat and its weights are 1.
        max_weight: cap at least 1; the excess goes to the uncapped tokens in proportion to their weights
            (evenly if all of those are 0), so the mass stays T. Without mass normalization it only cuts.

    Returns:
        Weights [B, T], 0 in padding; no gradient; float32 (float64 if given).

    Raises:
        ValueError: the shapes are not one [B, T], S_t is negative or not finite, a parameter is out of range.
    """
    shaper = PgpoShaper(
        tau=tau,
        beta=beta,
        eps=eps,
        threshold_mode=threshold_mode,
        low_weight_floor=low_weight_floor,
        mass_normalization=mass_normalization,
        min_spread=min_spread,
        max_weight=max_weight,
    )
    check_BT(dependency_BT=dependency_BT, mask_BT=mask_BT)
    weights_BT, _ = shaper._weights(dependency_BT, mask_BT != 0)
    return weights_BT


def _cap(weights_BT: Tensor, real_BT: Tensor, max_weight: float) -> Tensor:
    """Cap weights of mass T (0 in padding), handing the excess to the uncapped in proportion.

    The scaled-up weights may pass the cap in turn, so the number capped is the least at which none does. One
    sort tries all numbers at once: column j of the sorted weights asks whether all after it are capped.
    """
    num_tokens_B1 = real_BT.sum(dim=1, keepdim=True)
    # Padding sorts before the tokens of weight 0, if at all apart, and adds 0 to the sums.
    ascending_BT, order_BT = weights_BT.masked_fill(~real_BT, -1.0).sort(dim=1)
    ascending_BT = ascending_BT.clamp(min=0.0)
    width = weights_BT.shape[1]
    column_T = torch.arange(width, device=weights_BT.device)
    num_capped_T = (width - 1 - column_T).to(weights_BT.dtype)  # an integer x float would be float32
    uncapped_sum_BT = ascending_BT.cumsum(dim=1)
    mass_left_BT = num_tokens_B1 - num_capped_T * max_weight
    fits_BT = ascending_BT * mass_left_BT <= max_weight * uncapped_sum_BT
    last_B1 = torch.where(fits_BT, column_T, 0).amax(dim=1, keepdim=True)  # the last uncapped column
    rest_B1 = uncapped_sum_BT.gather(1, last_B1)
    mass_left_B1 = mass_left_BT.gather(1, last_B1)
    num_uncapped_B1 = (num_tokens_B1 - (width - 1 - last_B1)).clamp(min=1)
    # Divided first: the rest may be so small that mass_left / rest is inf.
    proportional_BT = ascending_BT / rest_B1 * mass_left_B1
    filled_BT = torch.where(rest_B1 > 0, proportional_BT, mass_left_B1 / num_uncapped_B1)
    capped_BT = torch.where(column_T > last_B1, max_weight, filled_BT.clamp(max=max_weight))
    result_BT = torch.empty_like(weights_BT).scatter(1, order_BT, capped_BT)
    return torch.where(real_BT, result_BT, 0.0)
