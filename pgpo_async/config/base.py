"""The base of every config section: unknown keys refused, no silent conversion, frozen."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A config section. Strict: a string is not a number, a number is not a switch, no number is infinite."""

    # Infinity is a valid PositiveFloat: as a timeout it would let something wait for ever (DESIGN 5.7).
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
