"""What a JSON schema refuses, as findings: the field, what it must be, what it is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pgpo_async.config.fields import closest
from pgpo_async.config.issues import Path
from pgpo_async.config.messages import describe
from pgpo_async.kuberay.check.manifest import Finding, Manifest

if TYPE_CHECKING:
    from jsonschema import ValidationError

MOST_NAMES = 12
"""Fields listed where none is near enough to what was written."""
KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "minLength": "at least {} characters long",
    "maxLength": "at most {} characters long",
    "minItems": "a list of at least {}",
    "maxItems": "a list of at most {}",
}


def findings_of(manifest: Manifest, errors: "Iterable[ValidationError]") -> Iterator[Finding]:
    """Return a finding for each field that a schema refuses."""
    told = dict.fromkeys(pair for error in errors for pair in _pairs(error))
    for path, message in told:
        yield manifest.error(path, message)


def _pairs(error: "ValidationError") -> Iterator[tuple[Path, str]]:
    path, value = tuple(error.absolute_path), error.instance
    rule, wanted = str(error.validator), error.validator_value
    if rule == "additionalProperties" and isinstance(value, Mapping):
        known = sorted(error.schema.get("properties", {}))
        for key in value:
            if key not in known:
                yield (*path, str(key)), _unknown(str(key), known)
    elif rule == "required":
        for key in wanted:
            if key not in value:
                yield (*path, str(key)), "is missing"
    else:
        yield path, _message(error, rule, wanted, value)


def _message(error: "ValidationError", rule: str, wanted: Any, value: Any) -> str:
    if rule in ("anyOf", "oneOf"):
        return _choice_message(error, value)
    if rule == "type":
        return _type_message(_listed(wanted), value)
    if rule == "enum":
        meant = closest(value, [str(word) for word in wanted]) if isinstance(value, str) else None
        hint = f", did you mean {meant}?" if meant else ""
        return f"must be one of {', '.join(map(str, wanted))}, got {describe(value)}{hint}"
    if rule == "pattern":
        return f"must be {error.schema.get('x-means', f'text like {wanted}')}, got {describe(value)}"
    if rule in BOUNDS:
        return f"must be {BOUNDS[rule].format(wanted)}, got {describe(value)}"
    return f"breaks the schema's rule `{rule}`, got {describe(value)}"


def _type_message(names: list[str], value: Any) -> str:
    kinds = [KINDS[name] for name in names if name in KINDS]
    quotes = ", put it in quotes" if kinds == ["text"] and isinstance(value, bool | int | float) else ""
    return f"must be {' or '.join(kinds)}, got {describe(value)}{quotes}"


def _choice_message(error: "ValidationError", value: Any) -> str:
    """Of several ways to write a value: their types, where it has none of them."""
    ways = error.context or ()
    names = [name for way in ways if way.validator == "type" for name in _listed(way.validator_value)]
    if names:
        return _type_message(list(dict.fromkeys(names)), value)
    return f"fits none of the ways to write it, got {describe(value)}"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(name) for name in value]


def _unknown(key: str, known: list[str]) -> str:
    if meant := closest(key, known):
        return f"unknown field, did you mean `{meant}`?"
    if 0 < len(known) <= MOST_NAMES:
        return "unknown field, must be one of " + ", ".join(f"`{name}`" for name in known)
    return "unknown field"
