"""The order in which rows are drawn: a seeded permutation of all rows for each epoch.

Owns the arithmetic only. Rows come in blocks (a Parquet file's row groups), because reading one row of a
block costs as much as reading the block: the permutation shuffles the blocks, then the rows of `window`
neighbouring blocks among each other. So a reader that keeps `window` blocks reads each block once an epoch.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RowOrder = npt.NDArray[np.int64]


def epoch_order(block_sizes: Sequence[int], *, window: int, seed: int, epoch: int) -> RowOrder:
    """Return int64 [num_rows]: which row is drawn at each place of an epoch; each row once.

    `block_sizes` are rows per block, in file order. The same arguments give the same order in every process
    and numpy version. Raises ValueError for a negative seed or epoch, or a window below 1.
    """
    if seed < 0 or epoch < 0 or window < 1:
        raise ValueError(f"seed and epoch must be >= 0, window >= 1, got {seed}, {epoch}, {window}")
    # RandomState, not Generator: numpy promises its stream for ever, and a resumed run depends on it.
    words = np.random.SeedSequence((seed, epoch)).generate_state(4)
    random = np.random.RandomState(words)
    starts = np.concatenate([[0], np.cumsum(np.asarray(block_sizes, dtype=np.int64))])
    blocks = random.permutation(len(block_sizes))
    pieces: list[RowOrder] = [np.empty(0, dtype=np.int64)]
    for first in range(0, len(blocks), window):
        rows = np.concatenate(
            [np.arange(starts[b], starts[b + 1], dtype=np.int64) for b in blocks[first : first + window]]
        )
        random.shuffle(rows)
        pieces.append(rows)
    return np.concatenate(pieces)
