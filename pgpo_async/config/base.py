"""The base of every config section: unknown keys refused, no silent conversion, frozen."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A config section. Strict: a string is not a number, a number is not a switch."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
