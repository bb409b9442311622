"""The two parts of attention over a packed row: every segment to itself, responses to their prompts.

Owns how each part is cut into kernel calls: `RectangleRow` in padded batches (a CPU, float32 on a GPU),
`VarlenRow` in one call a part. Row tensors: query [N, heads, d], key and value [N, key heads, d], log-sum-exp
float32 [heads, N]; the prefix part has R queries, the row's response tokens. Called by `attention`.
"""

from typing import Protocol

import torch
from torch import Tensor

from pgpo_async.policy.kernels import Attended, Heads, Rectangles
from pgpo_async.policy.segments import Bucket, Prefix, Segments


class RowKernel(Protocol):
    """Attention of a row's parts."""

    shares_keys: bool
    """Whether several query heads may use one key head."""

    def own(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """Each segment to itself, causally."""
        ...

    def own_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """Gradients of the row."""
        ...

    def has_prefix(self, segments: Segments) -> bool:
        """Whether there is a prefix part."""
        ...

    def prefix(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """The responses to their prompts: R queries; log-sum-exp is minus infinity where there is no part."""
        ...

    def prefix_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """Gradients of R queries and of the prompts' keys and values."""
        ...


class RectangleRow:
    """Buckets of segments and one call a prompt."""

    shares_keys = False

    def __init__(self, kernel: Rectangles) -> None:
        self._kernel = kernel

    def own(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """See `RowKernel`."""
        output = torch.empty_like(row.query)
        logsumexp = row.query.new_empty(row.query.shape[1::-1], dtype=torch.float32)
        for bucket in segments.buckets:
            part = Heads(*(_padded(tensor, bucket) for tensor in row))
            out, lse = self._kernel.forward(part, causal=True, scale=scale)
            _put(output, out.transpose(1, 2), bucket)
            _put(logsumexp.T, lse.transpose(1, 2), bucket)
        return Attended(output, logsumexp)

    def own_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """See `RowKernel`."""
        grads = Heads(*(torch.empty_like(tensor) for tensor in row))
        for bucket in segments.buckets:
            lse = _padded(attended.logsumexp.T.unsqueeze(-1), bucket).squeeze(-1)
            part = self._kernel.backward(
                _padded(grad, bucket, zero=True),
                Heads(*(_padded(tensor, bucket) for tensor in row)),
                Attended(_padded(attended.output, bucket), lse.contiguous()),
                causal=True,
                scale=scale,
            )
            for whole, piece in zip(grads, part, strict=True):
                _put(whole, piece.transpose(1, 2), bucket)
        return grads

    def has_prefix(self, segments: Segments) -> bool:
        """See `RowKernel`."""
        return bool(segments.prefixes)

    def prefix(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """See `RowKernel`."""
        first = segments.num_prompt_tokens
        output = torch.zeros_like(row.query[first:])
        logsumexp = output.new_full(output.shape[1::-1], -torch.inf, dtype=torch.float32)
        for prefix in segments.prefixes:
            queries = _queries(prefix, first)
            out, lse = self._kernel.forward(_rectangle(row, prefix), causal=False, scale=scale)
            output[queries] = out[0].transpose(0, 1)
            logsumexp[:, queries] = lse[0]
        return Attended(output, logsumexp)

    def prefix_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """See `RowKernel`."""
        first = segments.num_prompt_tokens
        grads = Heads(
            torch.zeros_like(grad), torch.zeros_like(row.key[:first]), torch.zeros_like(row.value[:first])
        )
        for prefix in segments.prefixes:
            queries, keys = _queries(prefix, first), slice(prefix.key_start, prefix.key_end)
            part = self._kernel.backward(
                _batch_of_one(grad[queries]),
                _rectangle(row, prefix),
                Attended(
                    _batch_of_one(attended.output[queries]),
                    attended.logsumexp[None, :, queries].contiguous(),
                ),
                causal=False,
                scale=scale,
            )
            for whole, piece, where in zip(grads, part, (queries, keys, keys), strict=True):
                whole[where] = piece[0].transpose(0, 1)
        return grads


class VarlenRow:
    """torch's own flash attention for GPUs (float16 and bfloat16), any number of segments in one call."""

    shares_keys = True

    def own(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """See `RowKernel`."""
        borders = (segments.offsets, segments.offsets, segments.longest, segments.longest)
        return _varlen(row, borders, causal=True, scale=scale)

    def own_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """See `RowKernel`."""
        borders = (segments.offsets, segments.offsets, segments.longest, segments.longest)
        return _varlen_backward(grad, row, attended, borders, causal=True, scale=scale)

    def has_prefix(self, segments: Segments) -> bool:
        """See `RowKernel`."""
        return segments.most_queries > 0

    def prefix(self, row: Heads, segments: Segments, scale: float) -> Attended:
        """See `RowKernel`."""
        return _varlen(_to_prompts(row, segments), _prefix_borders(segments), causal=False, scale=scale)

    def prefix_backward(
        self, grad: Tensor, row: Heads, attended: Attended, segments: Segments, scale: float
    ) -> Heads:
        """See `RowKernel`."""
        part, borders = _to_prompts(row, segments), _prefix_borders(segments)
        return _varlen_backward(grad, part, attended, borders, causal=False, scale=scale)


_Borders = tuple[Tensor, Tensor, int, int]


def _varlen(row: Heads, borders: _Borders, *, causal: bool, scale: float) -> Attended:
    output, logsumexp, *_ = torch.ops.aten._flash_attention_forward(
        *row, *borders, 0.0, causal, return_debug_mask=False, scale=scale
    )
    return Attended(output, logsumexp)


def _varlen_backward(
    grad: Tensor, row: Heads, attended: Attended, borders: _Borders, *, causal: bool, scale: float
) -> Heads:
    # Without dropout the random state is passed and not read.
    no_random = torch.zeros(2, dtype=torch.uint64, device=grad.device)
    unused = torch.empty(0, device=grad.device)
    grads = torch.ops.aten._flash_attention_backward(
        grad, *row, *attended, *borders, 0.0, causal, no_random, unused, scale=scale
    )
    return Heads(*grads)


def _to_prompts(row: Heads, segments: Segments) -> Heads:
    first = segments.num_prompt_tokens
    return Heads(row.query[first:], row.key[:first], row.value[:first])


def _prefix_borders(segments: Segments) -> _Borders:
    return segments.query_offsets, segments.key_offsets, segments.most_queries, segments.longest_prompt


def _queries(prefix: Prefix, first: int) -> slice:
    return slice(prefix.query_start - first, prefix.query_end - first)


def _rectangle(row: Heads, prefix: Prefix) -> Heads:
    keys = slice(prefix.key_start, prefix.key_end)
    places = (slice(prefix.query_start, prefix.query_end), keys, keys)
    return Heads(*(_batch_of_one(tensor[where]) for tensor, where in zip(row, places, strict=True)))


def _batch_of_one(tokens_nHd: Tensor) -> Tensor:
    return tokens_nHd.transpose(0, 1).unsqueeze(0)


def _padded(row_NHd: Tensor, bucket: Bucket, *, zero: bool = False) -> Tensor:
    """[segments, heads, length, d]; what pads a segment is its last token, or zeros."""
    shape = (bucket.num_segments, bucket.length, *row_NHd.shape[1:])
    if bucket.pad_index is None or bucket.token_index is None or bucket.unpad_index is None:
        return row_NHd[bucket.start : bucket.end].reshape(shape).transpose(1, 2)
    if zero:
        tokens = row_NHd.index_select(0, bucket.token_index)
        flat = row_NHd.new_zeros(len(bucket.pad_index), *row_NHd.shape[1:])
        return flat.index_copy_(0, bucket.unpad_index, tokens).view(shape).transpose(1, 2)
    return row_NHd.index_select(0, bucket.pad_index).view(shape).transpose(1, 2)


def _put(row: Tensor, batch: Tensor, bucket: Bucket) -> None:
    """Write [segments, length, ...] back to the row's tokens."""
    flat = batch.flatten(0, 1)
    if bucket.token_index is None or bucket.unpad_index is None:
        row[bucket.start : bucket.end] = flat
    else:
        row.index_copy_(0, bucket.token_index, flat.index_select(0, bucket.unpad_index))
