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
    """S sequences in R rows of L slots: packed R = 1, L = all tokens; padded R = S, L = the longest.

    A slot is an index into R * L. M image tokens, N response tokens, I distinct images.
    """

    input_ids: torch.Tensor
    """int64 [R, L]."""
    position_ids: torch.Tensor
    """int64 [4, R, L]: place in its sequence, then the three rotary rows. Padding has zeros."""
    attention_mask: torch.Tensor | None
    """bool [R, L], False on padding; None where packed."""
    segments: Segments | None
    """Borders in the packed row; None where padded."""
    pixel_values: torch.Tensor | None
    """float32 [patches, patch numbers] of the distinct images; None where the tower is not run."""
    image_grids: torch.Tensor | None
    """int64 [I, 3]: frames, rows, columns in patches."""
    image_slots: torch.Tensor
    """int64 [M]: slots that take an image embedding."""
    image_rows: torch.Tensor
    """int64 [M]: which row of the tower's output each takes."""
    predictor_slots: torch.Tensor
    """int64 [N]: for each response token the slot whose output predicts it."""
    target_ids: torch.Tensor
    """int64 [N]: the response tokens, sequence after sequence in the order given to the collator."""
    lengths: tuple[int, ...]
    """Response tokens of each sequence, in the order given; they sum to N."""
    num_tokens: int
    """R * L: tokens that the text model works on."""

    def to(self, device: torch.device | str) -> "PolicyInputs":
        """The inputs on a device."""
        changes: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        segments = None if self.segments is None else self.segments.to(device)
        return dataclasses.replace(self, segments=segments, **changes)

    def split(self, values_N: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut a flat result into one tensor [T] a sequence."""
        return torch.split(values_N, list(self.lengths))
