"""A comparison's file to a CompareConfig, and that to the configs of its runs, or to every error at once.

An error in an override is told where the override was written, by its method: the place is the user's, the
words are those of a run's config. Called by the command line and by `compare.runner`.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from pgpo_async.config.compare import CompareConfig
from pgpo_async.config.document import Document, Written
from pgpo_async.config.dotted import spread
from pgpo_async.config.extending import read_extended
from pgpo_async.config.fields import closest
from pgpo_async.config.files import read_file
from pgpo_async.config.issues import Issue, Path, Place, field_name
from pgpo_async.config.overrides import apply_override, dotted_path, set_value
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.validation import validate, validated
from pgpo_async.contracts import ConfigError


class PlannedRun(NamedTuple):
    """One run of a comparison."""

    method: str
    seed: int
    config: RunConfig


def load_compare(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> CompareConfig:
    """Read a comparison's file, as `load_config` reads a run's; the runs themselves are not checked yet.

    `overrides` reach into `common` and into methods that the file has: `methods.pgpo.train.num_steps=5`.
    `methods.NAME={...}` adds one. Raises ConfigError with every issue.
    """
    document = read_file(FilePath(path))
    _spread_all(document)
    for number, override in enumerate(overrides, start=1):
        apply_override(document, override, number, lambda key: _path_of(key, document))
        _spread_all(document)
    compare = validated(CompareConfig, document)
    compare.remember(document.written)
    return compare


def run_configs(
    compare: CompareConfig, path: str | os.PathLike[str], output_dir: str | None = None
) -> list[PlannedRun]:
    """Return the runs, all methods of the first seed first; `path` is the comparison's file.

    A run is `base`, then `common`, then the method's overrides, then what tells the runs apart: its name
    `METHOD-seedSEED`, its seeds, and `output_dir` (the comparison's if not given). Raises ConfigError with
    the issues of all runs, each once.
    """
    base = _read_base(compare, FilePath(path))
    place = Place(source=0, label=str(path))
    issues = _Issues(compare, base)
    runs = []
    for seed in compare.seeds:
        for method in compare.methods:
            run = _Layers(compare, base, place)
            run.lay(("common",), compare.common)
            run.lay(("methods", method), compare.methods[method])
            run.own(f"{method}-seed{seed}", seed, output_dir or compare.output_dir)
            config, found = validate(RunConfig, run.document)
            issues.add(method, run, found)
            if config is not None:
                runs.append(PlannedRun(method, seed, config))
    issues.raise_any(place)
    return runs


def _read_base(compare: CompareConfig, path: FilePath) -> Document:
    written = compare.written_at(("base",))
    try:
        return read_extended(path.parent / FilePath(compare.base).expanduser())
    except ConfigError as error:
        label = written.value.label if written else str(path)
        raise ConfigError([f"{label}: base: {issue}" for issue in error.issues]) from None


class _Layers:
    """One run's document, from the base up; remembers which layer a place belongs to."""

    def __init__(self, compare: CompareConfig, base: Document, place: Place) -> None:
        self._compare = compare
        self._file = place
        self.layer_of: dict[Place, Path] = {}
        self.document = Document(
            value=copy.deepcopy(base.value), written=dict(base.written), issues=list(base.issues)
        )

    def lay(self, layer: Path, overrides: dict[str, Any]) -> None:
        nowhere = Place(source=0, column=len(layer), label=self._file.label)  # its own for each layer

        def written_at(path: Path) -> Written:
            written = self._compare.written_at((*layer, *path)) or Written(key=nowhere, value=nowhere)
            self.layer_of |= {written.key: layer, written.value: layer}
            return written

        for key, value in overrides.items():
            set_value(self.document, dotted_path(key), copy.deepcopy(value), written_at)

    def own(self, name: str, seed: int, output_dir: str) -> None:
        values = {"name": name, "seed": seed, "data.seed": seed, "output_dir": output_dir}
        num_issues = len(self.document.issues)
        written = Written(key=self._file, value=self._file)
        for key, value in values.items():
            set_value(self.document, dotted_path(key), value, lambda _: written)
        del self.document.issues[num_issues:]  # `data` is no mapping: that is told by itself


class _Issues:
    """The issues of all runs; the same one of several runs is kept once."""

    def __init__(self, compare: CompareConfig, base: Document) -> None:
        self._compare = compare
        self._of_base = {str(issue) for issue in validate(RunConfig, base)[1]}
        self._methods: dict[tuple[tuple[int, bool, int, int], str], list[str]] = {}

    def add(self, method: str, run: _Layers, issues: Sequence[Issue]) -> None:
        for issue in issues:
            layer = run.layer_of.get(issue.place, ())
            path = (*layer, *(issue.path or ()))
            line = str(Issue(place=issue.place, path=path, message=issue.message))
            order = (issue.place.source, bool(layer), issue.place.line, issue.place.column)
            methods = self._methods.setdefault((order, line), [])
            if line not in self._of_base and layer[:1] != ("methods",) and method not in methods:
                methods.append(method)

    def raise_any(self, place: Place) -> None:
        """Raise ConfigError if there are any, in the order of their places, the base's first.

        What stands in the base or in `common`, and is wrong only together with a method, names that method.
        """
        lines = []
        for ((_, above_base, *_), line), methods in sorted(self._methods.items()):
            names = ", ".join(field_name(("methods", method)) for method in methods)
            if len(methods) == len(self._compare.methods):
                names = "" if above_base else "every method"
            lines.append(f"{line} ({place.label}: with {names})" if names else line)
        if lines:
            raise ConfigError(lines)


def _spread_all(document: Document) -> None:
    spread(document, ("common",))
    for name in _methods(document):
        spread(document, ("methods", name))


def _methods(document: Document) -> list[str]:
    methods = document.value.get("methods")
    return list(methods) if isinstance(methods, dict) else []


def _path_of(key: str, document: Document) -> Path:
    """Part an override's key; a method's name may have dots. Raises ValueError for an unknown method."""
    first, _, rest = key.partition(".")
    if first != "methods" or not rest:
        return dotted_path(key)
    known = _methods(document)
    holds = [name for name in known if rest == name or rest.startswith(f"{name}.")]
    if holds:
        name = max(holds, key=len)
        inner = rest[len(name) + 1 :]
        return ("methods", name, *(dotted_path(inner) if inner else ()))
    name, _, inner = rest.partition(".")
    if not inner:
        return ("methods", name)
    meant = closest(name, known)
    hint = f"did you mean `methods.{meant}`?" if meant else f"must be one of {', '.join(known) or 'none'}"
    raise ValueError(f"methods.{name}: unknown method, {hint}")
