"""ToR (arXiv 2603.25077): only the batch's most uncertain and its most perceptive tokens learn.

Ranks are over the whole optimizer step, so the weights of a response depend on the others beside it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping.interface import BaseShaper, Need, Scope, Shaped, Signals
from pgpo_async.algorithms.shaping.shared import clean_signal, weight_metrics
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, masked_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class TorShaper(BaseShaper):
    """`tor_weights` with fixed parameters.

    Responses to prompts without an image have a gap of 0 whatever the signal holds: they take part by their
    entropy alone. The weights average far below 1, and the loss still divides by all tokens.

    Metrics: `weight_metrics`; over response tokens `entropy_mean` (nats), `reasoning_share` and
    `perception_share`, the shares of tokens that learn by their entropy and by their gap; over those of
    prompts with an image `no_image_gap_mean` (nats).
    """

    name: ClassVar[str] = "tor"
    needs: ClassVar[frozenset[Need]] = frozenset({"no_image", "entropy"})
    scope: ClassVar[Scope] = "batch"
    entropy_top_p: ClassVar[float] = 0.95

    top_fraction: float = 0.3
    perception_weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.top_fraction <= 1:
            raise ValueError(f"top_fraction must be in (0, 1], got {self.top_fraction}")
        if not 0 <= self.perception_weight <= 1:
            raise ValueError(f"perception_weight must be in [0, 1], got {self.perception_weight}")

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        entropy_BT = signals.require("entropy_BT", self.name)
        gap_BT = signals.require("no_image_gap_BT", self.name)
        real_BT, imaged_BT = signals.real_BT, signals.imaged_BT
        weights_BT, reasoning_BT, perception_BT = self._weights(entropy_BT, gap_BT, real_BT, imaged_BT)
        metrics = {
            **weight_metrics(weights_BT, real_BT, imaged_BT),
            "entropy_mean": masked_mean(entropy_BT.to(weights_BT.dtype), real_BT),
            "no_image_gap_mean": masked_mean(gap_BT.to(weights_BT.dtype), imaged_BT),
            "reasoning_share": masked_mean(reasoning_BT.to(weights_BT.dtype), real_BT),
            "perception_share": masked_mean(perception_BT.to(weights_BT.dtype), real_BT),
        }
        return Shaped(weights_BT=weights_BT, metrics=metrics)

    def _weights(
        self, entropy_BT: Tensor, gap_BT: Tensor, real_BT: Tensor, imaged_BT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weights, the tokens that learn by their entropy, and those that do by their gap."""
        dtype = compute_dtype(entropy_BT, gap_BT)
        # Signed: rounding can leave the entropy of a certain token just below 0.
        entropy_BT = clean_signal(entropy_BT, real_BT, "entropy_BT", signed=True)
        gap_BT = clean_signal(gap_BT, imaged_BT, "no_image_gap_BT")
        num_top = math.ceil(int(real_BT.sum()) * self.top_fraction)
        reasoning_BT = _top(entropy_BT, num_top)
        perception_BT = _top(gap_BT, num_top) & ~reasoning_BT
        weights_BT = reasoning_BT.to(dtype) + self.perception_weight * perception_BT.to(dtype)
        return weights_BT, reasoning_BT, perception_BT


def tor_weights(
    entropy_BT: Tensor,
    no_image_gap_BT: Tensor,
    mask_BT: Tensor,
    *,
    top_fraction: float = 0.3,
    perception_weight: float = 0.5,
) -> Tensor:
    """1 in the batch's top by entropy, else `perception_weight` in its top by the gap, else 0.

    ToR, arXiv 2603.25077. A top is the ceil(top_fraction N) highest of the N response tokens of all rows; of
    equal ones it takes the earlier row, then the earlier token. It takes no token whose signal is 0 (certain,
    or not moved by the image), and may so be smaller: else the order of the rows alone would choose.

    Args:
        entropy_BT: of the next-token distribution, cut to its top-p 0.95 set, nats.
        no_image_gap_BT: abs(lp - lp without the image and its positions), nats.
        mask_BT: 1 on response tokens.
        top_fraction: of both tops, in (0, 1].
        perception_weight: in [0, 1].

    Returns:
        Weights [B, T], 0 in padding; no gradient; float32 (float64 if a signal is).

    Raises:
        ValueError: the shapes are not one [B, T], a signal is not finite, a gap is negative, a parameter is
            out of range.
    """
    shaper = TorShaper(top_fraction=top_fraction, perception_weight=perception_weight)
    check_BT(entropy_BT=entropy_BT, no_image_gap_BT=no_image_gap_BT, mask_BT=mask_BT)
    real_BT = mask_BT != 0
    return shaper._weights(entropy_BT, no_image_gap_BT, real_BT, real_BT)[0]


def _top(signal_BT: Tensor, num_top: int) -> Tensor:
    """A bool mask of the batch's highest tokens above 0; padding must hold 0."""
    order_N = signal_BT.flatten().argsort(descending=True, stable=True)
    top_N = torch.zeros_like(order_N, dtype=torch.bool).index_fill(0, order_N[:num_top], True)
    return top_N.view(signal_BT.shape) & (signal_BT > 0)
