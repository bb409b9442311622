"""How far vLLM's log-probs are from the trainer's where the weights are the same.

Mismatch KL (DESIGN section 7): mean k3 between behaviour and proximal log-probs over the tokens that were
sampled by the very version that scores them. A missed weight update or a differing kernel shows here first.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from pgpo_async.algorithms.divergence import k3
from pgpo_async.contracts import Rollout, RolloutGroup


class MismatchMeter:
    """Running sum of k3 over tokens at lag 0."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._num_tokens = 0

    def add(
        self, groups: Sequence[RolloutGroup], sighted: Sequence[npt.NDArray[np.float32]], version: int
    ) -> None:
        """Add the tokens of `groups` that `version` sampled; `sighted` has a float32 [T] for each rollout."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        for rollout, proximal in zip(rollouts, sighted, strict=True):
            fresh = _sampled_by(rollout, version)
            behaviour = torch.from_numpy(rollout.behaviour_logprobs[fresh])[None]
            values = k3(behaviour, torch.from_numpy(proximal[fresh])[None])
            self._sum += float(values.sum())
            self._num_tokens += int(fresh.sum())

    def totals(self) -> dict[str, float]:
        """Return the sum and the number of tokens, to be added over scorers."""
        return {"mismatch_sum": self._sum, "mismatch_tokens": self._num_tokens}


def _sampled_by(rollout: Rollout, version: int) -> npt.NDArray[np.bool_]:
    fresh = np.zeros(len(rollout.response_token_ids), dtype=bool)
    for span in rollout.version_spans:
        fresh[span.start : span.end] = span.version == version
    return fresh
