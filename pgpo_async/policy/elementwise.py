"""The layers' elementwise work with few passes over memory: norm, rotary positions, gated activation.

Owns one autograd function for each, which keeps what its backward needs and no more: transformers' own lines
keep every step between. Rounding is transformers' own or finer. Put into layers by `trim`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


def rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """hidden / sqrt(mean(hidden^2) + eps) * weight over the last dimension, in float32 up to the weight."""
    apply: Any = _RmsNorm.apply
    output: Tensor = apply(hidden, weight, eps)
    return output


def rotate(heads_NHd: Tensor, cos_Nd: Tensor, sin_Nd: Tensor) -> Tensor:
    """Rotary position embedding of queries or keys, in the wider of the two precisions."""
    apply: Any = _Rotate.apply
    output: Tensor = apply(heads_NHd, cos_Nd, sin_Nd)
    return output


def gated_silu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up. Without gradient `gate` is overwritten."""
    if not (torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad)):
        return silu(gate, inplace=True).mul_(up)
    apply: Any = _GatedSilu.apply
    output: Tensor = apply(gate, up)
    return output


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = length.square_().div_(hidden.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(hidden, weight, inverse)
        normed: Tensor = (hidden * inverse).to(hidden.dtype)
        return normed.mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, inverse = ctx.saved_tensors
        (grad,) = grads
        grad_hidden = grad_weight = None
        normed = hidden * inverse
        if ctx.needs_input_grad[0]:
            weighed = (grad * weight).float()
            share = torch.linalg.vecdot(weighed, normed).unsqueeze(-1).div_(-hidden.shape[-1])
            grad_hidden = weighed.addcmul_(normed, share).mul_(inverse).to(hidden.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = normed.to(hidden.dtype).mul_(grad).flatten(0, -2).sum(0)
        return grad_hidden, grad_weight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads_NHd: Tensor, cos_Nd: Tensor, sin_Nd: Tensor) -> Tensor:
        ctx.save_for_backward(cos_Nd, sin_Nd)
        return _turn(heads_NHd, cos_Nd, sin_Nd, sin_Nd.neg())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos_Nd, sin_Nd = ctx.saved_tensors
        # The transposed rotation: each half of the sine meets the other half of the gradient.
        crossed_Nd = sin_Nd.roll(sin_Nd.shape[-1] // 2, -1)
        return _turn(grads[0], cos_Nd, crossed_Nd.neg(), crossed_Nd), None, None


def _turn(heads_NHd: Tensor, cos_Nd: Tensor, sin_Nd: Tensor, minus_sin_Nd: Tensor) -> Tensor:
    """[x1, x2] to [x1 cos1 - x2 sin1, x2 cos2 + x1 sin2]; the second sine is given negated."""
    half = heads_NHd.shape[-1] // 2
    turned = heads_NHd * cos_Nd.unsqueeze(-2)
    first, second = heads_NHd[..., :half], heads_NHd[..., half:]
    turned[..., :half].addcmul_(second.to(turned.dtype), minus_sin_Nd[..., :half].unsqueeze(-2))
    turned[..., half:].addcmul_(first.to(turned.dtype), sin_Nd[..., half:].unsqueeze(-2))
    return turned.to(heads_NHd.dtype)


class _GatedSilu(torch.autograd.Function):
    """silu(gate) is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        grad_up = silu(gate).mul_(grads[0])
        grad_gate: Tensor = torch.ops.aten.silu_backward(grads[0] * up, gate)
        return grad_gate, grad_up
