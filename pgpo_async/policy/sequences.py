"""`PolicySequence`: one prompt with one response, as token ids and encoded images.

Owns the type and how a rollout group becomes sequences. Collation is `inputs`' work. Called by scorer and
learner.
"""

from dataclasses import dataclass

from pgpo_async.contracts import RolloutGroup
from pgpo_async.contracts.rollouts import Int32Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PolicySequence:
    """A prompt and one response to it; sequences of one prompt should share the arrays and the tuple.

    `prompt_token_ids` int32 [P], P > 0, image placeholders expanded, ends with a text token;
    `response_token_ids` int32 [T], T may be 0; `images` are encoded bytes in the order of the placeholders.
    """

    prompt_token_ids: Int32Array
    response_token_ids: Int32Array
    images: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.prompt_token_ids) == 0:
            raise ValueError("prompt_token_ids must hold at least one token, got none")

    @property
    def num_tokens(self) -> int:
        """P + T."""
        return len(self.prompt_token_ids) + len(self.response_token_ids)


def sequences_of(group: RolloutGroup) -> list[PolicySequence]:
    """The group's sequences, one a rollout, in order."""
    return [
        PolicySequence(
            prompt_token_ids=group.prompt_token_ids,
            response_token_ids=rollout.response_token_ids,
            images=group.prompt.images,
        )
        for rollout in group.rollouts
    ]
