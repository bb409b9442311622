"""Attention with shared prefixes, registered with transformers under `SHARED_PREFIX_ATTENTION`.

Owns the differentiable function: own and prefix parts merged by their log-sum-exp. The plan arrives as the
keyword `segments` of the text model's own forward, which hands it to every layer: no global state, so two
models, or recomputation in a backward pass, cannot mix them up. Without `segments` (`generate`, a plain
forward) it is transformers' own sdpa with sdpa's own mask. The vision tower is not run through it.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from pgpo_async.policy.kernels import Attended, AttentionKernel, CpuFlash, Heads, Math
from pgpo_async.policy.row_attention import RectangleRow, RowKernel, VarlenRow
from pgpo_async.policy.segments import Segments

SHARED_PREFIX_ATTENTION = "pgpo_shared_prefix"

_CPU, _MATH, _VARLEN = RectangleRow(CpuFlash()), RectangleRow(Math()), VarlenRow()


def shared_prefix_attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Segments | None = None,
    kernel: AttentionKernel = "auto",
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed row: query [1, heads, N, d] to output [1, N, heads, d]."""
    if segments is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return output, None
    assert query.shape[0] == 1, "segments mean one packed row"
    assert attention_mask is None, "segments are the mask"
    assert dropout == 0.0, "a ratio of probabilities needs attention without dropout"
    row_kernel = _choose(query, kernel)
    row = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    if not row_kernel.shares_keys and query.shape[1] != key.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        row[1:] = [tensor.repeat_interleave(repeats, dim=1) for tensor in row[1:]]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    apply: Any = _SharedPrefixAttention.apply
    merged: Tensor = apply(*row, segments, row_kernel, scale)
    return merged.unsqueeze(0), None


class _SharedPrefixAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        segments: Segments,
        kernel: RowKernel,
        scale: float,
    ) -> Tensor:
        row = Heads(query, key, value)
        attended = kernel.own(row, segments, scale)
        if kernel.has_prefix(segments):
            first = segments.num_prompt_tokens
            _merge(attended, kernel.prefix(row, segments, scale), first)
        ctx.save_for_backward(*row, *attended)
        ctx.plan = segments, kernel, scale
        return attended.output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        segments, kernel, scale = ctx.plan
        query, key, value, output, logsumexp = ctx.saved_tensors
        row, attended = Heads(query, key, value), Attended(output, logsumexp)
        grad = grads[0].contiguous()
        result = kernel.own_backward(grad, row, attended, segments, scale)
        if kernel.has_prefix(segments):
            first = segments.num_prompt_tokens
            merged = Attended(output[first:], logsumexp[:, first:].contiguous())
            part = kernel.prefix_backward(grad[first:], row, merged, segments, scale)
            result.query[first:] += part.query
            result.key[:first] += part.key
            result.value[:first] += part.value
        return *result, None, None, None


def _merge(own: Attended, prefix: Attended, first: int) -> None:
    """Two parts of one softmax to one, in place, for the tokens from `first` on."""
    own_lse, prefix_lse = own.logsumexp[:, first:], prefix.logsumexp
    both = torch.logaddexp(own_lse, prefix_lse)
    share = (prefix_lse - both).exp_().T.unsqueeze(-1)
    own.output[first:].lerp_(prefix.output, share.to(prefix.output.dtype))
    own_lse.copy_(both)


def _choose(query: Tensor, kernel: AttentionKernel) -> RowKernel:
    if kernel == "math":
        return _MATH
    if not query.is_cuda:
        return _CPU
    # Flash attention on a GPU has no float32.
    return _MATH if query.dtype == torch.float32 else _VARLEN


AttentionInterface.register(SHARED_PREFIX_ATTENTION, shared_prefix_attention_forward)
AttentionMaskInterface.register(SHARED_PREFIX_ATTENTION, sdpa_mask)
