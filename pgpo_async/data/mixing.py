"""Which of several sources each drawing index draws from, and which of that source's own indices it is.

Owns the arithmetic only. Of the first n draws source k has had floor(n S_k) - floor(n S_{k-1}), where S_k is
the sum of the shares of the sources up to k, in exact fractions. So after any whole number of blocks no count
is off by a whole draw, however long the run is; within a block the draws are shuffled by seed and block.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

_MIN_BLOCK = 16
_STREAM = 1
"""Keeps the shuffles apart from `drawing`'s, which the same seed makes."""
_BLOCKS_KEPT = 4  # prompts given back are drawn again while later blocks run


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """For each place of a block: the source, and the index within that source."""

    sources: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]


class MixingSchedule:
    """The same weights and seed give the same schedule in every process and numpy version."""

    def __init__(self, weights: Sequence[float], *, seed: int) -> None:
        """Raises ValueError for no weights, one that is not above 0, or a negative seed."""
        if not weights or min(weights) <= 0 or seed < 0:
            raise ValueError(f"weights must be above 0, the seed at least 0, got {list(weights)}, {seed}")
        exact = [Fraction(str(weight)) for weight in weights]  # 0.7 as it is written, not as binary has it
        self._bounds = [total / sum(exact) for total in accumulate(exact, initial=Fraction(0))]
        # A block holds a draw of the rarest source, or its rounded count could fall from block to block.
        self.block_size = max(_MIN_BLOCK, math.ceil(sum(exact) / min(exact)))
        self._seed = seed
        self._blocks: dict[int, Block] = {}

    def locate(self, index: int) -> tuple[int, int]:
        """Return the source at a drawing index, and the index within it. Raises ValueError below 0."""
        if index < 0:
            raise ValueError(f"index must be at least 0, got {index}")
        number, place = divmod(index, self.block_size)
        block = self._block(number)
        return int(block.sources[place]), int(block.indices[place])

    def counts(self, num_blocks: int) -> list[int]:
        """Return how often each source has been drawn after so many blocks."""
        ends = [math.floor(num_blocks * self.block_size * bound) for bound in self._bounds]
        return [end - start for start, end in pairwise(ends)]

    def _block(self, number: int) -> Block:
        if number not in self._blocks:
            block = self._made(number)
            while len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.pop(min(self._blocks))
            self._blocks[number] = block
        return self._blocks[number]

    def _made(self, number: int) -> Block:
        before, after = self.counts(number), self.counts(number + 1)
        drawn = [end - start for start, end in zip(before, after, strict=True)]
        sources = np.repeat(np.arange(len(drawn), dtype=np.int64), drawn)
        # RandomState, not Generator: see `drawing`.
        words = np.random.SeedSequence((self._seed, number, _STREAM)).generate_state(4)
        np.random.RandomState(words).shuffle(sources)
        indices = np.empty_like(sources)
        for source, start in enumerate(before):
            places = sources == source
            indices[places] = start + np.arange(np.count_nonzero(places))
        return Block(sources=sources, indices=indices)
