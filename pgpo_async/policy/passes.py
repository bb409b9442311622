"""Scoring passes over many groups within a token budget.

Owns the forward passes without gradient: which are needed, how they are packed, that images are prepared
ahead of the device. Not what is done with the log-probs. Called by the scorer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from pgpo_async.contracts.rollouts import Float32Array
from pgpo_async.policy.ahead import ahead
from pgpo_async.policy.inputs import Collator, PolicyInputs, PromptGroup
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.packing import GroupSize, Part, pack

Passes = Literal["sighted", "sighted_blind", "exact"]
_Kind = Literal["sighted", "blind", "exact"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupScores:
    """One float32 [T] for each response of a group, in order; None where the pass was not asked for."""

    sighted: tuple[Float32Array, ...]
    """Log-probs with the image."""
    blind: tuple[Float32Array, ...] | None = None
    """Log-probs with the image hidden; the very `sighted` where the prompt has none."""
    kl: tuple[Float32Array, ...] | None = None
    """KL(sighted || blind) over the whole vocabulary, nats."""


def score_groups(
    policy: PolicyModel,
    collator: Collator,
    groups: Sequence[PromptGroup],
    *,
    pass_tokens: int,
    passes: Passes = "sighted",
    temperature: float = 1.0,
) -> list[GroupScores]:
    """Score each group's responses, without gradient.

    A forward works on at most `pass_tokens` tokens (or one longer response and its prompt). A prompt without
    images is not run blind: nothing is hidden from it. Raises ValueError, see `Collator`.
    """
    run = partial(_run, policy, collator, groups, pass_tokens=pass_tokens, temperature=temperature)
    everything = range(len(groups))
    shown = [i for i in everything if groups[i].images]
    if passes == "exact":
        rows = run("sighted", [i for i in everything if i not in shown]) | run("exact", shown)
    else:
        rows = run("sighted", everything)
    blind = run("blind", shown) if passes == "sighted_blind" else {}
    return [_group_scores(passes, rows[i], blind.get(i)) for i in everything]


_Rows = dict[int, list[Float32Array]]
"""By group, for each response float32 [K, T]."""


def _run(
    policy: PolicyModel,
    collator: Collator,
    groups: Sequence[PromptGroup],
    kind: _Kind,
    chosen: Sequence[int],
    *,
    pass_tokens: int,
    temperature: float,
) -> _Rows:
    rows: _Rows = {i: [np.empty((0, 0), np.float32)] * len(groups[i].responses) for i in chosen}
    sizes = [
        GroupSize(
            prompt=collator.num_prompt_tokens(groups[i], blind=kind == "blind"),
            responses=groups[i].response_lengths,
        )
        for i in chosen
    ]
    plan = pack(sizes, pass_tokens, pair_cost=policy.work.pair_cost)

    def collate(parts: Sequence[Part]) -> tuple[PolicyInputs, PolicyInputs | None]:
        mine = [groups[chosen[part.group]].select(part.responses) for part in parts]
        second = collator(mine, blind=True) if kind == "exact" else None
        return collator(mine, blind=kind == "blind"), second

    for parts, (inputs, second) in zip(plan, ahead(partial(collate, parts) for parts in plan), strict=True):
        with torch.inference_mode():
            on_device = None if second is None else second.to(policy.device)
            scores = policy(inputs.to(policy.device), temperature, blind_inputs=on_device)
            values_KN = torch.stack([score for score in scores if score is not None]).cpu()
        columns = iter(torch.split(values_KN, list(inputs.lengths), dim=1))
        for part in parts:
            for response in part.responses:
                rows[chosen[part.group]][response] = next(columns).numpy().copy()
    return rows


def _group_scores(passes: Passes, rows: list[Float32Array], blind: list[Float32Array] | None) -> GroupScores:
    sighted = tuple(row[0] for row in rows)
    if passes == "sighted":
        return GroupScores(sighted=sighted)
    if passes == "sighted_blind":
        hidden = sighted if blind is None else tuple(row[0] for row in blind)
        return GroupScores(sighted=sighted, blind=hidden)
    if len(rows) and len(rows[0]) == 1:  # no image, nothing to compare
        return GroupScores(sighted=sighted, blind=sighted, kl=tuple(np.zeros_like(row) for row in sighted))
    return GroupScores(sighted=sighted, blind=tuple(row[1] for row in rows), kl=tuple(row[2] for row in rows))
