"""What a pass shows the model of a prompt, and which of the prompt's tokens that keeps.

Owns the names of the views and `Look`, a view with what its mask needs. Pure numpy. Called by `prompts`,
`inputs` and `passes`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pgpo_async.algorithms.shaping.interface import ImageMasking

View = Literal["sighted", "blind", "no_image", "masked"]
"""`sighted`: all of the prompt. `blind`: without the image tokens, all others where they were (PGPO, arXiv
2604.01840). `no_image`: without the image tokens and the markers around them, counted afresh, as if the
prompt had been text only (ToR, arXiv 2603.25077). `masked`: with cells of its images blackened (VPPO, arXiv
2510.09285; PAPO, arXiv 2507.06448)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A view, and for `masked` how the images are masked and the seed of all masks."""

    view: View = "sighted"
    masking: ImageMasking | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.view == "masked" and self.masking is None:
            raise ValueError("masking must be given for the view 'masked', got None")

    @property
    def mask(self) -> ImageMasking | None:
        """How images are masked, None in the other views."""
        return self.masking if self.view == "masked" else None

    @property
    def shows_images(self) -> bool:
        """Whether image tokens are in the row."""
        return self.view in ("sighted", "masked")

    @property
    def parts_responses(self) -> bool:
        """Whether each response has a prompt of its own, for it has a mask of its own."""
        return self.mask is not None and self.mask.per_response


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionTokens:
    """The token ids that stand for pictures: placeholders, and the markers before and after them."""

    image: int
    video: int
    start: int
    end: int

    @classmethod
    def of(cls, config: Any) -> "VisionTokens":
        """Those of a Hugging Face config."""
        return cls(
            image=int(config.image_token_id),
            video=int(config.video_token_id),
            start=int(config.vision_start_token_id),
            end=int(config.vision_end_token_id),
        )

    @property
    def placeholders(self) -> tuple[int, int]:
        """What no response may hold."""
        return self.image, self.video

    def kept(self, token_ids_P: npt.NDArray[Any], view: View) -> npt.NDArray[np.bool_]:
        """Which of a prompt's tokens the text model works on, bool [P]."""
        is_image: npt.NDArray[np.bool_] = token_ids_P == self.image
        if view in ("sighted", "masked"):
            return np.full(len(token_ids_P), True)
        if view == "blind":
            return ~is_image
        opens = (token_ids_P == self.start) & np.append(is_image[1:], False)
        closes = (token_ids_P == self.end) & np.append(False, is_image[:-1])
        kept: npt.NDArray[np.bool_] = ~(is_image | opens | closes)
        return kept
