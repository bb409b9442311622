"""`PromptGroup`: one prompt with its responses, as token ids and encoded images.

Owns the type and how a rollout group becomes one. Collation is `inputs`' work, cutting into passes
`packing`'s. Called by scorer and learner.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pgpo_async.contracts import RolloutGroup
from pgpo_async.contracts.rollouts import Int32Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PromptGroup:
    """A prompt, P tokens, and any number of responses to it; the model sees the prompt once.

    `prompt_token_ids` int32 [P], P > 0, image placeholders expanded, ends with a text token; `responses`
    int32 [T] each, T may be 0; `images` are encoded bytes in the order of the placeholders. Masks are drawn
    from `key`, which says which prompt of a run this is, and `numbers`, which of its responses these are:
    those of the whole group, which `select` keeps; 0, 1, ... if None.
    """

    prompt_token_ids: Int32Array
    responses: tuple[Int32Array, ...]
    images: tuple[bytes, ...] = ()
    key: str = ""
    numbers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.prompt_token_ids) == 0:
            raise ValueError("prompt_token_ids must hold at least one token, got none")
        if self.numbers is not None and len(self.numbers) != len(self.responses):
            raise ValueError(
                f"numbers must have one entry for each of the {len(self.responses)} responses, "
                f"got {len(self.numbers)}"
            )

    @property
    def response_lengths(self) -> tuple[int, ...]:
        """T of each response."""
        return tuple(len(response) for response in self.responses)

    @property
    def response_numbers(self) -> tuple[int, ...]:
        """Which response of the whole group each is."""
        return tuple(range(len(self.responses))) if self.numbers is None else self.numbers

    def select(self, indices: Sequence[int]) -> "PromptGroup":
        """The group with some of its responses, in the order given."""
        return replace(
            self,
            responses=tuple(self.responses[i] for i in indices),
            numbers=tuple(self.response_numbers[i] for i in indices),
        )


def prompt_group(group: RolloutGroup) -> PromptGroup:
    """A rollout group as the model sees it, its rollouts in order."""
    return PromptGroup(
        prompt_token_ids=group.prompt_token_ids,
        responses=tuple(rollout.response_token_ids for rollout in group.rollouts),
        images=group.prompt.images,
        # The index tells one epoch's prompt from the next's: its masks are new ones.
        key=repr((group.prompt.prompt_id, group.prompt.index)),
    )
