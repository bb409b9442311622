"""A config file to a document, or to one line that says why there is none. Called by the loaders."""

import difflib
import os
from pathlib import Path as FilePath

from pgpo_async.config.document import Document, Written, read_document
from pgpo_async.config.issues import Issue, Place
from pgpo_async.config.messages import describe
from pgpo_async.contracts import ConfigError


def read_file(path: FilePath) -> Document:
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
        raise ConfigError(f"{path}: no such file{similar_file(path)}") from None
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


def similar_file(path: FilePath) -> str:
    """Say which file beside it was meant, as the end of a message; empty where none is near."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f", did you mean {path.parent / close[0]}?" if close else ""
