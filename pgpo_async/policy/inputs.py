"""Sequences to one batch of tensors, packed into one row or padded.

Owns `Collator`. The types are `sequences.PolicySequence` and `batch.PolicyInputs`, offered here too; prompts
and images are `prompts`' work. Runs on the CPU, never touches the model. Called by `passes`, scorer, learner.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from pgpo_async.policy.batch import PolicyInputs
from pgpo_async.policy.images import PixelBatch, dummy_pixels
from pgpo_async.policy.prompts import Int64Array, ModelPrompt, PromptReader
from pgpo_async.policy.segments import plan_segments
from pgpo_async.policy.sequences import PolicySequence, sequences_of

__all__ = ["Collator", "PolicyInputs", "PolicySequence", "sequences_of"]

Layout = Literal["packed", "padded"]


class Collator:
    """Makes `PolicyInputs` for the model of a processor and a Hugging Face config (`policy.config`)."""

    def __init__(self, processor: Any, config: Any, *, layout: Layout = "packed") -> None:
        if layout not in ("packed", "padded"):
            raise ValueError(f"layout must be 'packed' or 'padded', got {layout!r}")
        self._layout = layout
        self._reader = PromptReader(processor, config)

    def __call__(
        self, sequences: Sequence[PolicySequence], *, blind: bool = False, dummy_image: bool = False
    ) -> PolicyInputs:
        """Collate at least one sequence. Response tokens keep the order given, whatever the layout.

        `blind` drops the image tokens and keeps all other tokens' positions. `dummy_image` gives the vision
        tower something to run on where no sequence has an image, so that all ranks run the same collectives;
        no result depends on it.

        Raises ValueError if there is no sequence, a response holds a placeholder token, a prompt holds a
        video token or ends with an image token, an image cannot be read, or placeholders do not fit images.
        """
        if not sequences:
            raise ValueError("sequences must hold at least one sequence, got none")
        for sequence in sequences:
            self._check_response(sequence.response_token_ids)
        prompts, pixels = self._reader.read(sequences, blind=blind)
        if pixels is None and dummy_image:
            pixels = dummy_pixels(self._reader.image_processor)
        return _assemble(sequences, prompts, pixels, self._layout)

    def num_tokens(self, sequence: PolicySequence, *, blind: bool = False) -> int:
        """Tokens that the text model works on for a sequence, padding aside: what pass budgets count."""
        dropped = np.isin(sequence.prompt_token_ids, self._reader.placeholders).sum() if blind else 0
        return sequence.num_tokens - int(dropped)

    def _check_response(self, token_ids: np.ndarray[Any, Any]) -> None:
        for token in self._reader.placeholders:
            if (token_ids == token).any():
                raise ValueError(f"responses must not hold the image or video placeholder, got token {token}")


def _assemble(
    sequences: Sequence[PolicySequence],
    prompts: Sequence[ModelPrompt],
    pixels: PixelBatch | None,
    layout: Layout,
) -> PolicyInputs:
    prompt_lengths = np.array([len(prompt.token_ids) for prompt in prompts])
    response_lengths = np.array([len(sequence.response_token_ids) for sequence in sequences])
    lengths = prompt_lengths + response_lengths
    packed = layout == "packed"
    order = np.argsort(lengths, kind="stable") if packed else np.arange(len(lengths))
    rows, row_length = (1, int(lengths.sum())) if packed else (len(lengths), int(lengths.max()))
    starts = np.empty_like(lengths)
    starts[order] = np.cumsum(lengths[order]) - lengths[order] if packed else order * row_length

    token_ids = np.zeros(rows * row_length, np.int64)
    positions = np.zeros((4, rows * row_length), np.int64)
    for start, prompt, sequence in zip(starts.tolist(), prompts, sequences, strict=True):
        _fill(token_ids, positions, start, prompt, sequence)
    first_predictors = starts + prompt_lengths - 1
    mask = None if packed else np.arange(row_length) < lengths[:, None]
    return PolicyInputs(
        input_ids=torch.from_numpy(token_ids.reshape(rows, row_length)),
        position_ids=torch.from_numpy(positions.reshape(4, rows, row_length)),
        attention_mask=None if mask is None else torch.from_numpy(mask),
        segments=plan_segments(lengths[order].tolist()) if packed else None,
        pixel_values=None if pixels is None else pixels.pixel_values,
        image_grids=None if pixels is None else pixels.grids,
        image_slots=_joined([start + p.image_places for start, p in zip(starts, prompts, strict=True)]),
        image_rows=_joined([prompt.image_rows for prompt in prompts]),
        predictor_slots=_joined(
            [np.arange(a, a + n) for a, n in zip(first_predictors, response_lengths, strict=True)]
        ),
        target_ids=_joined([sequence.response_token_ids for sequence in sequences]),
        lengths=tuple(response_lengths.tolist()),
        num_tokens=rows * row_length,
    )


def _fill(
    token_ids: Int64Array, positions: Int64Array, start: int, prompt: ModelPrompt, sequence: PolicySequence
) -> None:
    middle = start + len(prompt.token_ids)
    end = middle + len(sequence.response_token_ids)
    token_ids[start:middle] = prompt.token_ids
    token_ids[middle:end] = sequence.response_token_ids
    # Row 0 tells transformers where a packed sequence begins: contiguous even where images were dropped.
    positions[0, start:end] = np.arange(end - start)
    positions[1:, start:middle] = prompt.positions
    positions[1:, middle:end] = np.arange(prompt.next_position, prompt.next_position + end - middle)


def _joined(pieces: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(pieces).astype(np.int64))
