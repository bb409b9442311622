"""`PolicyInputs`: one forward pass's tensors.

Owns the type. Made by `inputs.Collator`, read by `model.PolicyModel`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from pgpo_async.policy.segments import Segments


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PolicyInputs:
    """Prompts and then their responses in one row of L tokens, without padding.

    M image tokens, N response tokens, I distinct images. A response's last token predicts nothing, so it is a
    target and not in the row: L is all prompts' tokens and T - 1 of each response.
    """

    input_ids: torch.Tensor
    """int64 [1, L]."""
    position_ids: torch.Tensor
    """int64 [3, 1, L]: the rotary rows; a response's go on from its prompt's."""
    segments: Segments
    """Who attends to whom."""
    pixel_values: torch.Tensor | None
    """float32 [patches, patch numbers] of the distinct images; None where the tower is not run."""
    image_grids: torch.Tensor | None
    """int64 [I, 3]: frames, rows, columns in patches."""
    image_slots: torch.Tensor
    """int64 [M]: places in the row that take an image embedding, rising."""
    image_rows: torch.Tensor
    """int64 [M]: which row of the tower's output each takes."""
    needed_slots: torch.Tensor
    """int64 [K]: places in the row whose output predicts a response token, rising."""
    predictor_slots: torch.Tensor
    """int64 [N]: for each response token which of the needed outputs predicts it."""
    target_ids: torch.Tensor
    """int64 [N]: the response tokens, response after response in the order given to the collator."""
    lengths: tuple[int, ...]
    """Tokens of each response, in the order given; they sum to N."""

    @property
    def num_tokens(self) -> int:
        """L: tokens that the text model works on."""
        return self.input_ids.shape[1]

    def to(self, device: torch.device | str) -> "PolicyInputs":
        """The inputs on a device."""
        changes: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return dataclasses.replace(self, segments=self.segments.to(device), **changes)

    def split(self, values_N: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut a flat result into one tensor [T] a response."""
        return torch.split(values_N, list(self.lengths))
