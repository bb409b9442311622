"""The plain way: one rollout at a time through transformers' own forward, a mask for blindness.

What our passes are compared with; every trainer starts so. Rollouts are not padded here, which flatters it.
Called by `policy`.
"""

import torch
from torch import Tensor

from pgpo_async.bench.models import BenchModel
from pgpo_async.policy.inputs import PolicyInputs, PromptGroup


class PlainRollout:
    """One response with its prompt, as transformers takes it: ids, positions, pixels, a mask if blind."""

    def __init__(self, model: BenchModel, group: PromptGroup, response: int) -> None:
        device, config = model.policy.device, model.policy.config
        self._model = model.stock
        inputs: PolicyInputs = model.collator([group.select([response])])
        # One response: the row is the sequence without its last token, which predicts nothing.
        self._ids = inputs.input_ids.to(device)
        self._positions = inputs.position_ids.to(device)
        self._pixels = None if inputs.pixel_values is None else inputs.pixel_values.to(device)
        self._grids = None if inputs.image_grids is None else inputs.image_grids.to(device)
        self._targets = inputs.target_ids.to(device)
        self._mask = _blind_mask(self._ids[0] == config.image_token_id, self._model.dtype)

    def sighted(self) -> Tensor:
        """Log-probs float32 [T], through the tower."""
        hidden = self._model.model(
            input_ids=self._ids,
            pixel_values=self._pixels,
            image_grid_thw=self._grids,
            position_ids=self._positions,
            use_cache=False,
        ).last_hidden_state
        return self._logprobs(hidden)

    def blind(self) -> Tensor:
        """Log-probs float32 [T] with the image tokens, never embedded, hidden from the text."""
        hidden = self._model.model.language_model(
            input_ids=self._ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            use_cache=False,
        ).last_hidden_state
        return self._logprobs(hidden)

    def _logprobs(self, hidden: Tensor) -> Tensor:
        logits_TV: Tensor = self._model.lm_head(hidden[0, -len(self._targets) :]).float()
        return logits_TV.log_softmax(-1).gather(1, self._targets.unsqueeze(1)).squeeze(1)


def _blind_mask(is_image: Tensor, dtype: torch.dtype) -> Tensor:
    """[1, 1, L, L] to be added to the scores: causal, and no text token sees an image token."""
    length = len(is_image)
    seen = torch.ones(length, length, dtype=torch.bool, device=is_image.device).tril()
    seen &= is_image.unsqueeze(1) | ~is_image.unsqueeze(0)
    mask = torch.zeros(length, length, dtype=dtype, device=is_image.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[None, None]
