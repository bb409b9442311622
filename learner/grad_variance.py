"""How much the step's gradient varies from rollout to rollout, with a method's weights and without them.

Owns the estimate. A gradient of all weights for each rollout would cost a backward pass each. The gradient
to the logarithm of the final norm's weights, H numbers, is one weighted sum for each rollout: of
`TokenScores.readout`, which is known for all tokens at once, with the loss's derivative at each log-prob.
It is exact for those weights, and other losses on the same log-probs need no other pass. Called by `passes`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

KINDS = ("", "_unshaped")


class GradVariance:
    """The sums of one rank over the micro-batches of a step, on its device."""

    def __init__(self, hidden_size: int, device: torch.device) -> None:
        # Of each kind: the sum of the rollouts' gradients, then of their squared norms; last, their number.
        self._sums = torch.zeros(len(KINDS), hidden_size + 2, dtype=torch.float64, device=device)

    def add(self, readout_NH: Tensor, slopes: Sequence[Tensor], lengths: Sequence[int]) -> None:
        """Add a micro-batch's rollouts, `lengths` tokens each.

        `slopes` are d loss / d log-prob [N], of the loss as it is and of the one without shaping.
        """
        owners_N = torch.repeat_interleave(torch.tensor(lengths)).to(readout_NH.device)
        for kind, slopes_N in enumerate(slopes):
            gradients_RH = readout_NH.new_zeros(len(lengths), readout_NH.shape[1])
            gradients_RH.index_add_(0, owners_N, readout_NH * slopes_N.to(readout_NH.dtype).unsqueeze(1))
            wide_RH = gradients_RH.double()
            squares, count = wide_RH.square().sum().view(1), wide_RH.new_full((1,), len(lengths))
            self._sums[kind] += torch.cat([wide_RH.sum(0), squares, count])

    def over_ranks(self) -> dict[str, float]:
        """`grad_variance` and `grad_snr` of all ranks, each `_unshaped` too. Collective.

        The variance is that of the step's gradient: its trace, the rollouts taken as independent. The
        signal-to-noise ratio is the gradient's squared norm by it. Both 0 with fewer than two rollouts.
        """
        torch.distributed.all_reduce(self._sums)
        found: dict[str, float] = {}
        for kind, sums in zip(KINDS, self._sums, strict=True):
            variance, ratio = spread(sums[:-2], float(sums[-2]), int(sums[-1]))
            found |= {f"grad_variance{kind}": variance, f"grad_snr{kind}": ratio}
        return found


def spread(total_H: Tensor, squares: float, count: int) -> tuple[float, float]:
    """Variance of a sum of `count` independent vectors, and the sum's squared norm by it."""
    if count < 2:
        return 0.0, 0.0
    norm = float(total_H.square().sum())
    variance = max(0.0, (squares - norm / count) * count / (count - 1))
    return variance, norm / variance if variance > 0 else 0.0
