"""`load_config`: a YAML file and `KEY=VALUE` overrides to a RunConfig, or to every error at once.

Owns the order of things: text, overrides, fields, then combinations of fields. Called by the command line, by
tests and by tools outside this code base.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pgpo_async.config.document import Document, Written, read_document
from pgpo_async.config.issues import Issue, Path, Place
from pgpo_async.config.messages import describe, message_for
from pgpo_async.config.overrides import apply_override
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file (YAML 1.2 core schema, UTF-8); what it leaves out has its default.

    `overrides` are `KEY=VALUE` with dotted keys, `learner.optimizer.lr=1e-6`; the later wins.
    Raises ConfigError with every issue, `file:line:column: field: message`, in the order of their places.
    """
    document = _read_file(FilePath(path))
    for number, override in enumerate(overrides, start=1):
        apply_override(document, override, number)
    config, issues = _validate(document)
    if config is None or issues:
        raise ConfigError([str(issue) for issue in sorted(issues, key=lambda issue: issue.place)])
    return config


def _read_file(path: FilePath) -> Document:
    """Return the file's document; its value is always a dict. Raises ConfigError where there is no text."""
    text = _file_text(path)

    def place_at(line: int, column: int) -> Place:
        return Place(source=0, line=line + 1, column=column + 1, label=f"{path}:{line + 1}:{column + 1}")

    document = read_document(text, place_at)
    document.written.setdefault((), Written(key=place_at(0, 0), value=place_at(0, 0)))
    if document.value is None:  # an empty file, or one that is not YAML
        document.value = {}
    if not isinstance(document.value, dict):
        message = f"must be a mapping of sections, got {describe(document.value)}"
        document.issues.append(Issue(place=document.written[()].value, path=(), message=message))
        document.value = {}
    return document


def _file_text(path: FilePath) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_similar_file(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: must be a YAML file, got a folder") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        byte = data[error.start]
        message = f"{path}:{line}:{column}: must be UTF-8 text, got byte 0x{byte:02x}"
        raise ConfigError(message) from None


def _similar_file(path: FilePath) -> str:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f", did you mean {path.parent / close[0]}?" if close else ""


def _validate(document: Document) -> tuple[RunConfig | None, list[Issue]]:
    """Return the config and all issues: of the text, of single fields, of fields together."""
    config, wrong, together = _single_fields_first(document.value)
    issues = list(document.issues)
    told = {(issue.place, issue.path) for issue in issues}
    for error in wrong:
        issue = _issue(document, error)
        if (issue.place, issue.path) not in told:
            issues.append(issue)
    doubtful = [issue.path for issue in issues if issue.path is not None]
    for error in together:
        if not _touch(doubtful, error["ctx"]["fields"]):
            issues.append(_issue(document, error))
    return config, issues


def _issue(document: Document, error: ErrorDetails) -> Issue:
    message = message_for(error, document.value)
    return Issue(place=_place(document, error), path=error["loc"], message=message)


def _single_fields_first(values: Any) -> tuple[RunConfig | None, list[ErrorDetails], list[ErrorDetails]]:
    """Return the config, what is wrong with single fields, and with fields together.

    Pydantic tells nothing of the latter while there is any of the former, so it is asked again without them.
    """
    wrong: list[ErrorDetails] = []
    while True:
        try:
            return RunConfig.model_validate(values), wrong, []
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
    return any(field[: len(path)] == path for path in paths for field in fields)


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
