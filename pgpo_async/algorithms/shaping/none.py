"""No shaping: every response token has weight 1 (plain GRPO or DAPO), and no extra pass is needed."""

from dataclasses import dataclass
from typing import ClassVar

from pgpo_async.algorithms.shaping.interface import BaseShaper, Shaped, Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneShaper(BaseShaper):
    """Weights of 1; no metrics."""

    name: ClassVar[str] = "none"

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        return Shaped(weights_BT=signals.real_BT.float())
