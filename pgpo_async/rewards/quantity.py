r"""Plain numbers as exact fractions: 3.0, 1,234, -1/2, \frac{1}{2}, 1e-3, 50%.

Owns the reading of numbers that need no computer algebra. Called by `accuracy`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 60
_DECIMAL = r"[+-]?\s*(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
# The exponent is short, because an exact 1e999999999 would fill the memory.
_NUMBER = re.compile(rf"({_DECIMAL})(?:[eE]([+-]?[0-9]{{1,2}}))?")
_RATIO = re.compile(rf"({_DECIMAL})\s*/\s*({_DECIMAL})")
_FRAC = re.compile(rf"([+-]?)\s*\\frac\s*\{{\s*({_DECIMAL})\s*\}}\s*\{{\s*({_DECIMAL})\s*\}}")
_SHORT_FRAC = re.compile(r"([+-]?)\s*\\frac\s*([0-9])\s*([0-9])")
_RELATIVE_TOLERANCE = Fraction(1, 10**6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number and whether it was written as a percentage (`value` is then the number before the sign)."""

    value: Fraction
    percent: bool

    def equals(self, other: "Quantity") -> bool:
        """Whether both are the same number in the same unit: 50% equals neither 50 nor 0.5.

        Exact, but for a fraction that no decimal can write: 1/3 equals 0.3333333 (six digits right).
        """
        if self.percent != other.percent:
            return False
        if self.value == other.value or (_is_decimal(self.value) and _is_decimal(other.value)):
            return self.value == other.value
        return abs(self.value - other.value) <= _RELATIVE_TOLERANCE * abs(self.value)


def read_quantity(text: str) -> Quantity | None:
    """Return the number that an unwrapped answer is, None if it is anything more than one number."""
    text = text.strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    if len(text) > MAX_DIGITS:
        return None
    value = _read(text)
    return None if value is None else Quantity(value=value, percent=percent)


def _read(text: str) -> Fraction | None:
    if match := _NUMBER.fullmatch(text):
        return _decimal(match.group(1)) * Fraction(10) ** int(match.group(2) or 0)
    if match := _RATIO.fullmatch(text):
        sign, above, below = "", match.group(1), match.group(2)
    elif match := (_FRAC.fullmatch(text) or _SHORT_FRAC.fullmatch(text)):
        sign, above, below = match.groups()
    else:
        return None
    numerator, denominator = _decimal(above), _decimal(below)
    if denominator == 0:
        return None
    return -numerator / denominator if sign == "-" else numerator / denominator


def _decimal(text: str) -> Fraction:
    digits = "".join(text.replace(",", "").split())
    return Fraction(digits.removesuffix("."))


def _is_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
