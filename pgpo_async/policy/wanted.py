"""What a scoring pass is asked for, and what it gives back.

Owns the types only. Made by the scorer from its shaper, read by `passes`.
"""

from dataclasses import dataclass
from typing import Literal

from pgpo_async.algorithms.shaping.interface import ImageMasking, Shaper
from pgpo_async.contracts.rollouts import Float32Array

Passes = Literal["sighted", "sighted_blind", "exact"]
"""Short for the `Wanted` with nothing, with `blind`, with `kl`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which rows of `GroupScores` to compute besides the sighted log-probs.

    `kl` comes with `blind`, from one pass over both. `masking`, if given, asks for the masked log-probs;
    `seed` is that of its masks. `entropy_top_p` is the mass of the likeliest tokens that `entropy` is taken
    over, 1 for all.
    """

    blind: bool = False
    kl: bool = False
    no_image: bool = False
    masking: ImageMasking | None = None
    seed: int = 0
    entropy: bool = False
    entropy_top_p: float = 1.0
    similarity: bool = False

    @classmethod
    def by(cls, shaper: Shaper, *, exact: bool = False, measure: bool = False, seed: int = 0) -> "Wanted":
        """What a shaping method needs; with `exact` its dependency is the divergence itself.

        With `measure` the blind pass is run for a method that does not read it, too.

        Raises ValueError if it needs a masked image and does not say how it is masked.
        """
        masked = "masked_image" in shaper.needs
        if masked and shaper.masking is None:
            raise ValueError(f"masking must be given for {shaper.name}, which needs a masked image, got None")
        blind = measure or "blind" in shaper.needs
        return cls(
            blind=blind,
            kl=exact and blind,
            no_image="no_image" in shaper.needs,
            masking=shaper.masking if masked else None,
            seed=seed,
            entropy="entropy" in shaper.needs,
            entropy_top_p=shaper.entropy_top_p,
            similarity="hidden_similarity" in shaper.needs,
        )

    @classmethod
    def of(cls, passes: "Passes | Wanted") -> "Wanted":
        """The short forms spelled out."""
        if isinstance(passes, Wanted):
            return passes
        return cls(blind=passes != "sighted", kl=passes == "exact")

    @property
    def names(self) -> tuple[str, ...]:
        """The rows of `GroupScores` that are filled."""
        asked = {
            "sighted": True,
            "blind": self.blind or self.kl,
            "kl": self.kl,
            "masked": self.masking is not None,
            "no_image": self.no_image,
            "entropy": self.entropy,
            "similarity": self.similarity,
        }
        return tuple(name for name, wanted in asked.items() if wanted)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupScores:
    """One float32 [T] for each response of a group, in order; None where it was not asked for.

    Where the prompt has no image, all log-probs are the very `sighted`, and `kl` and `similarity` are 0.
    """

    sighted: tuple[Float32Array, ...]
    """Log-probs with the image."""
    blind: tuple[Float32Array, ...] | None = None
    """Log-probs with the image hidden."""
    kl: tuple[Float32Array, ...] | None = None
    """KL(sighted || blind) over the whole vocabulary, nats."""
    masked: tuple[Float32Array, ...] | None = None
    """Log-probs with cells of the image blackened."""
    no_image: tuple[Float32Array, ...] | None = None
    """Log-probs without the image and its positions."""
    entropy: tuple[Float32Array, ...] | None = None
    """Of the sighted distribution or its likeliest tokens, nats."""
    similarity: tuple[Float32Array, ...] | None = None
    """Mean cosine with the image tokens' hidden states, see `similarity.ImageSimilarity`."""
