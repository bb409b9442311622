"""Who attends to whom in one packed row with shared prefixes.

    row:   prompt 1 | prompt 2 | ... | responses to prompt 1 | responses to prompt 2 | ...

Every segment (a prompt, a response) attends causally to itself; a response also attends to all of its
prompt. Owns the plan only, made once a batch by `inputs`, read in every layer by `attention`. Kernels that
take many lengths in one call read `offsets` and the like. Kernels that take rectangles read `buckets` and
`prefixes`; there a prompt with one response is one segment with it, and has no prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch

_Array = np.ndarray[Any, Any]

MAX_WASTE = 0.3
"""Padded attention scores that a bucket may add, as a share of its segments' own."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bucket:
    """Segments of similar length, run as one causal batch [num_segments, length].

    Tokens [start, end) of the row where all are of one length and neighbours, and the indices are None. Else
    `pad_index` int64 [num_segments * length] takes the row's tokens to the batch (padding repeats a segment's
    last token), `token_index` int64 [tokens] is where the bucket's tokens are in the row, `unpad_index` int64
    [tokens] where they are in the batch.
    """

    num_segments: int
    length: int
    start: int
    end: int
    pad_index: torch.Tensor | None
    token_index: torch.Tensor | None
    unpad_index: torch.Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prefix:
    """The queries [query_start, query_end) of the row see all keys [key_start, key_end)."""

    query_start: int
    query_end: int
    key_start: int
    key_end: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """The plan of one row of `num_prompt_tokens` and then response tokens."""

    num_prompt_tokens: int
    buckets: tuple[Bucket, ...]
    """They cover the row, each token once."""
    prefixes: tuple[Prefix, ...]
    """One for each prompt that has tokens of several responses."""
    offsets: torch.Tensor
    """int32 [segments + 1]: borders of the segments that have tokens, in the row."""
    longest: int
    """Tokens of the longest segment."""
    query_offsets: torch.Tensor
    """int32 [groups + 1]: borders of each prompt's responses together, counted from the first response."""
    most_queries: int
    key_offsets: torch.Tensor
    """int32 [groups + 1]: borders of the prompts, in the row."""
    longest_prompt: int

    def to(self, device: torch.device | str) -> "Segments":
        """The plan with its indices on a device."""
        return replace(_moved(self, device), buckets=tuple(_moved(bucket, device) for bucket in self.buckets))


Item = TypeVar("Item", Bucket, Segments)


def plan_segments(
    prompt_lengths: Sequence[int], response_lengths: Sequence[Sequence[int]], *, max_waste: float = MAX_WASTE
) -> Segments:
    """Plan a row of prompts, one token or more each, and the responses to each, which may be empty."""
    queries = [sum(lengths) for lengths in response_lengths]
    key_offsets = np.cumsum([0, *prompt_lengths])
    query_offsets = np.cumsum([0, *queries])
    num_prompt_tokens = int(key_offsets[-1])
    lengths = np.array([*prompt_lengths, *(n for each in response_lengths for n in each)], np.int64)
    starts = np.cumsum(lengths) - lengths
    filled = lengths > 0
    owners = np.repeat(np.arange(len(prompt_lengths)), [len(each) for each in response_lengths])
    # How many tokens of each prompt's only response follow it in its segment, and where they are.
    num_filled = np.bincount(owners[filled[len(prompt_lengths) :]], minlength=len(prompt_lengths))
    joined = num_filled == 1
    own = filled.copy()
    own[len(prompt_lengths) :] &= ~joined[owners]
    follows = np.zeros_like(lengths)
    follows[: len(prompt_lengths)] = np.where(joined, queries, 0)
    gaps = np.zeros_like(lengths)
    gaps[: len(prompt_lengths)] = num_prompt_tokens + query_offsets[:-1] - key_offsets[1:]
    return Segments(
        num_prompt_tokens=num_prompt_tokens,
        buckets=buckets_of(
            starts[own], (lengths + follows)[own], max_waste=max_waste, heads=lengths[own], gaps=gaps[own]
        ),
        prefixes=tuple(
            Prefix(
                query_start=num_prompt_tokens + int(query_offsets[i]),
                query_end=num_prompt_tokens + int(query_offsets[i + 1]),
                key_start=int(key_offsets[i]),
                key_end=int(key_offsets[i + 1]),
            )
            for i in np.flatnonzero(num_filled > 1)
        ),
        offsets=_offsets(np.concatenate(([0], np.cumsum(lengths[filled])))),
        longest=int(lengths.max()),
        query_offsets=_offsets(query_offsets),
        most_queries=max(queries),
        key_offsets=_offsets(key_offsets),
        longest_prompt=max(prompt_lengths),
    )


def buckets_of(
    starts: _Array,
    lengths: _Array,
    *,
    max_waste: float,
    heads: _Array | None = None,
    gaps: _Array | None = None,
) -> tuple[Bucket, ...]:
    """Segments of one token or more, sorted by length and grouped while padding wastes little.

    A segment's tokens are neighbours, but for those after its first `heads`, which are `gaps` tokens further.
    """
    heads = lengths if heads is None else heads
    gaps = np.zeros_like(lengths) if gaps is None else gaps
    order = np.argsort(lengths, kind="stable")
    borders, members, area = [0], 0, 0
    for i, length in enumerate(lengths[order].tolist()):
        members, area = members + 1, area + length * length
        if members * length * length > (1 + max_waste) * area:
            borders.append(i)
            members, area = 1, length * length
    parts = np.split(order, borders[1:])
    return tuple(_bucket(starts[part], lengths[part], heads[part], gaps[part]) for part in parts)


def _bucket(starts: _Array, lengths: _Array, heads: _Array, gaps: _Array) -> Bucket:
    size, longest = len(lengths), int(lengths[-1])
    start, end = int(starts[0]), int(starts[0] + lengths.sum())
    whole = ((heads == lengths) | (gaps == 0)).all()
    neighbours = whole and (lengths == longest).all() and (np.diff(starts) == longest).all()
    pad_index = token_index = unpad_index = None
    if not neighbours:
        column = np.arange(longest)
        place = np.minimum(column, lengths[:, None] - 1)
        places = starts[:, None] + place + np.where(place >= heads[:, None], gaps[:, None], 0)
        real = (column < lengths[:, None]).ravel()
        pad_index = torch.from_numpy(places.ravel())
        token_index = torch.from_numpy(places.ravel()[real])
        unpad_index = torch.from_numpy(np.flatnonzero(real))
    return Bucket(
        num_segments=size,
        length=longest,
        start=start,
        end=end,
        pad_index=pad_index,
        token_index=token_index,
        unpad_index=unpad_index,
    )


def _offsets(values: _Array) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int32))


def _moved(item: Item, device: torch.device | str) -> Item:
    changes: dict[str, Any] = {
        field.name: value.to(device, non_blocking=True)
        for field in fields(item)
        if isinstance(value := getattr(item, field.name), torch.Tensor)
    }
    return replace(item, **changes)
