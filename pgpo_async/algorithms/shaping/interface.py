"""What a shaping method reads, declares and returns. A new method is a frozen dataclass in its own module.

Methods of scope `response` and `group` run in the scorer as the data streams, one group at a time; those of
scope `batch` in the learner, over the whole optimizer step whatever the number of ranks. Signals that a
method does not ask for in `needs` are not computed, and are None.
"""

from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from pgpo_async.algorithms.tensors import check_BT

Need = Literal["blind", "no_image", "masked_image", "entropy", "hidden_similarity"]
"""A forward pass or quantity that the scorer must provide."""

Scope = Literal["response", "group", "batch"]
"""What a method must see at once."""

SIGNAL_OF: dict[Need, str] = {
    "blind": "dependency_BT",
    "no_image": "no_image_gap_BT",
    "masked_image": "masked_dependency_BT",
    "entropy": "entropy_BT",
    "hidden_similarity": "similarity_BT",
}
"""The field of `Signals` that each need fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known of some responses, without gradient. Padding may hold anything.

    Attributes:
        mask_BT: 1 on response tokens.
        has_image_B: bool, whether each response's prompt has an image.
        dependency_BT: S_t against the blind policy, nats (`blind`).
        masked_dependency_BT: S_t against the policy that sees a masked image, nats (`masked_image`).
        no_image_gap_BT: abs(lp - lp without the image and its positions), nats (`no_image`).
        entropy_BT: of the next-token distribution, cut to the method's `entropy_top_p`, nats (`entropy`).
        similarity_BT: cosine of the token's hidden state with the image tokens', mean over layers and image
            tokens, in [-1, 1]; 0 without an image (`hidden_similarity`).
        progress: how much of training is done, in [0, 1].

    Raises:
        ValueError: a tensor of another shape.
    """

    mask_BT: Tensor
    has_image_B: Tensor
    dependency_BT: Tensor | None = None
    masked_dependency_BT: Tensor | None = None
    no_image_gap_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    similarity_BT: Tensor | None = None
    progress: float = 0.0

    def __post_init__(self) -> None:
        given = {item.name: getattr(self, item.name) for item in fields(self) if item.name.endswith("_BT")}
        check_BT(**{name: tensor for name, tensor in given.items() if tensor is not None})
        size = len(self.mask_BT)
        if self.has_image_B.shape != (size,):
            raise ValueError(f"has_image_B must be of shape [{size}], got {list(self.has_image_B.shape)}")

    @property
    def real_BT(self) -> Tensor:
        """Bool: the response tokens."""
        return self.mask_BT != 0

    @property
    def imaged_BT(self) -> Tensor:
        """Bool: the response tokens of prompts with an image."""
        return self.real_BT & (self.has_image_B != 0).unsqueeze(1)

    def require(self, name: str, method: str) -> Tensor:
        """The signal `name`. Raises ValueError if it was not computed."""
        tensor: Tensor | None = getattr(self, name)
        if tensor is None:
            raise ValueError(f"{name} must be a tensor for {method}, got None")
        return tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """What a shaper returns.

    Attributes:
        weights_BT: factor on each token's advantage, 0 in padding; no gradient. A token of weight 0 carries
            no gradient of the surrogate, and the loss still counts it in what it divides by.
        metrics: scalars of this batch.
    """

    weights_BT: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """What a method adds to the loss, as coefficients of means over response tokens (`losses.papo_terms`).

    Attributes:
        perception: of - KL(current || image-masked).
        masked_entropy: of mean(- lp) under the masked image.
        entropy: of mean(- lp).
    """

    perception: float = 0.0
    masked_entropy: float = 0.0
    entropy: float = 0.0

    @property
    def needs_masked_pass(self) -> bool:
        """Whether the learner runs the policy on the masked image too, with gradient."""
        return self.perception != 0.0 or self.masked_entropy != 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMasking:
    """How images are masked: square cells are blackened, each with the same probability, from a seed.

    Attributes:
        probability: of a cell to be black, in [0, 1].
        cell_px: side of a cell, pixels.
        resized: cells of the image as the model sees it, after its resize; else of the file's pixels.
        per_response: another mask for each response; else one for all responses to a prompt.
    """

    probability: float
    cell_px: int = 14
    resized: bool = True
    per_response: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"mask_probability must be in [0, 1], got {self.probability}")
        if self.cell_px < 1:
            raise ValueError(f"mask_cell_px must be at least 1, got {self.cell_px}")


class Shaper(Protocol):
    """One shaping method with its parameters; immutable, so safe to send to several actors."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    scope: ClassVar[Scope]
    entropy_top_p: ClassVar[float]
    """1, or the probability mass of the likeliest tokens that `entropy` is taken over."""

    @property
    def masking(self) -> ImageMasking | None:
        """How images are masked, for the need `masked_image` or a loss term's masked pass."""
        ...

    @property
    def loss_terms(self) -> LossTerms:
        """What is added to the loss."""
        ...

    def shape(self, signals: Signals) -> Shaped:
        """Weigh the tokens of these responses.

        Raises:
            ValueError: a missing or impossible signal.
        """
        ...


class BaseShaper:
    """The usual declarations: every response for itself, nothing asked for, nothing added to the loss."""

    __slots__ = ()

    needs: ClassVar[frozenset[Need]] = frozenset()
    scope: ClassVar[Scope] = "response"
    entropy_top_p: ClassVar[float] = 1.0

    @property
    def masking(self) -> ImageMasking | None:
        """No image is masked."""
        return None

    @property
    def loss_terms(self) -> LossTerms:
        """Nothing is added."""
        return LossTerms()
