r"""Units behind a number: what "12 cm", "12\,\mathrm{cm}^2" and "12 square centimetres" are in.

Owns the table of units and splitting one off an answer. Called by `accuracy`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What a unit measures, and how many of that dimension's base unit it is."""

    dimension: str
    size: Fraction


_LENGTHS = {
    "mm": "1/1000",
    "cm": "1/100",
    "dm": "1/10",
    "m": "1",
    "km": "1000",
    "in": "0.0254",
    "ft": "0.3048",
    "yd": "0.9144",
    "mi": "1609.344",
}
_OTHERS = {
    "mass": {"mg": "1/1000", "g": "1", "kg": "1000", "t": "1000000", "lb": "453.59237"},
    "time": {"ms": "1/1000", "s": "1", "min": "60", "h": "3600", "day": "86400", "week": "604800"},
    "volume": {"mL": "1/1000000", "ml": "1/1000000", "L": "1/1000"},
    "speed": {"m/s": "1", "km/h": "5/18", "mph": "0.44704"},
    "angle": {r"^\circ": "1"},
    "radian": {"rad": "1"},
    "celsius": {r"^\circC": "1"},
    "fahrenheit": {r"^\circF": "1"},
    "kelvin": {"K": "1"},
    "force": {"N": "1", "kN": "1000"},
    "energy": {"J": "1", "kJ": "1000"},
    "power": {"W": "1", "kW": "1000"},
    "voltage": {"V": "1"},
    "current": {"mA": "1/1000", "A": "1"},
    "resistance": {r"\Omega": "1", "ohm": "1"},
    "frequency": {"Hz": "1", "kHz": "1000"},
    "dollar": {"cents": "1/100", "dollar": "1"},
    "euro": {"euro": "1"},
}
# Words for the same; plurals and American spellings are found by `_symbol`.
_WORDS = {
    "millimetre": "mm",
    "centimetre": "cm",
    "decimetre": "dm",
    "metre": "m",
    "kilometre": "km",
    "inch": "in",
    "inches": "in",
    "foot": "ft",
    "feet": "ft",
    "yard": "yd",
    "mile": "mi",
    "milligram": "mg",
    "gram": "g",
    "kilogram": "kg",
    "tonne": "t",
    "pound": "lb",
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "minute": "min",
    "hr": "h",
    "hour": "h",
    "millilitre": "mL",
    "litre": "L",
    "newton": "N",
    "joule": "J",
    "watt": "W",
    "volt": "V",
    "amp": "A",
    "ampere": "A",
    "degree": r"^\circ",
    "radian": "rad",
    "cent": "cents",
    "mile/h": "mph",
    "milesperhour": "mph",
    "km/hr": "km/h",
    "metrespersecond": "m/s",
}


def _table() -> dict[str, Unit]:
    table = {
        symbol: Unit(dimension=dimension, size=Fraction(size))
        for dimension, sizes in _OTHERS.items()
        for symbol, size in sizes.items()
    }
    for symbol, size in _LENGTHS.items():
        table[symbol] = Unit(dimension="length", size=Fraction(size))
        table[symbol + "^2"] = Unit(dimension="area", size=Fraction(size) ** 2)
        table[symbol + "^3"] = Unit(dimension="volume", size=Fraction(size) ** 3)
    return table


_UNITS = _table()
_POWERS = (("square", "^2"), ("cubic", "^3"))
_DRESS = re.compile(r"\\(?:text|mathrm|mbox|rm|operatorname)(?![A-Za-z])|[{}\s]|\\(?=\s)")
# A value ends in a digit, a bracket or a constant, and a unit starts with a letter, a wrapper or a circle.
_WITH_UNIT = re.compile(
    r"(?P<value>.*?(?:[0-9})\]]|\\pi|\.))"
    r"(?P<unit>\s*(?:\\(?:text|mathrm|mbox|rm|operatorname)(?![A-Za-z])|\^\s*\{?\s*\\circ|\\Omega|[A-Za-z]).*)",
    re.DOTALL,
)
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_MAX_LENGTH = 40
_MAX_TEXT_LENGTH = 300


def split_unit(text: str) -> tuple[str, Unit | None]:
    """Return an unwrapped answer as value and unit; the text as it is, and None, if it ends in none.

    "5m" is five metres, as math-verify takes it; behind a value with a variable in it nothing is a unit.
    """
    start = 0 if len(text) <= _MAX_TEXT_LENGTH else len(text)
    while match := _WITH_UNIT.match(text, start):
        value, tail = text[: match.end("value")], match.group("unit")
        if len(tail) <= _MAX_LENGTH and not _VARIABLE.search(_DRESS.sub(" ", value)):
            unit = _unit(tail)
            if unit is not None:
                return value.rstrip(), unit
        start = match.end("value")
    return text, None


def _unit(tail: str) -> Unit | None:
    return _UNITS.get(_symbol(_DRESS.sub("", tail)))


def _symbol(name: str) -> str:
    name = name.removesuffix(".")
    for word, power in _POWERS:
        if name.casefold().startswith(word):
            return _symbol(name[len(word) :]) + power
    for base in (name, name[:-2] if name[-2:] in ("^2", "^3") else ""):
        if base in _UNITS:
            return name
        plain = base.casefold().replace("meter", "metre").replace("liter", "litre")
        for word in (plain, plain.removesuffix("s")):
            if word in _WORDS or (len(word) > 2 and word in _UNITS):
                return _WORDS.get(word, word) + name[len(base) :]
    return name
