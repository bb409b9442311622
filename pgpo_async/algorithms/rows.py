"""Rows of different length to padded tensors and back: numpy arrays travel, tensors are computed with.

Called by scorer and learner around a shaper.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pgpo_async.contracts.rollouts import Float32Array


def row_mask(lengths: Sequence[int]) -> Tensor:
    """Bool [B, T], true at the first `lengths[b]` places of each row."""
    width = max(lengths, default=0)
    return torch.arange(width)[None, :] < torch.tensor(lengths, dtype=torch.long)[:, None]


def pad_rows(rows: Sequence[Float32Array], mask_BT: Tensor) -> Tensor:
    """float32 [B, T], 0 in padding, of one row for each of the mask's."""
    padded_BT = torch.zeros(mask_BT.shape)
    if rows:
        padded_BT[mask_BT] = torch.from_numpy(np.concatenate(rows))
    return padded_BT


def unpad_rows(values_BT: Tensor, lengths: Sequence[int]) -> tuple[Float32Array, ...]:
    """Inverse of `pad_rows`; each row owns its memory."""
    array = values_BT.numpy().astype(np.float32)
    return tuple(array[i, :length].copy() for i, length in enumerate(lengths))
