"""The tower's attention over windows and images, registered with transformers under `VISION_ATTENTION`.

transformers runs one call a window unless an attention's name says flash: then it hands over the borders, and
one call (or one a length) does for all. Owns that call: torch's variable-length flash attention on a GPU,
batches of equal length elsewhere. Set by `loading`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from pgpo_async.policy.segments import buckets_of

VISION_ATTENTION = "pgpo_flash_windows"


def vision_attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Each window to itself: query [1, heads, patches, d] to output [1, patches, heads, d]."""
    del module, attention_mask, kwargs
    row = (query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1))
    if query.is_cuda and query.dtype != torch.float32:
        from torch.nn.attention.varlen import varlen_attn

        borders = cu_seq_lens_q.to(torch.int32)
        longest = max_length_q
        output = varlen_attn(*row, borders, borders, longest, longest, scale=scaling)
        assert isinstance(output, Tensor)
        return output.unsqueeze(0), None
    return _by_length(row, cu_seq_lens_q, scaling).unsqueeze(0), None


def _by_length(row: tuple[Tensor, Tensor, Tensor], borders: Tensor, scaling: float | None) -> Tensor:
    offsets = borders.cpu().numpy().astype(np.int64)
    lengths = np.diff(offsets)
    pieces, places = [], []
    # No waste allowed: all segments of a bucket are equally long.
    buckets = buckets_of(offsets[:-1][lengths > 0], lengths[lengths > 0], max_waste=0.0)
    for bucket in buckets:
        shape = (bucket.num_segments, bucket.length, *row[0].shape[1:])
        if bucket.token_index is None:
            where = torch.arange(bucket.start, bucket.end)
            parts = [tensor[bucket.start : bucket.end] for tensor in row]
        else:
            where = bucket.token_index.to(row[0].device)
            parts = [tensor.index_select(0, where) for tensor in row]
        query, key, value = (part.reshape(shape).transpose(1, 2) for part in parts)
        output = scaled_dot_product_attention(query, key, value, scale=scaling)
        pieces.append(output.transpose(1, 2).flatten(0, 1))
        places.append(where.to(row[0].device))
    if len(buckets) == 1 and buckets[0].token_index is None:
        return pieces[0]
    return torch.cat(pieces).index_select(0, torch.cat(places).argsort())


AttentionInterface.register(VISION_ATTENTION, vision_attention_forward)
