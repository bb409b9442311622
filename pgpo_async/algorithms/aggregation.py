"""One scalar from token losses, so that the scalars of any split sum to that of the whole (DESIGN 5.6)."""

from typing import Literal, get_args

import torch
from torch import Tensor

from pgpo_async.algorithms.tensors import check_BT

Aggregation = Literal["token_mean", "sequence_mean"]


def aggregate(
    loss_BT: Tensor,
    mask_BT: Tensor,
    mode: Aggregation = "token_mean",
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """One scalar from token losses.

    `token_mean`: sum over response tokens / normalizer, by default the number of mask tokens (DAPO, arXiv
    2503.14476, sec. 3.3). `sequence_mean`: sum over sequences of each one's token mean / normalizer, by
    default the number of sequences with any token (GRPO). For an empty mask the scalar is 0 and still has
    a (zero) gradient, so that a rank without tokens takes part in the backward's collectives.

    Raises:
        ValueError: the shapes are not one [B, T], an unknown mode, or a normalizer that is not positive.
    """
    check_BT(loss_BT=loss_BT, mask_BT=mask_BT)
    if mode not in get_args(Aggregation):
        raise ValueError(f"mode must be one of {list(get_args(Aggregation))}, got {mode!r}")
    # A tensor is not checked: reading it would wait for the device.
    if normalizer is not None and not isinstance(normalizer, Tensor) and not normalizer > 0:
        raise ValueError(f"normalizer must be positive, got {normalizer}")
    real_BT = mask_BT != 0
    kept_BT = torch.where(real_BT, loss_BT, 0.0)
    length_B = real_BT.sum(dim=1)
    if mode == "token_mean":
        total, count = kept_BT.sum(), length_B.sum()
    else:
        total, count = (kept_BT.sum(dim=1) / length_B.clamp(min=1)).sum(), (length_B > 0).sum()
    return total / (count.clamp(min=1) if normalizer is None else normalizer)
