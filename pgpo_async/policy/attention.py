"""Causal attention over a packed row, registered with transformers under `PACKED_ATTENTION`.

Owns the attention function. The borders arrive as the keyword `segments` of the text model's own forward,
which hands it to every layer: no global state, so two models, or recomputation in a backward pass, cannot
mix them up. Without `segments` (the padded layout, `generate`) it is transformers' own sdpa with sdpa's own
mask. The vision tower is not run through it.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from pgpo_async.policy.segments import Bucket, Segments

PACKED_ATTENTION = "pgpo_packed"


def packed_attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Segments | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each sequence of the row to itself: query [1, heads, N, d] to output [1, N, heads, d]."""
    if segments is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return output, None
    assert query.shape[0] == 1, "segments mean one packed row"
    assert attention_mask is None, "segments are the mask"
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    outputs = [_bucket_attention(rows, bucket, scaling, dropout) for bucket in segments.buckets]
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).unsqueeze(0), None


def _bucket_attention(
    rows_NHD: list[torch.Tensor], bucket: Bucket, scaling: float | None, dropout: float
) -> torch.Tensor:
    query, key, value = (_pad(row[bucket.start : bucket.end], bucket) for row in rows_NHD)
    output = scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=True
    )
    flat = output.transpose(1, 2).flatten(0, 1)
    return flat if bucket.unpad_index is None else flat.index_select(0, bucket.unpad_index)


def _pad(tokens_nHD: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    if bucket.pad_index is not None:
        tokens_nHD = tokens_nHD.index_select(0, bucket.pad_index)
    batch = tokens_nHD.reshape(bucket.num_sequences, bucket.length, *tokens_nHD.shape[1:])
    return batch.transpose(1, 2)


AttentionInterface.register(PACKED_ATTENTION, packed_attention_forward)
AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
