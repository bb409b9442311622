"""Scoring passes over many groups within a token budget.

Owns the forward passes without gradient: which are needed for what is wanted, how they are packed, that
images are prepared ahead of the device. Not what is done with the scores. Called by the scorer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from pgpo_async.contracts.rollouts import Float32Array
from pgpo_async.policy.ahead import ahead
from pgpo_async.policy.inputs import Collator, PolicyInputs, PromptGroup
from pgpo_async.policy.logprobs import DivergenceScores, TokenScores
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.packing import GroupSize, Part, pack
from pgpo_async.policy.views import Look
from pgpo_async.policy.wanted import GroupScores, Passes, Wanted

__all__ = ["GroupScores", "Passes", "Wanted", "score_groups"]

_Rows = dict[str, list[Float32Array]]
"""By the names of `GroupScores`, for each response float32 [T]."""


def score_groups(
    policy: PolicyModel,
    collator: Collator,
    groups: Sequence[PromptGroup],
    *,
    pass_tokens: int,
    passes: Passes | Wanted = "sighted",
    temperature: float = 1.0,
) -> list[GroupScores]:
    """Score each group's responses, without gradient.

    A forward works on at most `pass_tokens` tokens (or one longer response and its prompt). Entropy and
    similarity come from the sighted pass. A prompt without images is run sighted only: nothing is hidden
    from it. Raises ValueError, see `Collator`.
    """
    wanted = Wanted.of(passes)
    scoring = _Scoring(
        policy=policy,
        collator=collator,
        groups=groups,
        wanted=wanted,
        pass_tokens=pass_tokens,
        temperature=temperature,
        rows=[{} for _ in groups],
    )
    everything = range(len(groups))
    shown = [i for i in everything if groups[i].images]
    if wanted.kl:
        scoring.run(Look(), [i for i in everything if i not in shown])
        scoring.run(Look(), shown, exact=True)
    else:
        scoring.run(Look(), everything)
        if wanted.blind:
            scoring.run(Look(view="blind"), shown)
    if wanted.masking is not None:
        scoring.run(Look(view="masked", masking=wanted.masking, seed=wanted.seed), shown)
    if wanted.no_image:
        scoring.run(Look(view="no_image"), shown)
    return [_group_scores(rows, wanted) for rows in scoring.rows]


@dataclass(kw_only=True, slots=True, eq=False)
class _Scoring:
    """Some groups and the rows known of each so far."""

    policy: PolicyModel
    collator: Collator
    groups: Sequence[PromptGroup]
    wanted: Wanted
    pass_tokens: int
    temperature: float
    rows: list[_Rows]

    def run(self, look: Look, chosen: Sequence[int], *, exact: bool = False) -> None:
        """Run the chosen groups in a view, with `exact` sighted and blind together."""
        # What shares a prompt. Packing may cut it further, and then each piece has the prompt.
        units = [
            Part(group=i, responses=shared)
            for i in chosen
            for shared in self.collator.sharing(self.groups[i], look)
        ]
        sizes = [self._size(unit, look) for unit in units]
        packed = pack(sizes, self.pass_tokens, pair_cost=self.policy.work.pair_cost)
        plan = [[_piece(units[part.group], part.responses) for part in parts] for parts in packed]
        jobs = (partial(self._collate, parts, look, exact=exact) for parts in plan)
        for parts, (inputs, second) in zip(plan, ahead(jobs), strict=True):
            for name, values_N in self._forward(inputs, second, look).items():
                self._put(name, parts, inputs.split(values_N.cpu()))

    def _size(self, unit: Part, look: Look) -> GroupSize:
        group = self.groups[unit.group]
        lengths = group.response_lengths
        return GroupSize(
            prompt=self.collator.num_prompt_tokens(group, view=look.view),
            responses=tuple(lengths[i] for i in unit.responses),
        )

    def _collate(
        self, parts: Sequence[Part], look: Look, *, exact: bool
    ) -> tuple[PolicyInputs, PolicyInputs | None]:
        mine = [self.groups[part.group].select(part.responses) for part in parts]
        second = self.collator(mine, view="blind") if exact else None
        return self.collator(mine, view=look.view, masking=look.masking, seed=look.seed), second

    @torch.inference_mode()
    def _forward(
        self, inputs: PolicyInputs, blind_inputs: PolicyInputs | None, look: Look
    ) -> Mapping[str, torch.Tensor]:
        """What a pass finds, by the names of `GroupScores`, [N] each."""
        device, wanted, sighted = self.policy.device, self.wanted, look.view == "sighted"
        scores: TokenScores | DivergenceScores = self.policy(
            inputs.to(device),
            self.temperature,
            entropy=sighted and wanted.entropy,
            entropy_top_p=wanted.entropy_top_p if sighted else 1.0,
            similarity=sighted and wanted.similarity,
            blind_inputs=None if blind_inputs is None else blind_inputs.to(device),
        )
        if isinstance(scores, DivergenceScores):
            found = {"sighted": scores.sighted_logprobs, "blind": scores.blind_logprobs, "kl": scores.kl}
        else:
            found = {look.view: scores.logprobs}
        extra = {"entropy": scores.entropy, "similarity": scores.similarity}
        return found | {name: values for name, values in extra.items() if values is not None}

    def _put(self, name: str, parts: Sequence[Part], columns: Sequence[torch.Tensor]) -> None:
        rest = iter(columns)
        for part in parts:
            nothing = [np.empty(0, np.float32)] * len(self.groups[part.group].responses)
            rows = self.rows[part.group].setdefault(name, nothing)
            for response in part.responses:
                rows[response] = next(rest).numpy().copy()


def _piece(unit: Part, responses: Sequence[int]) -> Part:
    return Part(group=unit.group, responses=tuple(unit.responses[i] for i in responses))


def _group_scores(rows: _Rows, wanted: Wanted) -> GroupScores:
    sighted = tuple(rows["sighted"])
    filled = {name: tuple(rows[name]) if name in rows else sighted for name in wanted.names}
    if wanted.kl and "kl" not in rows:
        filled["kl"] = tuple(np.zeros_like(row) for row in sighted)
    return GroupScores(**filled)
