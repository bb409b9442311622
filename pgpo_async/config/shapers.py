"""Config of the shaper: which one, and its own parameters by name and range.

Owns what a config may say about a shaper; the maths is `pgpo_async.algorithms.shaping`, whose
`make_shaper(name, **shaper.parameters())` takes exactly what `ShaperConfig.parameters` returns.

A new shaper adds a `ShaperParams` section here, its line in `SHAPER_PARAMS` and its name to `ShaperName`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationInfo, field_validator

from pgpo_async.config.base import Section

ShaperName = Literal["pgpo", "none"]


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


SHAPER_PARAMS: Mapping[str, type[ShaperParams]] = {"pgpo": PgpoParams, "none": NoParams}
DEFAULT_SHAPER: ShaperName = "pgpo"


class ShaperConfig(Section):
    """How a response's advantage is spread over its tokens."""

    name: ShaperName = DEFAULT_SHAPER
    """`pgpo`, or `none` for plain GRPO / DAPO."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The shaper's own parameters, as far as they differ from its defaults."""

    @field_validator("params")
    @classmethod
    def _params_are_the_shapers(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        # Where the name itself is wrong it is missing from info.data, and there is nothing to check against.
        section = SHAPER_PARAMS.get(info.data.get("name", ""))
        return params if section is None else section.model_validate(params).model_dump(exclude_unset=True)

    def parameters(self) -> dict[str, Any]:
        """Return all keyword arguments for the shaper, defaults included."""
        return SHAPER_PARAMS[self.name].model_validate(self.params).model_dump()
