"""`KEY=VALUE` overrides, laid over what the file says. Called by `load`."""

from typing import Any

from pgpo_async.config.document import Document, Written, read_document
from pgpo_async.config.issues import Issue, Path, Place, field_name
from pgpo_async.config.messages import describe


def apply_override(document: Document, text: str, number: int) -> None:
    """Set one dotted key (`learner.optimizer.lr=1e-6`) in place; what is wrong goes to `document.issues`.

    The value is read as YAML: a scalar, `[a, b]` or `{a: 1}`. `number` counts overrides from 1; of two
    overrides of one key the later wins.
    """
    place = Place(source=number, label=f"override '{text}'")
    key, equals, value_text = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        message = "must be KEY=VALUE with a dotted key, for instance train.num_steps=10"
        document.issues.append(Issue(place=place, path=None, message=message))
        return
    value = read_document(value_text, lambda *_: place, path)
    document.issues.extend(value.issues)
    if not value.issues and (obstacle := _set(document, path, value.value, place)):
        document.issues.append(Issue(place=place, path=path, message=obstacle))


def _set(document: Document, path: Path, value: Any, place: Place) -> str | None:
    """Set a value, making the mappings on the way; returns what stands in the way, if anything does."""
    inside = document.value
    for depth, key in enumerate(path[:-1], start=1):
        if key not in inside:
            inside[key] = {}
            document.written[path[:depth]] = Written(key=place, value=place)
        inside = inside[key]
        if not isinstance(inside, dict):
            return f"cannot be set, {field_name(path[:depth])} must be a mapping, got {describe(inside)}"
    inside[path[-1]] = value
    for old in [old for old in document.written if old[: len(path)] == path]:
        del document.written[old]
    document.written[path] = Written(key=place, value=place)
    return None
