"""Prompt groups to passes: token budget kept, attention cost shared out evenly.

Owns the cut. A group's prompt is in a pass once for all responses there; a group above the budget is cut into
parts, each with the prompt. Pure. Called by `passes` and the learner.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSize:
    """Tokens of a prompt and of each of its responses."""

    prompt: int
    responses: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """What the text model works on: a response's last token is only a target."""
        return self.prompt + sum(max(0, length - 1) for length in self.responses)

    @property
    def num_pairs(self) -> int:
        """Pairs of a token and one that it attends to."""
        own = sum(length * (length + 1) // 2 for length in (self.prompt, *self.responses))
        return own + self.prompt * sum(self.responses)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some responses of a group, by index."""

    group: int
    responses: tuple[int, ...]


def pack(sizes: Sequence[GroupSize], budget: int, *, pair_cost: float = 0.0) -> list[list[Part]]:
    """Passes of at most `budget` tokens each (a single response above it is alone), every response in one.

    As few passes as first-fit decreasing finds, then evened out by cost = tokens + `pair_cost` x pairs (see
    `flops`), most expensive first: ranks whose passes run side by side wait least. The same answer for the
    same input. Raises ValueError if the budget is not positive.
    """
    if budget < 1:
        raise ValueError(f"budget must be at least 1 token, got {budget}")
    parts = [part for i, size in enumerate(sizes) for part in _cut(i, size, budget)]
    measured = [_measure(part, sizes[part.group], pair_cost) for part in parts]
    order = sorted(range(len(parts)), key=lambda i: (-measured[i][0], i))
    fewest = _first_fit([measured[i][0] for i in order], budget)
    even = _least_cost([measured[i] for i in order], budget, 1 + max(fewest, default=-1))
    bins = fewest if even is None else even
    passes: list[list[int]] = [[] for _ in range(1 + max(bins, default=-1))]
    for i, chosen in zip(order, bins, strict=True):
        passes[chosen].append(i)
    passes.sort(key=lambda indices: (-sum(measured[i][1] for i in indices), indices))
    return [[parts[i] for i in sorted(indices)] for indices in passes]


def _cut(group: int, size: GroupSize, budget: int) -> list[Part]:
    everything = tuple(range(len(size.responses)))
    if size.num_tokens <= budget:
        return [Part(group=group, responses=everything)]
    order = sorted(everything, key=lambda i: (-size.responses[i], i))
    lengths = [max(0, size.responses[i] - 1) for i in order]
    bins = _first_fit(lengths, max(1, budget - size.prompt))
    cut: list[list[int]] = [[] for _ in range(1 + max(bins, default=0))]
    for i, chosen in zip(order, bins, strict=True):
        cut[chosen].append(i)
    return [Part(group=group, responses=tuple(sorted(indices))) for indices in cut]


def _measure(part: Part, size: GroupSize, pair_cost: float) -> tuple[int, float]:
    mine = GroupSize(prompt=size.prompt, responses=tuple(size.responses[i] for i in part.responses))
    return mine.num_tokens, mine.num_tokens + pair_cost * mine.num_pairs


def _first_fit(lengths: Sequence[int], budget: int) -> list[int]:
    """A bin for each length, given in falling order."""
    rooms: list[int] = []
    bins = []
    for length in lengths:
        chosen = next((k for k, room in enumerate(rooms) if length <= room), len(rooms))
        if chosen == len(rooms):
            rooms.append(budget)
        rooms[chosen] -= length
        bins.append(chosen)
    return bins


def _least_cost(measured: Sequence[tuple[int, float]], budget: int, num_bins: int) -> list[int] | None:
    """A bin for each of (tokens, cost), the cheapest with room; None if one finds no room."""
    rooms, costs = [budget] * num_bins, [0.0] * num_bins
    bins = []
    for tokens, cost in measured:
        open_bins = [k for k in range(num_bins) if tokens <= rooms[k] or rooms[k] == budget]
        if not open_bins:
            return None
        chosen = min(open_bins, key=lambda k: (costs[k], k))
        rooms[chosen] -= tokens
        costs[chosen] += cost
        bins.append(chosen)
    return bins
