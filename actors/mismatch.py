"""How far vLLM's log-probs are from the trainer's where the weights are the same.

Mismatch KL (DESIGN section 7): mean k3 between behaviour and proximal log-probs over the responses that were
sampled whole by the very version that scores them. A missed weight update or a differing kernel shows here
first.
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
        """Add the responses that `version` alone sampled; `sighted` has a float32 [T] for each rollout."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        for rollout, proximal in zip(rollouts, sighted, strict=True):
            if _is_fresh(rollout, version):
                values = k3(
                    torch.from_numpy(rollout.behaviour_logprobs)[None], torch.from_numpy(proximal)[None]
                )
                self._sum += float(values.sum())
                self._num_tokens += len(proximal)

    def totals(self) -> dict[str, float]:
        """Return the sum and the number of tokens, to be added over scorers."""
        return {"mismatch_sum": self._sum, "mismatch_tokens": self._num_tokens}


def _is_fresh(rollout: Rollout, version: int) -> bool:
    # The tokens after an update in flight attend to keys and values that the older weights made.
    return {span.version for span in rollout.version_spans} == {version}
