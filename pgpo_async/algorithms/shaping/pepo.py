"""PEPO (arXiv 2603.22847): tokens near the image in hidden space weigh more, the more so where uncertain.

Every response is worked out by itself, all rows at once. The weights fade in over training.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping.interface import BaseShaper, Need, Shaped, Signals
from pgpo_async.algorithms.shaping.shared import clean_signal, weight_metrics
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, masked_mean

MIN_SPREAD = 1e-6
"""A signal that spreads no more over a response is flat: min-max would blow up its rounding noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PepoShaper(BaseShaper):
    """`pepo_weights` with fixed parameters; responses to prompts without an image get weights of 1.

    Metrics: `weight_metrics`; over tokens of prompts with an image `similarity_mean`, `entropy_mean` (nats).
    """

    name: ClassVar[str] = "pepo"
    needs: ClassVar[frozenset[Need]] = frozenset({"hidden_similarity", "entropy"})

    alpha: float = 0.05
    temperature: float = 1.8

    def __post_init__(self) -> None:
        # Above 1 the gate could turn negative, and a similar token weigh less for it.
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        similarity_BT = signals.require("similarity_BT", self.name)
        entropy_BT = signals.require("entropy_BT", self.name)
        real_BT, imaged_BT = signals.real_BT, signals.imaged_BT
        # A row without an image is an empty response here: its signals may be anything.
        shaped_BT = self._weights(similarity_BT, entropy_BT, imaged_BT, signals.progress)
        weights_BT = torch.where(imaged_BT, shaped_BT, real_BT.to(shaped_BT.dtype))
        metrics = {
            **weight_metrics(weights_BT, real_BT, imaged_BT),
            "similarity_mean": masked_mean(similarity_BT.to(weights_BT.dtype), imaged_BT),
            "entropy_mean": masked_mean(entropy_BT.to(weights_BT.dtype), imaged_BT),
        }
        return Shaped(weights_BT=weights_BT, metrics=metrics)

    def _weights(self, similarity_BT: Tensor, entropy_BT: Tensor, real_BT: Tensor, progress: float) -> Tensor:
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must be in [0, 1], got {progress}")
        dtype = compute_dtype(similarity_BT, entropy_BT)
        v_BT = clean_signal(similarity_BT, real_BT, "similarity_BT", signed=True).to(dtype)
        entropy_BT = clean_signal(entropy_BT, real_BT, "entropy_BT", signed=True).to(dtype)
        if v_BT.numel() == 0:
            return v_BT
        num_tokens_B1 = real_BT.sum(dim=1, keepdim=True)
        m_BT = _minmax(v_BT, real_BT) + _minmax(entropy_BT, real_BT)
        mean_B1 = m_BT.sum(dim=1, keepdim=True) / num_tokens_B1.clamp(min=1)
        gated_BT = v_BT * (1 + self.alpha * (m_BT - mean_B1).tanh())
        # An empty row's softmax is nan, and the last line's to drop.
        share_BT = (gated_BT / self.temperature).masked_fill(~real_BT, -torch.inf).softmax(dim=1)
        shaped_BT = num_tokens_B1 * share_BT  # before the progress: an integer x a number would be float32
        return torch.where(real_BT, (1 - progress) + progress * shaped_BT, 0.0)


def pepo_weights(
    similarity_BT: Tensor,
    entropy_BT: Tensor,
    mask_BT: Tensor,
    *,
    progress: float,
    alpha: float = 0.05,
    temperature: float = 1.8,
) -> Tensor:
    """The factor (1 - l) + l w_t on each token's advantage; a response's factors sum to its token count T.

    PEPO, arXiv 2603.22847. Per response, with v the similarity, H the entropy: m = minmax(v) + minmax(H), a
    flat signal giving 0s; w = T softmax(v (1 + alpha tanh(m - mean m)) / temperature); l is the progress.

    Args:
        similarity_BT: cosine of the token's hidden state with the image tokens', in [-1, 1].
        entropy_BT: of the next-token distribution, nats.
        mask_BT: 1 on response tokens.
        progress: how much of training is done, in [0, 1]; at 0 every factor is 1.
        alpha: how much m moves v, in [0, 1].
        temperature: of the softmax.

    Returns:
        Factors [B, T], 0 in padding; no gradient; float32 (float64 if a signal is).

    Raises:
        ValueError: the shapes are not one [B, T], a signal is not finite, a parameter is out of range.
    """
    shaper = PepoShaper(alpha=alpha, temperature=temperature)
    check_BT(similarity_BT=similarity_BT, entropy_BT=entropy_BT, mask_BT=mask_BT)
    return shaper._weights(similarity_BT, entropy_BT, mask_BT != 0, progress)


def _minmax(signal_BT: Tensor, real_BT: Tensor) -> Tensor:
    """The signal scaled to [0, 1] over each response; 0s where it is flat, and in padding."""
    lowest_B1 = signal_BT.masked_fill(~real_BT, torch.inf).amin(dim=1, keepdim=True)
    highest_B1 = signal_BT.masked_fill(~real_BT, -torch.inf).amax(dim=1, keepdim=True)
    spread_B1 = highest_B1 - lowest_B1  # -inf in an empty response: flat
    return torch.where(real_BT & (spread_B1 > MIN_SPREAD), (signal_BT - lowest_B1) / spread_B1, 0.0)
