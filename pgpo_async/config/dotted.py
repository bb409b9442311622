"""Overrides as a file may write them, `train.num_steps: 5` or `train: {num_steps: 5}`, to one form.

`spread` parts the dotted keys in a document, places and all, so that overrides of the command line find the
same fields; `flat` joins what was parted. An empty mapping is a value: it replaces what was there. Called by
`load_compare` and `compare`.
"""

from typing import Any

from pgpo_async.config.document import Document, Written
from pgpo_async.config.issues import Issue, Path


def flat(overrides: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys; the later wins."""
    joined: dict[str, Any] = {}
    for key, value in overrides.items():
        if isinstance(value, dict) and value:
            joined |= {f"{key}.{inner}": leaf for inner, leaf in flat(value).items()}
        else:
            joined[key] = value
    return joined


def spread(document: Document, root: Path) -> None:
    """Part the dotted keys of the mapping at `root`, in place; does nothing if there is no mapping.

    What is written twice, once in either form, is told in `document.issues`.
    """
    holder: Any = document.value
    for key in root[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) else None
    mapping = holder.get(root[-1]) if isinstance(holder, dict) else None
    if isinstance(mapping, dict):
        holder[root[-1]] = _Spread(document, root).spread(mapping)


class _Spread:
    """Pours one mapping into a new one."""

    def __init__(self, document: Document, root: Path) -> None:
        self._document = document
        self._root = root
        inner = [path for path in document.written if path[: len(root)] == root and path != root]
        self._old = {path: document.written.pop(path) for path in inner}
        self._leaves: set[Path] = set()

    def spread(self, mapping: dict[str, Any]) -> dict[str, Any]:
        target: dict[str, Any] = {}
        self._pour(mapping, self._root, target, self._root)
        return target

    def _pour(self, source: dict[str, Any], source_path: Path, target: dict[str, Any], path: Path) -> None:
        for key, value in source.items():
            here = self._written((*source_path, key))
            parts = key.split(".")
            if not all(parts):
                self._refuse(here, (*path, key), "must be a dotted key, for instance train.num_steps")
                continue
            nested = isinstance(value, dict) and bool(value)
            opened = self._open(target, path, parts if nested else parts[:-1], here)
            if opened is None:
                continue
            if nested:
                self._pour(value, (*source_path, key), opened, (*path, *parts))
            else:
                self._put(opened, (*path, *parts), value, (*source_path, key), here)

    def _open(self, target: dict[str, Any], path: Path, parts: list[str], here: Written) -> Any:
        """Go down into mappings, made on the way; None where a value stands in the way."""
        for part in parts:
            path = (*path, part)
            if path in self._leaves:
                return self._refuse_second(here, path)
            self._document.written.setdefault(path, here)
            target = target.setdefault(part, {})
        return target

    def _put(self, inside: dict[str, Any], path: Path, value: Any, source_path: Path, here: Written) -> None:
        if path[-1] in inside:
            self._refuse_second(here, path)
            return
        inside[str(path[-1])] = value
        self._leaves.add(path)
        self._document.written[path] = here
        for old, written in self._old.items():  # items of a list
            if old[: len(source_path)] == source_path and old != source_path:
                self._document.written[(*path, *old[len(source_path) :])] = written

    def _written(self, path: Path) -> Written:
        while path not in self._old and path not in self._document.written:
            path = path[:-1]
        return self._old[path] if path in self._old else self._document.written[path]

    def _refuse_second(self, here: Written, path: Path) -> None:
        first = self._document.written[path].key
        where = f", first at line {first.line} column {first.column}" if first.line else ""
        self._refuse(here, path, f"duplicate key{where}")

    def _refuse(self, here: Written, path: Path, message: str) -> None:
        self._document.issues.append(Issue(place=here.key, path=path, message=message))
