"""No shaping: every response token has weight 1 (plain GRPO or DAPO), and no blind pass is needed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping.interface import Need, Scope, Shaped
from pgpo_async.algorithms.tensors import check_BT, compute_dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneShaper:
    """Weights of 1 whatever the dependency, which may be None; no metrics."""

    name: ClassVar[str] = "none"
    needs: ClassVar[frozenset[Need]] = frozenset()
    scope: ClassVar[Scope] = "response"

    def shape(self, dependency_BT: Tensor | None, mask_BT: Tensor, has_image_B: Tensor) -> Shaped:  # noqa: ARG002
        """See `Shaper.shape`."""
        check_BT(mask_BT=mask_BT)
        dtype = torch.float32 if dependency_BT is None else compute_dtype(dependency_BT)
        return Shaped(weights_BT=(mask_BT != 0).to(dtype), metrics={})
