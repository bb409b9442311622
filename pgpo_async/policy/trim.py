"""What transformers' layers compute, keep or pass over and nobody needs, taken out of them.

Owns changes to a model, none of which changes a result beyond rounding: the last text layer goes on after its
attention with the tokens that predict something (a prompt's others are only attended to); norms, rotary
positions and gated activations in fewer passes (`elementwise`); the tower cuts no patches, they come cut, so
its convolution is the matrix product that it amounts to. Applied by `loading`.
"""

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from pgpo_async.policy.attention import shared_prefix_attention_forward
from pgpo_async.policy.elementwise import gated_silu, rms_norm, rotate
from pgpo_async.policy.segments import Segments
from pgpo_async.policy.vision_attention import vision_attention_forward


def trim(model: Any) -> None:
    """Change a model of the Qwen2-VL family in place."""
    text_model, tower = model.model.language_model, model.model.visual
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(_norm_forward, module)
        elif hasattr(module, "gate_proj") and _is_silu(module.act_fn):
            module.forward = MethodType(_gated_forward, module)
    for layer in text_model.layers:
        layer.self_attn.forward = MethodType(_attention_forward, layer.self_attn)
    last = text_model.layers[-1]
    last.forward = MethodType(_last_forward, last)
    for block in tower.blocks:
        block.attn.forward = MethodType(_tower_attention_forward, block.attn)
    tower.patch_embed.proj.forward = MethodType(_patches_forward, tower.patch_embed.proj)


def _is_silu(activation: Any) -> bool:
    return isinstance(activation, nn.SiLU) or type(activation).__name__.startswith("SiLU")


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


def _attention_forward(
    attention: Any,
    hidden_states: Tensor,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """A packed row [1, N, H] to the same; without `segments` (`generate`) transformers' own forward."""
    if segments is None:
        whole: tuple[Tensor, None] = type(attention).forward(
            attention, hidden_states, position_embeddings=position_embeddings, **kwargs
        )
        return whole
    query, key, value = (
        project(hidden_states).unflatten(-1, (-1, attention.head_dim))
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key = rotate(query, *position_embeddings), rotate(key, *position_embeddings)
    attended, _ = shared_prefix_attention_forward(
        attention,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        kwargs.pop("attention_mask", None),
        segments=segments,
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
        **kwargs,
    )
    return attention.o_proj(attended.flatten(2)), None


def _tower_attention_forward(
    attention: Any,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    max_seqlen: int,
    **kwargs: Any,
) -> Tensor:
    """Patches [P, H] to the same, each window by itself."""
    query, key, value = attention.qkv(hidden_states).unflatten(-1, (3, attention.num_heads, -1)).unbind(1)
    cos, sin = (table.float() for table in position_embeddings)
    query, key, value = (
        heads.transpose(0, 1).unsqueeze(0)
        for heads in (rotate(query, cos, sin), rotate(key, cos, sin), value)
    )
    attended, _ = vision_attention_forward(
        attention,
        query,
        key,
        value,
        cu_seq_lens_q=cu_seqlens,
        max_length_q=max_seqlen,
        scaling=attention.scaling,
        **kwargs,
    )
    output: Tensor = attention.proj(attended[0].flatten(1))
    return output


def _patches_forward(convolution: Any, patches: Tensor) -> Tensor:
    """A convolution whose kernel covers its input, [P, C, ...] to [P, H, 1, 1, 1]."""
    weight = convolution.weight
    output = linear(patches.flatten(1), weight.flatten(1), convolution.bias)
    return output.view(*output.shape, *[1] * (weight.ndim - 2))


def _norm_forward(norm: Any, hidden: Tensor) -> Tensor:
    return rms_norm(hidden, norm.weight, norm.variance_epsilon)


def _gated_forward(mlp: Any, hidden: Tensor) -> Tensor:
    output: Tensor = mlp.down_proj(gated_silu(mlp.gate_proj(hidden), mlp.up_proj(hidden)))
    return output
