"""Token log-probs from hidden states, chunk by chunk: no [tokens, vocabulary] matrix of a whole batch.

Owns `LogProbHead`, which takes the place of the model's `lm_head` (same parameter, same name). One call a
forward, however many chunks: ZeRO 3 gathers a module's weight when the module is called, so ranks with
different numbers of tokens still run the same collectives. Called by `model`.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

CHUNK_TOKENS = 512


class LogProbHead(nn.Linear):
    """A linear output layer that can also return the log-probs of given tokens."""

    chunk_tokens: int = CHUNK_TOKENS

    @classmethod
    def from_linear(cls, layer: nn.Linear, *, chunk_tokens: int = CHUNK_TOKENS) -> "LogProbHead":
        """A head on the layer's own parameters (a tied weight stays tied)."""
        if chunk_tokens < 1:
            raise ValueError(f"chunk_tokens must be at least 1, got {chunk_tokens}")
        head = cls(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        head.weight, head.bias = layer.weight, layer.bias
        head.chunk_tokens = chunk_tokens
        return head

    def forward(
        self, hidden: torch.Tensor, target_ids: torch.Tensor | None = None, temperature: float = 1.0
    ) -> torch.Tensor:
        """Log-probs float32 [N] of `target_ids` int64 [N] after `hidden` [N, H]; without targets the logits.

        In training each chunk's logits are computed again in the backward pass instead of being kept.
        """
        if target_ids is None:
            return super().forward(hidden)
        pieces = (torch.split(tensor, self.chunk_tokens) for tensor in (hidden, target_ids))
        chunks = list(zip(*pieces, strict=True))
        recompute = torch.is_grad_enabled() and len(chunks) > 1
        run = self._recomputed_chunk if recompute else self._chunk
        return torch.cat([run(hidden_NH, targets_N, temperature) for hidden_NH, targets_N in chunks])

    def _recomputed_chunk(self, *arguments: Any) -> torch.Tensor:
        logprobs_N: torch.Tensor = checkpoint(
            self._chunk, *arguments, use_reentrant=False, preserve_rng_state=False
        )
        return logprobs_N

    def _chunk(self, hidden_NH: torch.Tensor, target_ids_N: torch.Tensor, temperature: float) -> torch.Tensor:
        # The weight is used, not a submodule: the hooks that gather it have run for this module's call.
        logits_NV = linear(hidden_NH, self.weight, self.bias).float()
        if temperature != 1.0:
            logits_NV = logits_NV / temperature
        chosen_N = logits_NV.gather(-1, target_ids_N.unsqueeze(-1)).squeeze(-1)
        return chosen_N - logits_NV.logsumexp(-1)
