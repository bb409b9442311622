"""A document against a schema: a config, or every issue of it at once.

Owns the order of things: text, single fields, then combinations of fields; and which of a user's words an
issue is told at. Knows no file and no command line. Called by the loaders, with the schema.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pgpo_async.config.base import Section
from pgpo_async.config.document import Document
from pgpo_async.config.issues import Issue, Path, Place
from pgpo_async.config.messages import message_for
from pgpo_async.contracts import ConfigError

S = TypeVar("S", bound=Section)


def validated(schema: type[S], document: Document) -> S:
    """Return the config. Raises ConfigError with every issue, in the order of their places."""
    config, issues = validate(schema, document)
    if config is None or issues:
        raise ConfigError([str(issue) for issue in sorted(issues, key=lambda issue: issue.place)])
    return config


def validate(schema: type[S], document: Document) -> tuple[S | None, list[Issue]]:
    """Return the config and all issues: of the text, of single fields, of fields together."""
    config, wrong, together = _single_fields_first(schema, document.value)
    issues = list(document.issues)
    told = {(issue.place, issue.path) for issue in issues}
    for error in wrong:
        issue = _issue(schema, document, error)
        if (issue.place, issue.path) not in told:
            issues.append(issue)
    doubtful = [issue.path for issue in issues if issue.path is not None]
    for error in together:
        if not _touch(doubtful, error["ctx"]["fields"]):
            issues.append(_issue(schema, document, error))
    return config, issues


def _issue(schema: type[Section], document: Document, error: ErrorDetails) -> Issue:
    message = message_for(error, document.value, schema)
    return Issue(place=_place(document, error), path=error["loc"], message=message)


def _single_fields_first(
    schema: type[S], values: Any
) -> tuple[S | None, list[ErrorDetails], list[ErrorDetails]]:
    """Return the config, what is wrong with single fields, and with fields together.

    Pydantic tells nothing of the latter while there is any of the former, so it is asked again without them.
    Every field of a schema has a default, or this would not end.
    """
    wrong: list[ErrorDetails] = []
    while True:
        try:
            return schema.model_validate(values), wrong, []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        single = [found for found in errors if found["type"] != "cross_field"]
        if not single:
            return None, wrong, errors
        wrong = wrong or single
        for found in single:
            values = _without(values, found["loc"])


def _without(values: Any, path: Path) -> Any:
    """Return a copy without the value at `path`; a list goes as a whole."""
    if not isinstance(values, dict) or path[0] not in values:
        return values
    rest = {key: value for key, value in values.items() if key != path[0]}
    if len(path) > 1 and isinstance(values[path[0]], dict):
        rest[path[0]] = _without(values[path[0]], path[1:])
    return rest


def _touch(paths: Sequence[Path], fields: Sequence[Path]) -> bool:
    """Whether a field is, holds, or is held by a value that cannot be trusted."""
    return any(field[: len(path)] == path[: len(field)] for path in paths for field in fields)


def _place(document: Document, error: ErrorDetails) -> Place:
    """Where the user wrote it: one of the fields concerned, or else what holds the first of them."""
    path = error["loc"]
    for field in error.get("ctx", {}).get("fields", ()):
        if field in document.written:
            return document.written[field].value
    while path not in document.written:
        path = path[:-1]
    written = document.written[path]
    return written.key if error["type"] == "extra_forbidden" else written.value
