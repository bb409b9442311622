"""Prompt groups to one batch of tensors, packed into one row with each prompt once.

Owns `Collator`. The types are `groups.PromptGroup` and `batch.PolicyInputs`, offered here too; prompts and
images are `prompts`' work. Runs on the CPU, never touches the model. Called by `passes`, scorer, learner.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pgpo_async.algorithms.shaping.interface import ImageMasking
from pgpo_async.contracts.rollouts import Int32Array
from pgpo_async.policy.batch import PolicyInputs
from pgpo_async.policy.groups import PromptGroup, prompt_group
from pgpo_async.policy.images import PixelBatch, dummy_pixels
from pgpo_async.policy.prompts import Int64Array, ModelPrompt, PromptReader
from pgpo_async.policy.segments import plan_segments
from pgpo_async.policy.views import Look, View

__all__ = ["Collator", "PolicyInputs", "PromptGroup", "View", "prompt_group"]


class Collator:
    """Makes `PolicyInputs` for the model of a processor and a Hugging Face config (`policy.config`)."""

    def __init__(self, processor: Any, config: Any) -> None:
        self._reader = PromptReader(processor, config)

    def __call__(
        self,
        groups: Sequence[PromptGroup],
        *,
        view: View = "sighted",
        blind: bool = False,
        masking: ImageMasking | None = None,
        seed: int = 0,
        dummy_image: bool = False,
    ) -> PolicyInputs:
        """Collate at least one group; in every view the same responses come in the same order.

        `blind` is short for the view of that name. `masking` and `seed` are read by the view `masked`: a mask
        depends on the seed, the prompt's key, which of its images it lies on, and with
        `masking.per_response` the response's number; not on what else is in the batch. Then each response
        has a prompt of its own in the row, and shares none. `dummy_image` gives the vision tower something
        to run on where no pixels are shown, so that all ranks run the same collectives; no result depends
        on it.

        Raises ValueError, see `check`, and if there is no group, an image cannot be read, the view `masked`
        comes without `masking`, or `no_image` leaves nothing of a prompt.
        """
        if not groups:
            raise ValueError("groups must hold at least one group, got none")
        for group in groups:
            self._check_responses(group.responses)
        look = Look(view="blind" if blind else view, masking=masking, seed=seed)
        groups = [group.select(part) for group in groups for part in self.sharing(group, look)]
        prompts, pixels = self._reader.read(groups, look)
        if pixels is None and dummy_image:
            pixels = dummy_pixels(self._reader.image_processor)
        return _assemble(groups, prompts, pixels)

    def check(self, group: PromptGroup) -> None:
        """Find what is wrong with a group without decoding its images.

        Raises ValueError if a response holds a placeholder token, a prompt holds a video token or ends with
        an image token, an image has no readable header, or placeholders do not fit the images.
        """
        self._check_responses(group.responses)
        self._reader.read([group], Look(view="blind"))

    def sharing(self, group: PromptGroup, look: Look) -> list[tuple[int, ...]]:
        """Which of a group's responses share a prompt in the row: all, or where masks differ, each alone."""
        everything = tuple(range(len(group.responses)))
        if not (look.parts_responses and group.images and everything):
            return [everything]
        return [(i,) for i in everything]

    def num_prompt_tokens(self, group: PromptGroup, *, view: View = "sighted", blind: bool = False) -> int:
        """Prompt tokens that the text model works on, in a view (`blind`: in that one)."""
        kept = self._reader.tokens.kept(group.prompt_token_ids, "blind" if blind else view)
        return int(kept.sum())

    def num_image_tokens(self, group: PromptGroup) -> int:
        """Image tokens of the prompt."""
        return int((group.prompt_token_ids == self._reader.tokens.image).sum())

    def _check_responses(self, responses: Sequence[Int32Array]) -> None:
        token_ids = _joined(responses)
        for token in self._reader.tokens.placeholders:
            if (token_ids == token).any():
                raise ValueError(f"responses must not hold the image or video placeholder, got token {token}")


def _assemble(
    groups: Sequence[PromptGroup], prompts: Sequence[ModelPrompt], pixels: PixelBatch | None
) -> PolicyInputs:
    prompt_lengths = np.array([len(prompt.token_ids) for prompt in prompts])
    starts = np.cumsum(prompt_lengths) - prompt_lengths
    responses = [response for group in groups for response in group.responses]
    parents = np.repeat(np.arange(len(groups)), [len(group.responses) for group in groups])
    lengths = np.array([len(response) for response in responses], np.int64)
    in_row = np.maximum(lengths - 1, 0)
    # A response's first token is predicted by its prompt's last, token k by token k - 1 of the row.
    response_starts = prompt_lengths.sum() + np.cumsum(in_row) - in_row
    place = _counts(lengths)
    last_of_prompt = (starts + prompt_lengths - 1)[parents]
    predictors = np.where(
        place == 0, np.repeat(last_of_prompt, lengths), np.repeat(response_starts, lengths) + place - 1
    )
    needed, which = np.unique(predictors, return_inverse=True)
    next_positions = np.array([prompt.next_position for prompt in prompts])[parents]
    response_positions = np.repeat(next_positions, in_row) + _counts(in_row)
    positions = [prompt.positions for prompt in prompts]
    positions.append(np.broadcast_to(response_positions, (3, len(response_positions))))
    per_group = np.split(in_row, np.cumsum([len(group.responses) for group in groups])[:-1])
    return PolicyInputs(
        input_ids=_tensor([*(p.token_ids for p in prompts), *(r[:-1] for r in responses)]).unsqueeze(0),
        position_ids=torch.from_numpy(np.concatenate(positions, axis=1).astype(np.int64)).unsqueeze(1),
        segments=plan_segments(prompt_lengths.tolist(), [part.tolist() for part in per_group]),
        pixel_values=None if pixels is None else pixels.pixel_values,
        image_grids=None if pixels is None else pixels.grids,
        image_slots=_tensor([a + p.image_places for a, p in zip(starts, prompts, strict=True)]),
        image_rows=_tensor([prompt.image_rows for prompt in prompts]),
        needed_slots=torch.from_numpy(needed.astype(np.int64)),
        predictor_slots=torch.from_numpy(which.astype(np.int64)),
        target_ids=_tensor(responses),
        lengths=tuple(lengths.tolist()),
    )


def _counts(lengths: Int64Array) -> Int64Array:
    """0, 1, ..., length - 1 for each length, one after another."""
    starts: Int64Array = np.cumsum(lengths) - lengths
    counts: Int64Array = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    return counts


def _joined(pieces: Sequence[np.ndarray[Any, Any]]) -> Int64Array:
    joined: Int64Array = np.concatenate([np.empty(0, np.int64), *pieces]).astype(np.int64)
    return joined


def _tensor(pieces: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    return torch.from_numpy(_joined(pieces))
