"""Attention kernels that also return the log-sum-exp, so that parts of one softmax can be merged.

A part's backward, given the merged output and log-sum-exp, is that part's share of the whole's backward:
what flash attention (arXiv 2205.14135) needs of the forward is those two alone. Rectangles: query, key, value
[batch, heads, length, d], log-sum-exp float32 [batch, heads, length]. Owns the choice of kernel by device and
dtype; which rectangles there are is `attention`'s work.
"""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

AttentionKernel = Literal["auto", "flash", "math"]


class Heads(NamedTuple):
    """What is attended with, or the gradients of that."""

    query: Tensor
    key: Tensor
    value: Tensor


class Attended(NamedTuple):
    """Output and log-sum-exp of a part; merged ones in a backward pass."""

    output: Tensor
    logsumexp: Tensor


class Rectangles(Protocol):
    """Attention of rectangles, causal or full; the lengths of query and key are equal if causal."""

    def forward(self, heads: Heads, *, causal: bool, scale: float) -> Attended:
        """Attend."""
        ...

    def backward(
        self, grad: Tensor, heads: Heads, attended: Attended, *, causal: bool, scale: float
    ) -> Heads:
        """Gradients, from that of the output."""
        ...


class CpuFlash:
    """torch's flash attention for the CPU: blocks of scores stay in the cache."""

    def forward(self, heads: Heads, *, causal: bool, scale: float) -> Attended:
        """See `Rectangles`."""
        run = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return Attended(*run(*heads, 0.0, causal, scale=scale))

    def backward(
        self, grad: Tensor, heads: Heads, attended: Attended, *, causal: bool, scale: float
    ) -> Heads:
        """See `Rectangles`."""
        run = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return Heads(*run(grad, *heads, *attended, 0.0, causal, scale=scale))


class Math:
    """Matrix products and a softmax in the open: any device and dtype, scores of a rectangle in memory."""

    def forward(self, heads: Heads, *, causal: bool, scale: float) -> Attended:
        """See `Rectangles`."""
        scores = _scores(heads, causal, scale)
        logsumexp = scores.logsumexp(-1)
        output = (scores - logsumexp.unsqueeze(-1)).exp() @ heads.value.float()
        return Attended(output.to(heads.query.dtype), logsumexp)

    def backward(
        self, grad: Tensor, heads: Heads, attended: Attended, *, causal: bool, scale: float
    ) -> Heads:
        """See `Rectangles`."""
        query, key, value = (tensor.float() for tensor in heads)
        shares = (_scores(heads, causal, scale) - attended.logsumexp.unsqueeze(-1)).exp()
        grad = grad.float()
        delta = (grad * attended.output.float()).sum(-1, keepdim=True)
        grad_scores = shares * (grad @ value.mT - delta) * scale
        grads = (grad_scores @ key, grad_scores.mT @ query, shares.mT @ grad)
        return Heads(*(tensor.to(heads.query.dtype) for tensor in grads))


def _scores(heads: Heads, causal: bool, scale: float) -> Tensor:
    scores = (heads.query.float() @ heads.key.float().mT) * scale
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores
