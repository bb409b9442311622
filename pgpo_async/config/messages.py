"""Pydantic's errors in the words of this project: "must be ..., got ...", and how to write it instead.

Called by `validation` for each of pydantic's errors. Knows no file and no place.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from pgpo_async.config.base import Section
from pgpo_async.config.fields import closest, unknown_key
from pgpo_async.config.masking import masked_text
from pgpo_async.config.yaml_core import FLOAT, INT, plain_tag, scalar_value

_KINDS = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NULL_HINTS = {"string_type": ", write '' for empty text", "dict_type": ", write {} for none"}
_SWITCH_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def message_for(error: ErrorDetails, values: Any, schema: type[Section]) -> str:
    """Return what is wrong with one field; `values` is the whole raw config, `schema` what it should be."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(error["loc"], values, schema)
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, got {describe(value)}{_hint(kind, value)}"
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"must be {word} {_number(context[bound])}, got {_literal(value)}"
    special = _SPECIAL.get(kind)
    return special(value, context) if special else f"{error['msg']}, got {describe(value)}"


def describe(value: Any) -> str:
    """Name a value and its kind: `'3' (a string)`, `3 (an integer)`, `nothing`, `a list`."""
    match value:
        case None:
            return "nothing (null)"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case bool():
            return f"{_literal(value)} (a switch)"
        case str():
            return f"{_literal(value)} (a string)"
        case int():
            return f"{value} (an integer)"
        case _:
            return f"{_literal(value)} (a number with a point)"


def _literal(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return repr(masked_text(value) if isinstance(value, str) else value)


def _number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _hint(kind: str, value: Any) -> str:
    if value is None:
        return _NULL_HINTS.get(kind, ", leave the key out for its default")
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f", write {int(value)}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ", put it in quotes"
    if not isinstance(value, str):
        return ""
    if kind == "bool_type":
        meant = _SWITCH_WORDS.get(value.lower(), value.lower())
        return f", write {meant}" if meant in ("true", "false") else ""
    return _number_hint(kind, value)


def _number_hint(kind: str, text: str) -> str:
    if kind not in ("int_type", "float_type"):
        return ""
    digits = text.replace("_", "")
    tag = plain_tag(digits)
    if tag == INT or (tag == FLOAT and kind == "float_type" and math.isfinite(_as_float(digits))):
        return f", write {digits}" + ("" if "_" in text else " without quotes")
    return ""


def _as_float(text: str) -> float:
    value = scalar_value(FLOAT, text)
    assert isinstance(value, float)
    return value


def _one_of(value: Any, context: Mapping[str, Any]) -> str:
    expected = context["expected"].replace(" or ", ", ")
    words = re.findall(r"'([^']*)'", expected)
    meant = closest(value, words) if isinstance(value, str) else None
    shown = _literal(value) if isinstance(value, str | int) else describe(value)
    choice = f"one of {expected}" if "," in expected else expected
    return f"must be {choice}, got {shown}" + (f", did you mean {meant!r}?" if meant else "")


_SPECIAL: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "literal_error": _one_of,
    "finite_number": lambda value, _: f"must be a finite number, got {_literal(value)}",
    "missing": lambda value, _: f"is missing, got {describe(value)} of {len(value)}",
    "too_short": lambda _, ctx: f"must have {ctx['min_length']} items, got {ctx['actual_length']}",
    "too_long": lambda _, ctx: f"must have {ctx['max_length']} items, got {ctx['actual_length']}",
    "cross_field": lambda _, ctx: str(ctx["message"]),
}
