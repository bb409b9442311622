"""Advantages from the rewards of a group, and whether a group can teach anything at all.

Rewards are final here: a failed or timed-out verifier never arrives as a number (DESIGN 5.5), so a reward
that is not finite is an error of the caller.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Normalize = Literal["std", "none", "loo"]


def group_advantages(
    rewards_B: Tensor, group_ids_B: Tensor, *, normalize: Normalize = "std", eps: float = 1e-6
) -> Tensor:
    """One advantage per response, relative to the other answers to its prompt.

    `std`: (R - mean) / (std + eps), std unbiased (GRPO, arXiv 2402.03300, sec. 4.1.2).
    `none`: R - mean (Dr. GRPO, arXiv 2503.20783).
    `loo`: R - mean of the other answers (RLOO, arXiv 2402.14740).
    They sum to zero over each group; a group of equal rewards gets exactly 0.

    Args:
        rewards_B: one reward per response.
        group_ids_B: integer id of each response's group, in any order.
        normalize: see above.
        eps: added to the std.

    Returns:
        Advantages [B], in the reward's unit (`std`: in standard deviations); float32, or float64 if given.

    Raises:
        ValueError: shapes, an unknown `normalize`, rewards that are not finite, or a group of one response
            with `std` or `loo`, which compare with others.
    """
    if rewards_B.dim() != 1:
        raise ValueError(f"rewards_B must be of shape [B], got {list(rewards_B.shape)}")
    if group_ids_B.shape != rewards_B.shape:
        raise ValueError(
            f"group_ids_B must have the shape of rewards_B, {list(rewards_B.shape)}, "
            f"got {list(group_ids_B.shape)}"
        )
    if group_ids_B.is_floating_point():
        raise ValueError(f"group_ids_B must be integers, got {group_ids_B.dtype}")
    if normalize not in get_args(Normalize):
        raise ValueError(f"normalize must be one of {list(get_args(Normalize))}, got {normalize!r}")
    if not bool(rewards_B.isfinite().all()):
        raise ValueError(f"rewards_B must be finite, got {rewards_B.tolist()}")

    # float64 inside: in float32 five rewards of 0.9 have a mean one rounding off, which a std of 0 magnifies.
    rewards = rewards_B.to(torch.float64)
    ids, group_B = torch.unique(group_ids_B, return_inverse=True)
    num_groups = len(ids)

    def group_sum(values_B: Tensor) -> Tensor:
        return values_B.new_zeros(num_groups).index_add(0, group_B, values_B)

    size = group_sum(torch.ones_like(rewards))
    if normalize != "none" and bool((size < 2).any()):
        lonely = ids[size < 2].tolist()
        raise ValueError(
            f'groups must hold at least 2 responses for normalize="{normalize}", got 1 in {lonely}'
        )

    centred_B = rewards - (group_sum(rewards) / size)[group_B]
    lowest = rewards.new_zeros(num_groups).scatter_reduce(0, group_B, rewards, "amin", include_self=False)
    highest = rewards.new_zeros(num_groups).scatter_reduce(0, group_B, rewards, "amax", include_self=False)
    advantages_B = torch.where((lowest == highest)[group_B], 0.0, centred_B)
    if normalize == "std":
        std = (group_sum(advantages_B.square()) / (size - 1)).sqrt()
        advantages_B = advantages_B / (std + eps)[group_B]
    elif normalize == "loo":
        # R_i - (sum - R_i) / (n - 1) = (R_i - mean) n / (n - 1)
        advantages_B = advantages_B * (size / (size - 1))[group_B]
    return advantages_B.to(torch.float64 if rewards_B.dtype == torch.float64 else torch.float32)


def has_signal(filter_key_mean: float, low: float = 0.01, high: float = 0.99) -> bool:
    """Whether a group is worth training on: its mean filter key lies strictly between low and high.

    Dynamic sampling of DAPO (arXiv 2503.14476, sec. 3.2). The key is the accuracy or the whole reward; all
    right and all wrong both give advantages of 0. A nan mean has no signal.

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    return low < filter_key_mean < high
