"""`KEY=VALUE` overrides, laid over what the file says. Called by the loaders."""

from collections.abc import Callable
from typing import Any

from pgpo_async.config.document import Document, Written, read_document
from pgpo_async.config.issues import Issue, Path, Place, field_name
from pgpo_async.config.masking import masked_override
from pgpo_async.config.messages import describe


def dotted_path(key: str) -> Path:
    """Part a key at its dots."""
    return tuple(key.split("."))


def apply_override(
    document: Document, text: str, number: int, path_of: Callable[[str], Path] = dotted_path
) -> None:
    """Set one dotted key (`learner.optimizer.lr=1e-6`) in place; what is wrong goes to `document.issues`.

    The value is read as YAML: a scalar, `[a, b]` or `{a: 1}`. `number` counts overrides from 1; of two
    overrides of one key the later wins. `path_of` parts the key, and raises ValueError for one it refuses.
    """
    place = Place(source=number, label=f"override '{masked_override(text)}'")
    key, equals, value_text = text.partition("=")
    key = key.strip()
    if not equals or not all(dotted_path(key)):
        message = "must be KEY=VALUE with a dotted key, for instance train.num_steps=10"
        document.issues.append(Issue(place=place, path=None, message=message))
        return
    try:
        path = path_of(key)
    except ValueError as error:
        document.issues.append(Issue(place=place, path=None, message=str(error)))
        return
    value = read_document(value_text, lambda *_: place, path)
    document.issues.extend(value.issues)
    if not value.issues:
        set_value(document, path, value.value, lambda _: Written(key=place, value=place))


def set_value(document: Document, path: Path, value: Any, written_at: Callable[[Path], Written]) -> None:
    """Set a value in place, making the mappings on the way; what stands in the way is an issue.

    `written_at` tells where the value, or a part of its path, was written.
    """
    inside = document.value
    for depth, key in enumerate(path[:-1], start=1):
        if key not in inside:
            inside[key] = {}
            document.written[path[:depth]] = written_at(path[:depth])
        inside = inside[key]
        if not isinstance(inside, dict):
            message = f"cannot be set, {field_name(path[:depth])} must be a mapping, got {describe(inside)}"
            document.issues.append(Issue(place=written_at(path).key, path=path, message=message))
            return
    inside[path[-1]] = value
    for old in [old for old in document.written if old[: len(path)] == path]:
        del document.written[old]
    document.written[path] = written_at(path)
