"""How alike a response token's hidden states are to its images', layer by layer (PEPO, arXiv 2603.22847).

Owns the sum over layers: a layer's states are read as it computes them and are gone with the next. Called by
`model`, without gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pgpo_async.policy.batch import PolicyInputs


class ImageSimilarity:
    """Mean over layers l and image tokens m of cos(h_l(t), h_l(m)), the images being those of t's prompt.

    h_l are the text layers' outputs as transformers' `output_hidden_states` gives them, the last one behind
    the final norm. A response token's state is the one that predicts it, like its log-prob: the last token of
    a response is not in the row and has no state of its own. The mean over image tokens is one dot product
    with the mean of their unit vectors: no matrix of tokens and image tokens is built.
    """

    def __init__(self, inputs: PolicyInputs) -> None:
        segments = inputs.segments
        self._images, self._tokens, self._predictors = (
            inputs.image_slots,
            inputs.needed_slots,
            inputs.predictor_slots,
        )
        self._image_owners = _owners(self._images, segments.key_offsets)
        # A token that predicts is a prompt's last or a response's.
        from_responses = self._tokens - segments.num_prompt_tokens
        self._owners = torch.where(
            from_responses < 0,
            _owners(self._tokens, segments.key_offsets),
            _owners(from_responses.clamp(min=0), segments.query_offsets),
        )
        num_prompts = len(segments.key_offsets) - 1
        self._counts = torch.bincount(self._image_owners, minlength=num_prompts).clamp(min=1)
        self._sum = torch.zeros(len(self._tokens), dtype=torch.float32, device=self._tokens.device)
        self._num_layers = 0

    @contextmanager
    def watching(self, layers: Any) -> Iterator[None]:
        """Add the outputs of these layers while they run, [1, L, H] each."""
        handles = [layer.register_forward_hook(lambda *run: self.add(run[-1][0])) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def add(self, hidden_LH: Tensor) -> None:
        """Add one layer's states of the whole row."""
        self._num_layers += 1
        if len(self._images) == 0:
            return
        images_MH = normalize(hidden_LH.index_select(0, self._images).float(), dim=-1)
        means_PH = images_MH.new_zeros(len(self._counts), images_MH.shape[1])
        means_PH.index_add_(0, self._image_owners, images_MH).div_(self._counts.unsqueeze(1))
        tokens_KH = normalize(hidden_LH.index_select(0, self._tokens).float(), dim=-1)
        self._sum += torch.linalg.vecdot(tokens_KH, means_PH.index_select(0, self._owners))

    def result(self) -> Tensor:
        """float32 [N] for the response tokens, in [-1, 1]; 0 where the prompt has no image."""
        return (self._sum / max(1, self._num_layers)).index_select(0, self._predictors)


def _owners(slots: Tensor, offsets: Tensor) -> Tensor:
    """Which of the stretches between offsets each place lies in; empty ones hold none."""
    return torch.bucketize(slots, offsets.to(slots.dtype), right=True) - 1
