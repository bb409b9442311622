"""A large vocabulary a slice at a time: the logits of a slice, and a softmax seen slice by slice.

Owns what `logprobs` and its divergence have in common. Called by `logprobs`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def vocabulary_slices(
    weight: Tensor, bias: Tensor | None, width: int
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """First token id, weight [v, H] and bias [v] of each slice, as computed with."""
    for start in range(0, len(weight), width):
        part = slice(start, start + width)
        yield start, as_computed(weight[part]), None if bias is None else as_computed(bias[part])


def as_computed(tensor: Tensor) -> Tensor:
    """In the precision of the products: float32 on a CPU, few of which are fast in bfloat16."""
    return tensor if tensor.is_cuda else tensor.float()


def place_in_slice(target_ids_N: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Which targets lie in the slice, and where in it (anywhere for the others)."""
    local = target_ids_N - start
    return (local >= 0) & (local < width), local.clamp(0, width - 1)


class SliceLogits:
    """float32 [N, v] a slice, one after another in the same place where the products are float32.

    Fresh memory for each would be cleared by the system first, and stay with the C library in pieces.
    """

    def __init__(self, hidden_NH: Tensor, width: int, temperature: float) -> None:
        self._hidden = hidden_NH
        self._temperature = temperature
        self._place: Tensor | None = None
        if hidden_NH.dtype == torch.float32:
            self._place = hidden_NH.new_empty(len(hidden_NH) * width)

    def of(self, weight_vH: Tensor, bias_v: Tensor | None) -> Tensor:
        """Of a slice of the weight; the slice before is gone."""
        if self._place is None:
            logits_Nv = nn.functional.linear(self._hidden, weight_vH, bias_v).float()
        else:
            shape = len(self._hidden), len(weight_vH)
            logits_Nv = self._place[: shape[0] * shape[1]].view(shape)
            torch.mm(self._hidden, weight_vH.T, out=logits_Nv)
            if bias_v is not None:
                logits_Nv += bias_v
        return logits_Nv if self._temperature == 1.0 else logits_Nv.div_(self._temperature)


class RunningSoftmax:
    """A softmax seen slice by slice: the targets' logits, the log-sum-exp, an expectation."""

    def __init__(self, target_ids_N: Tensor) -> None:
        self._targets = target_ids_N
        self._chosen = torch.zeros(len(target_ids_N), dtype=torch.float32, device=target_ids_N.device)
        self._logsumexps: list[Tensor] = []
        self._means: list[Tensor] = []

    def add(self, start: int, logits_Nv: Tensor, values_Nv: Tensor | None = None) -> None:
        """Take in a slice, which is overwritten; with values their expectation too."""
        inside, local = place_in_slice(self._targets, start, logits_Nv.shape[1])
        picked = logits_Nv.gather(1, local.unsqueeze(1)).squeeze(1)
        self._chosen = torch.where(inside, picked, self._chosen)
        largest = logits_Nv.amax(1, keepdim=True)
        shares = logits_Nv.sub_(largest).exp_()
        total = shares.sum(1)
        self._logsumexps.append(total.log() + largest.squeeze(1))
        if values_Nv is not None:
            self._means.append(shares.mul_(values_Nv).sum(1) / total)

    def logsumexp(self) -> Tensor:
        """Over all slices."""
        return torch.stack(self._logsumexps).logsumexp(0)

    def logprobs(self) -> Tensor:
        """Of the targets."""
        return self._chosen - self.logsumexp()

    def expectation(self) -> Tensor:
        """Of the values, under the softmax."""
        return (torch.stack(self._logsumexps).softmax(0) * torch.stack(self._means)).sum(0)
