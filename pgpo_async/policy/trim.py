"""What transformers' layers compute or keep and nobody reads, taken out of them.

Owns three changes to a model, none of which changes a result: the last text layer goes on after its attention
with the tokens that predict something (a prompt's others are only attended to); the gated feed-forward keeps
two activations for the backward pass instead of three, and none without gradient; the tower cuts no patches,
they come cut, so its convolution is the matrix product that it amounts to. Applied by `loading`.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu


def trim(model: Any) -> None:
    """Change a model of the Qwen2-VL family in place."""
    _trim_text_layers(model.model.language_model)
    embed = model.model.visual.patch_embed
    embed.proj.forward = MethodType(_patches_forward, embed.proj)


def _trim_text_layers(text_model: Any) -> None:
    for layer in text_model.layers:
        if isinstance(layer.mlp.act_fn, nn.SiLU) or type(layer.mlp.act_fn).__name__.startswith("SiLU"):
            layer.mlp.forward = MethodType(_gated_forward, layer.mlp)
    last = text_model.layers[-1]
    last.forward = MethodType(_last_forward, last)


def _last_forward(
    layer: Any, hidden_states: Tensor, *, needed: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """A decoder layer [1, L, H] to [1, K, H]: the K tokens of `needed` int64 [K], or all."""
    attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **kwargs)
    hidden_states = hidden_states + attended
    if needed is not None:
        hidden_states = hidden_states.index_select(1, needed)
    output: Tensor = hidden_states + layer.mlp(layer.post_attention_layernorm(hidden_states))
    return output


def _patches_forward(convolution: Any, patches: Tensor) -> Tensor:
    """A convolution whose kernel covers its input, [P, C, ...] to [P, H, 1, 1, 1]."""
    weight = convolution.weight
    output = linear(patches.flatten(1), weight.flatten(1), convolution.bias)
    return output.view(*output.shape, *[1] * (weight.ndim - 2))


def _gated_forward(mlp: Any, hidden: Tensor) -> Tensor:
    gate, up = mlp.gate_proj(hidden), mlp.up_proj(hidden)
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        apply: Any = _Gated.apply
        output: Tensor = mlp.down_proj(apply(gate, up))
    else:
        output = mlp.down_proj(silu(gate, inplace=True).mul_(up))
    return output


class _Gated(torch.autograd.Function):
    """silu(gate) * up; silu(gate) is computed again in the backward pass."""

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
