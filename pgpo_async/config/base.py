"""The base of every config section: unknown keys refused, no silent conversion, frozen."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from pgpo_async.config.problem import Problem


class Section(BaseModel):
    """A config section. Strict: a string is not a number, a number is not a switch, no number is infinite."""

    # Infinity is a valid PositiveFloat: as a timeout it would let something wait for ever (DESIGN 5.7).
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise pydantic's ValidationError with all problems, if there are any."""
        found = [_line_error(problem) for problem in problems]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)


def _line_error(problem: Problem) -> InitErrorDetails:
    context = {"message": problem.message, "fields": problem.fields}
    return InitErrorDetails(
        type=PydanticCustomError("cross_field", "{message}", context),
        loc=problem.fields[0],
        input=None,
    )
