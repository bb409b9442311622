"""Config of the shaper: which one, and its own parameters by name and range.

Owns what a config may say about a shaper; the maths is `pgpo_async.algorithms.shaping`, whose
`make_shaper(name, **shaper.parameters())` takes exactly what `ShaperConfig.parameters` returns.

A new shaper adds a `ShaperParams` section here and its line in `SHAPER_PARAMS`. One of the user's own has no
section: its class checks its parameters when it is made.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticKnownError

from pgpo_async.config.base import Section


class ShaperParams(Section):
    """The parameters of one shaper."""


class NoParams(ShaperParams):
    """`none`: every weight is 1."""


class PgpoParams(ShaperParams):
    """`pgpo` (arXiv 2604.01840 eq. 4 to 8, ALGORITHMS section 2)."""

    tau: float = Field(default=0.4, ge=0.0, le=1.0)
    """Importance below it is suppressed, above it boosted; 1 only suppresses, 0 only boosts."""
    beta: NonNegativeFloat = 2.0
    """Boost of the most dependent token: its base weight is 1 + beta."""
    eps: PositiveFloat = 1e-8
    """Added to the denominators."""
    threshold_mode: Literal["absolute", "quantile"] = "absolute"
    """Whether tau is an importance, or the share of a response's tokens that lies below the threshold."""
    low_weight_floor: float = Field(default=0.0, ge=0.0, le=1.0)
    """Smallest base weight of a suppressed token."""
    mass_normalization: bool = True
    """Whether a response's weights are scaled to sum to its token count (DESIGN 5.3)."""
    min_spread: NonNegativeFloat = 1e-3
    """A response whose log-dependency spreads less gets weights of 1: its spread is rounding noise."""
    max_weight: float | None = Field(default=None, ge=1.0)
    """Cap of one token's weight, the excess going to the others; null for none."""


class VppoParams(ShaperParams):
    """`vppo` (arXiv 2510.09285, ALGORITHMS section 5)."""

    top_fraction: float = Field(default=0.4, gt=0.0, le=1.0)
    """Share of a response's tokens, the most dependent, that carry gradient."""
    floor: float = Field(default=0.9, ge=0.0, le=1.0)
    """Factor on the advantage of the batch's least dependent response; their mean is 1."""
    entropy_penalty: NonNegativeFloat = 0.06
    """Coefficient of mean(-lp) in the loss."""
    mask_probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Of a cell of the image to be black."""
    mask_cell_px: PositiveInt = 14
    """Side of a cell, in pixels of the resized image."""


class PapoParams(ShaperParams):
    """`papo` (arXiv 2507.06448, ALGORITHMS section 5); for GRPO at 7B the paper has 0.02, 0.05, 0.05."""

    gamma: NonNegativeFloat = 0.01
    """Coefficient of the divergence from the masked image's policy, which the loss drives up."""
    eta_masked: NonNegativeFloat = 0.03
    """Coefficient of the masked pass's entropy in the loss."""
    eta: NonNegativeFloat = 0.03
    """Coefficient of the sighted pass's entropy in the loss."""
    mask_probability: float = Field(default=0.6, ge=0.0, le=1.0)
    """Of a cell of the image to be black."""
    mask_cell_px: PositiveInt = 14
    """Side of a cell, in pixels of the image's file."""


class TorParams(ShaperParams):
    """`tor` (arXiv 2603.25077, ALGORITHMS section 5)."""

    top_fraction: float = Field(default=0.3, gt=0.0, le=1.0)
    """Share of the batch's tokens that learn by their entropy, and at most as many by the image's effect."""
    perception_weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Weight of the latter; of the former it is 1."""


class PepoParams(ShaperParams):
    """`pepo` (arXiv 2603.22847, ALGORITHMS section 5)."""

    alpha: float = Field(default=0.05, ge=0.0, le=1.0)
    """How much a token's rank in similarity and entropy moves its similarity."""
    temperature: PositiveFloat = 1.8
    """Of the softmax over a response."""


SHAPER_PARAMS: Mapping[str, type[ShaperParams]] = {
    "pgpo": PgpoParams,
    "none": NoParams,
    "vppo": VppoParams,
    "papo": PapoParams,
    "tor": TorParams,
    "pepo": PepoParams,
}
CUSTOM_FORMS = ("module:Class", "path/to/file.py:Class")
"""How a shaper of the user's own is named."""


def _known_name(name: Any) -> Any:
    """Let a shaper's name pass; what else it could be is told as for a choice, with the nearest."""
    place, _, class_name = name.rpartition(":") if isinstance(name, str) else ("", "", "")
    if (isinstance(name, str) and name in SHAPER_PARAMS) or (place and class_name.isidentifier()):
        return name
    expected = ", ".join(repr(known) for known in (*SHAPER_PARAMS, *CUSTOM_FORMS))
    raise PydanticKnownError("literal_error", {"expected": expected})


ShaperName = Annotated[str, BeforeValidator(_known_name)]
DEFAULT_SHAPER: ShaperName = "pgpo"


class ShaperConfig(Section):
    """How a response's advantage is spread over its tokens."""

    name: ShaperName = DEFAULT_SHAPER
    """`pgpo`, `none` for plain GRPO / DAPO, `vppo`, `papo`, `tor`, `pepo`, or one's own `module:Class`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The shaper's own parameters, as far as they differ from its defaults."""

    @field_validator("params")
    @classmethod
    def _params_are_the_shapers(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        # Where the name itself is wrong it is missing from info.data, and there is nothing to check against.
        # Neither is there for a shaper of the user's own, which is not imported here.
        section = SHAPER_PARAMS.get(info.data.get("name", ""))
        return params if section is None else section.model_validate(params).model_dump(exclude_unset=True)

    def parameters(self) -> dict[str, Any]:
        """Return all keyword arguments for the shaper, defaults included; for one's own only those given."""
        section = SHAPER_PARAMS.get(self.name)
        return dict(self.params) if section is None else section.model_validate(self.params).model_dump()
