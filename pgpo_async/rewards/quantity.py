r"""Plain numbers as exact fractions: 3.0, 1,234, -1/2, \frac{1}{2}, 1 1/2, 1e-3, 6\times10^{2}, 50%.

Owns the reading of numbers that need no computer algebra, and when two are the same. Called by `accuracy`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 60
_UNSIGNED = r"(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_DECIMAL = rf"[+-]?\s*{_UNSIGNED}"
# The exponent is short, because an exact 1e999999999 would fill the memory.
_NUMBER = re.compile(
    rf"({_DECIMAL})(?:[eE]([+-]?[0-9]{{1,2}})|\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*"
    r"(?:\{\s*([+-]?[0-9]{1,2})\s*\}|([+-]?[0-9])))?"
)
_RATIO = re.compile(rf"({_DECIMAL})\s*/\s*({_DECIMAL})")
# A sign and a whole number may stand before the fraction: -1\frac{1}{2} and -1 1/2 are -1.5.
_FRAC = re.compile(
    rf"([+-]?)\s*([0-9]*)\s*\\frac\s*(?:\{{\s*({_DECIMAL})\s*\}}|([0-9]))\s*(?:\{{\s*({_DECIMAL})\s*\}}|([0-9]))"
)
_MIXED = re.compile(r"([+-]?)\s*([0-9]+)\s+([0-9]+)()\s*/\s*([0-9]+)()")
_REPEATING = re.compile(r"([+-]?)\s*([0-9]*)\.([0-9]*)\\overline\s*\{\s*([0-9]+)\s*\}")
_PERCENT = re.compile(r"\s*(?:%|percent|\\text\s*\{\s*percent\s*\})$", re.IGNORECASE)
_RELATIVE_TOLERANCE = Fraction(1, 10**6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number and whether it was written as a percentage (`value` is then the number before the sign)."""

    value: Fraction
    percent: bool

    def equals(self, other: "Quantity", *, tolerance: float = 0.0) -> bool:
        """Whether the other is this number, to a share `tolerance` of this one's size.

        50% is 0.5, which is what it means, and 50, which is how it is answered where a question asks "what
        percentage": math-verify takes both too. A plain number of at most 1 in size is never meant as that
        many percent: 0.5% is not 0.5. Without a tolerance it is exact, but for a fraction that no decimal
        can write: 1/3 equals 0.3333333 (six digits right).
        """
        if self.percent == other.percent:
            return _same(self.value, other.value, tolerance)
        percentage, plain = (self.value, other.value) if self.percent else (other.value, self.value)
        if _same(percentage / 100, plain, tolerance):
            return True
        return abs(plain) > 1 and _same(percentage, plain, tolerance)


def read_quantity(text: str) -> Quantity | None:
    """Return the number that an unwrapped answer is, None if it is anything more than one number."""
    number = _PERCENT.sub("", text.strip())
    if len(number) > MAX_DIGITS:
        return None
    value = _read(number)
    return None if value is None else Quantity(value=value, percent=number != text.strip())


def _same(wanted: Fraction, number: Fraction, tolerance: float) -> bool:
    if wanted == number:
        return True
    allowed = Fraction(tolerance)
    if not (_is_decimal(wanted) and _is_decimal(number)):
        allowed = max(allowed, _RELATIVE_TOLERANCE)
    return abs(wanted - number) <= allowed * abs(wanted)


def _read(text: str) -> Fraction | None:
    if match := _NUMBER.fullmatch(text):
        exponent = match.group(2) or match.group(3) or match.group(4) or 0
        return _decimal(match.group(1)) * Fraction(10) ** int(exponent)
    if match := _RATIO.fullmatch(text):
        return _divided(_decimal(match.group(1)), _decimal(match.group(2)))
    if match := (_FRAC.fullmatch(text) or _MIXED.fullmatch(text)):
        sign, whole, above, digit_above, below, digit_below = match.groups()
        part = _divided(_decimal(above or digit_above), _decimal(below or digit_below))
        if part is None or (whole and part < 0):
            return None
        return _signed(sign, int(whole or 0) + part)
    if match := _REPEATING.fullmatch(text):
        sign, whole, start, period = match.groups()
        repeated = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(start))
        return _signed(sign, Fraction(f"{whole or 0}.{start or 0}") + repeated)
    return None


def _divided(numerator: Fraction, denominator: Fraction) -> Fraction | None:
    return None if denominator == 0 else numerator / denominator


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _decimal(text: str) -> Fraction:
    digits = "".join(text.replace(",", "").split())
    return Fraction(digits.removesuffix("."))


def _is_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
