"""What a shaping method declares and returns. A new method is a frozen dataclass in its own module.

A method that also masks tokens or adds terms to the loss (ALGORITHMS 5) extends `Shaped` by a field with a
default, so that the other methods stay as they are.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

Need = Literal["blind", "no_image", "masked_image", "entropy", "hidden_similarity"]
"""A forward pass or quantity that the scorer must provide."""

Scope = Literal["response", "group", "batch"]
"""What a method must see at once. Response-scope methods run in the scorer as the data streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """What a shaper returns.

    Attributes:
        weights_BT: factor on each token's advantage, 0 in padding; no gradient.
        metrics: scalars of this batch.
    """

    weights_BT: Tensor
    metrics: dict[str, Tensor]


class Shaper(Protocol):
    """One shaping method with its parameters; immutable, so safe to send to several actors."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    scope: ClassVar[Scope]

    def shape(self, dependency_BT: Tensor | None, mask_BT: Tensor, has_image_B: Tensor) -> Shaped:
        """Weigh the tokens of these responses.

        Args:
            dependency_BT: S_t in nats; None only where `needs` is empty and no pass was made.
            mask_BT: 1 on response tokens.
            has_image_B: bool, whether each response's prompt has an image.

        Raises:
            ValueError: shapes, or a missing or impossible dependency.
        """
        ...
