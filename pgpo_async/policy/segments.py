"""Where sequences begin and end in a packed row, arranged for few attention calls.

Owns the plan only: sequences of similar length are neighbours in the row and share one padded call; all other
layers see the row without padding. Made once a batch by `inputs`, read in every layer by `attention`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

MAX_WASTE = 0.3
"""Padded attention scores that a bucket may add, as a share of its sequences' own."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bucket:
    """Neighbouring sequences run as one causal batch [num_sequences, length].

    Tokens [start, end) of the row. `pad_index` int64 [num_sequences * length] takes the bucket's tokens to
    the padded batch, `unpad_index` int64 [end - start] takes them back; None where all lengths are equal.
    """

    start: int
    end: int
    num_sequences: int
    length: int
    pad_index: torch.Tensor | None
    unpad_index: torch.Tensor | None

    def to(self, device: torch.device | str) -> "Bucket":
        """The bucket with its indices on a device."""
        if self.pad_index is None or self.unpad_index is None:
            return self
        return replace(
            self,
            pad_index=self.pad_index.to(device, non_blocking=True),
            unpad_index=self.unpad_index.to(device, non_blocking=True),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """The buckets of one packed row; together they cover it in order."""

    buckets: tuple[Bucket, ...]

    def to(self, device: torch.device | str) -> "Segments":
        """The segments with their indices on a device."""
        return Segments(buckets=tuple(bucket.to(device) for bucket in self.buckets))


def plan_segments(lengths: Sequence[int], *, max_waste: float = MAX_WASTE) -> Segments:
    """Bucket the sequences of a row, given their lengths in row order, which must not decrease.

    Causal attention over right padding is exact: a real token never sees the padding after it.
    """
    assert all(a <= b for a, b in pairwise(lengths)), "row must be sorted by length"
    borders, members, area = [0], 0, 0
    for i, length in enumerate(lengths):
        members, area = members + 1, area + length * length
        if members * length * length > (1 + max_waste) * area:
            borders.append(i)
            members, area = 1, length * length
    borders.append(len(lengths))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    return Segments(
        buckets=tuple(_bucket(list(lengths[a:b]), int(starts[a])) for a, b in pairwise(borders) if b > a)
    )


def _bucket(lengths: list[int], start: int) -> Bucket:
    size, longest, total = len(lengths), lengths[-1], sum(lengths)
    pad_index = unpad_index = None
    if lengths[0] != longest:
        column = np.arange(longest)
        counts = np.asarray(lengths)[:, None]
        offsets = (np.cumsum(lengths) - lengths)[:, None]
        # Padding repeats the sequence's last token: any token will do, its results are dropped.
        pad_index = torch.from_numpy((offsets + np.minimum(column, counts - 1)).ravel())
        unpad_index = torch.from_numpy(np.flatnonzero((column < counts).ravel()))
    return Bucket(
        start=start,
        end=start + total,
        num_sequences=size,
        length=longest,
        pad_index=pad_index,
        unpad_index=unpad_index,
    )
