"""Reading values of unknown shape: what is not there, or of another kind, reads as empty.

Which shape is wrong is told once, by the schemas; every other check reads past it.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def part(value: Any, *keys: str | int) -> Any:
    """Return what lies under these keys and indices; None where nothing does."""
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def mapping(value: Any, *keys: str | int) -> Mapping[str, Any]:
    """Return the mapping under these keys, or an empty one."""
    found = part(value, *keys)
    return found if isinstance(found, Mapping) else {}


def entries(value: Any, *keys: str | int) -> list[Any]:
    """Return the list under these keys, or an empty one."""
    found = part(value, *keys)
    return found if isinstance(found, list) else []


def mappings(value: Any, *keys: str | int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Iterate the mappings of the list under these keys, each with its index."""
    for index, entry in enumerate(entries(value, *keys)):
        if isinstance(entry, Mapping):
            yield index, entry


def text(value: Any, *keys: str | int) -> str:
    """Return the text under these keys, or an empty one."""
    found = part(value, *keys)
    return found if isinstance(found, str) else ""


def whole(value: Any, *keys: str | int) -> int | None:
    """Return the integer under these keys, or None."""
    found = part(value, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def texts(value: Any, *keys: str | int) -> dict[str, str]:
    """Return the pairs of the mapping under these keys whose values are text."""
    found = mapping(value, *keys)
    return {key: inner for key, inner in found.items() if isinstance(inner, str)}


def named(value: Any, *keys: str | int) -> dict[str, Mapping[str, Any]]:
    """Return the mappings of the list under these keys by their `name`; of several the first."""
    found: dict[str, Mapping[str, Any]] = {}
    for _, entry in mappings(value, *keys):
        if name := text(entry, "name"):
            found.setdefault(name, entry)
    return found
