"""PAPO (arXiv 2507.06448): every token weighs 1; the loss drives sighted and image-masked policy apart.

Owns the coefficients and the masking. The terms themselves are `losses.papo_terms`: they need gradient, so
the learner runs the masked pass, and the scorer none.
"""

from dataclasses import dataclass
from typing import ClassVar

from pgpo_async.algorithms.shaping.interface import BaseShaper, ImageMasking, LossTerms, Shaped, Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class PapoShaper(BaseShaper):
    """Weights of 1, three terms on the loss; no metrics.

    The defaults are of the paper's DAPO variant; with GRPO on a 7B model it has gamma 0.02, both etas 0.05.
    Without an image both passes are the same, and only the entropies' terms are left.
    """

    name: ClassVar[str] = "papo"

    gamma: float = 0.01
    eta_masked: float = 0.03
    eta: float = 0.03
    mask_probability: float = 0.6
    mask_cell_px: int = 14

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"gamma must not be negative, got {self.gamma}")
        if not self.eta_masked >= 0:
            raise ValueError(f"eta_masked must not be negative, got {self.eta_masked}")
        if not self.eta >= 0:
            raise ValueError(f"eta must not be negative, got {self.eta}")
        ImageMasking(probability=self.mask_probability, cell_px=self.mask_cell_px)  # refuses its own

    @property
    def masking(self) -> ImageMasking:
        """Before the resize, in the file's pixels; one mask for all responses to a prompt."""
        return ImageMasking(
            probability=self.mask_probability, cell_px=self.mask_cell_px, resized=False, per_response=False
        )

    @property
    def loss_terms(self) -> LossTerms:
        """- gamma KL(current || masked) + eta_masked H(masked) + eta H."""
        return LossTerms(perception=self.gamma, masked_entropy=self.eta_masked, entropy=self.eta)

    def shape(self, signals: Signals) -> Shaped:
        """See `Shaper.shape`."""
        return Shaped(weights_BT=signals.real_BT.float())
