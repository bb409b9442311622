"""`extends: OTHER.yaml` at the top of a config file: what the file itself does not say, the other one says.

Owns how two documents become one: mappings are joined key by key, any other value is replaced. The key is
gone afterwards, so that a schema does not know of it, and a run's config.yaml is whole. Called by `load` and
`load_compare`.
"""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pgpo_async.config.document import Document, Written
from pgpo_async.config.fields import EXTENDS
from pgpo_async.config.files import read_file
from pgpo_async.config.issues import Issue, Path, Place
from pgpo_async.config.messages import describe
from pgpo_async.contracts import ConfigError


def read_extended(path: FilePath) -> Document:
    """Return the file's document over that of the file it extends, which may extend another.

    Raises ConfigError where there is no text, at the place of the key that named the file.
    """
    return _read(path, ())


def _read(path: FilePath, above: tuple[FilePath, ...]) -> Document:
    document = read_file(path)
    if EXTENDS not in document.value:
        return document
    named, written = document.value.pop(EXTENDS), document.written.pop((EXTENDS,))
    if not isinstance(named, str) or not named.strip():
        message = f"must be the path of a config file, got {describe(named)}"
        document.issues.append(Issue(place=written.value, path=(EXTENDS,), message=message))
        return document
    other = path.parent / FilePath(named).expanduser()
    chain = (*above, path.resolve())
    if other.resolve() in chain:
        message = f"must not lead back to a file that extends it, got {named!r}"
        document.issues.append(Issue(place=written.value, path=(EXTENDS,), message=message))
        return document
    try:
        base = _read(other, chain)
    except ConfigError as error:
        raise ConfigError([f"{written.value.label}: {EXTENDS}: {issue}" for issue in error.issues]) from None
    return _over(document, base)


def _over(document: Document, base: Document) -> Document:
    """Lay a document over its base; the base's places sort before its own."""
    deeper = {path: _deeper(written) for path, written in base.written.items()}
    issues = [replace(issue, place=_before(issue.place)) for issue in base.issues]
    joined = Document(value=base.value, written=deeper, issues=[*issues, *document.issues])
    _join(joined, document, base.value, document.value, ())
    joined.written[()] = document.written[()]
    return joined


def _join(
    joined: Document, document: Document, below: dict[str, Any], above: dict[str, Any], path: Path
) -> None:
    for key, value in above.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            joined.written[here] = document.written[here]
            _join(joined, document, below[key], value, here)
            continue
        below[key] = value
        for old in [old for old in joined.written if old[: len(here)] == here]:
            del joined.written[old]
        joined.written |= {p: w for p, w in document.written.items() if p[: len(here)] == here}


def _deeper(written: Written) -> Written:
    return Written(key=_before(written.key), value=_before(written.value))


def _before(place: Place) -> Place:
    return replace(place, source=place.source - 1)
