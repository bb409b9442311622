"""Which rank trains on which group, and what the loss is divided by. Pure; decided once, by the driver.

Whole groups go to one rank: their images are decoded and encoded once, and their advantages need all answers.
Called by `group` (from headers) and by tests; the tensors of the loss are `loss_inputs`' work.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Literal

from pgpo_async.contracts import GroupHeader

LossMean = Literal["token_mean", "sequence_mean"]


def group_cost(header: GroupHeader, pair_cost: float = 0.0) -> float:
    """A group's work in the text model, in tokens: the prompt once, the responses, and what attends to what.

    `pair_cost` is `ModelWork.pair_cost`. The header knows the responses' tokens in all; they count as equally
    long.
    """
    prompt, responses = header.num_prompt_tokens, header.num_response_tokens
    own = prompt**2 / 2 + responses**2 / (2 * max(1, header.num_rollouts))
    return prompt + responses + pair_cost * (own + prompt * responses)


def assign_groups(costs: Sequence[float], world_size: int) -> list[list[int]]:
    """Indices of the groups of each rank, rising; every group once; the same answer for the same input.

    Largest group first to the least loaded rank (ties: the lower index, the lower rank), which leaves no rank
    above 4/3 of the best possible load. A rank gets none only where there are fewer groups than ranks.

    Raises ValueError for a world size below 1.
    """
    if world_size < 1:
        raise ValueError(f"world_size must be at least 1, got {world_size}")
    ranks: list[list[int]] = [[] for _ in range(world_size)]
    # Counted as at least 1, so that empty groups spread too; the tuple orders by load, then rank.
    loads = [(0.0, rank) for rank in range(world_size)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, rank = heapq.heappop(loads)
        ranks[rank].append(index)
        heapq.heappush(loads, (load + max(1.0, costs[index]), rank))
    return [sorted(indices) for indices in ranks]


def loss_normalizer(headers: Iterable[GroupHeader], mean: LossMean, *, mask_truncated: bool = False) -> float:
    """The divisor of the whole optimizer step: response tokens, or responses (empty ones too); at least 1.

    With `mask_truncated` those that were cut do not count.
    """
    if mean == "token_mean":
        total = sum(h.num_response_tokens - mask_truncated * h.num_truncated_tokens for h in headers)
    else:
        total = sum(h.num_rollouts - mask_truncated * h.num_truncated for h in headers)
    return float(max(1, total))
