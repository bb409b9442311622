"""What a token page shows: some groups with the texts and values of their tokens.

Owns the types only. Made by `run` and `model`, drawn by `page`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgpo_async.contracts import ScoredGroup
from pgpo_async.report.formats import plural
from pgpo_async.report.tokens.pieces import TokenTexts
from pgpo_async.report.tokens.values import GroupValues


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupView:
    """A group; `pieces` and `special` (places of special tokens) are of each response in turn.

    `step` is that which trained on it, None outside a run. Without `rewarded` its rewards mean nothing.
    """

    scored: ScoredGroup
    values: GroupValues
    pieces: tuple[tuple[str, ...], ...]
    special: tuple[tuple[int, ...], ...]
    step: int | None = None
    rewarded: bool = True

    @classmethod
    def of(
        cls,
        scored: ScoredGroup,
        values: GroupValues,
        texts: TokenTexts,
        *,
        step: int | None = None,
        rewarded: bool = True,
    ) -> "GroupView":
        """A group with the texts of its tokens."""
        ids = [rollout.response_token_ids.tolist() for rollout in scored.group.rollouts]
        return cls(
            scored=scored,
            values=values,
            pieces=tuple(texts.pieces(row) for row in ids),
            special=tuple(
                tuple(place for place, token in enumerate(row) if texts.is_special(token)) for row in ids
            ),
            step=step,
            rewarded=rewarded,
        )

    @property
    def num_tokens(self) -> int:
        """Response tokens of all members."""
        return sum(len(row) for row in self.pieces)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokensView:
    """A page of at least one group.

    `facts` are what there is to know of all of it, by name; `notes` what is missing or odd.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    groups: Sequence[GroupView]

    @property
    def counts(self) -> str:
        """What is on it, in words."""
        num_responses = sum(len(group.pieces) for group in self.groups)
        num_tokens = sum(group.num_tokens for group in self.groups)
        counts = ((len(self.groups), "group"), (num_responses, "response"), (num_tokens, "token"))
        return ", ".join(plural(count, noun) for count, noun in counts)
