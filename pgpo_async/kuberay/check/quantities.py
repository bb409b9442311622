"""Kubernetes' quantities: `500m`, `4Gi`, `1e3`."""

import math
import re
from typing import Any

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?"
)
_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0} | {
    name: base**power
    for base, names in ((1e3, ("k", "M", "G", "T", "P", "E")), (1024.0, ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")))
    for power, name in enumerate(names, start=1)
}


def quantity(value: Any) -> float | None:
    """Return a quantity as a number; None where it is none, or not a finite one."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, int | float) else _parsed(value)
    except OverflowError:  # an integer of more digits than a float holds
        return None
    return number if math.isfinite(number) else None


def _parsed(value: Any) -> float:
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return math.nan
    suffix = found["suffix"] or ""
    factor = _FACTORS[suffix] if suffix in _FACTORS else float(f"1{suffix}")  # as in 1e3
    return float(found["number"]) * factor
