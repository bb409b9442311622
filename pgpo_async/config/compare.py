"""`CompareConfig`: which runs to compare: methods times seeds, each an override of one run's config.

Knows a run's fields only by those that tell the runs apart. Called by `load_compare`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import Field, NonNegativeInt, PrivateAttr, field_validator, model_validator

from pgpo_async.config.base import Section
from pgpo_async.config.document import Written
from pgpo_async.config.dotted import flat
from pgpo_async.config.issues import Path
from pgpo_async.config.problem import Problem

OWNED_FIELDS = {
    "name": "method and seed make it",
    "output_dir": "set the comparison's",
    "seed": "list it in `seeds`",
    "data.seed": "list it in `seeds`",
}
"""A run's fields that no method may set, and what to do."""

_METHOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CompareConfig(Section):
    """One comparison: every method with every seed, on the same prompts."""

    name: str = "compare"
    """The comparison's folder in `output_dir`."""
    base: str = ""
    """The config of a run, relative to this file. Must be given."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(), strict=False)
    """Each method is run with each; the seed of sampling and of the prompts' order. At least one."""
    common: dict[str, Any] = Field(default_factory=dict)
    """What every run sets other than `base` says: dotted keys or nested sections, dotted once loaded."""
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What each method sets beyond that, by the method's name; the first is what others are compared with."""
    target_accuracy: float | None = Field(default=None, gt=0.0, le=1.0)
    """Training accuracy to which each method's steps and seconds are told; None: what the first ends with."""
    output_dir: str = "runs"
    """The comparison's folder is made in it."""

    _written: dict[Path, Written] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> FilePath:
        """Where the runs and the report go: `output_dir`, then the name."""
        return (FilePath(self.output_dir).expanduser() / self.name).absolute()

    def written_at(self, path: Path) -> Written | None:
        """Where a field, or a part of an override's key, was written; None if it came from no text."""
        return self._written.get(path)

    def remember(self, written: Mapping[Path, Written]) -> None:
        """Keep where the fields were written; called once, by the loader."""
        self._written.update(written)

    @field_validator("common")
    @classmethod
    def _flat(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        return flat(overrides)

    @field_validator("methods")
    @classmethod
    def _all_flat(cls, methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: flat(overrides) for name, overrides in methods.items()}

    @model_validator(mode="after")
    def _can_be_run(self) -> "CompareConfig":
        self.refuse(_problems(self))
        return self


def _problems(config: CompareConfig) -> Iterator[Problem]:
    if not config.name or "/" in config.name:
        yield _problem(f"must be text without '/', got {config.name!r}", "name")
    if not config.base.strip():
        yield _problem(f"must be the path of a run's config, got {config.base!r}", "base")
    if not config.output_dir.strip():
        yield _problem(f"must not be empty, got {config.output_dir!r}", "output_dir")
    if not config.seeds:
        yield _problem("must have at least one seed, got none", "seeds")
    for seed, count in Counter(config.seeds).items():
        if count > 1:
            yield _problem(f"must be distinct, got {seed} {_times(count)}", "seeds")
    if not config.methods:
        yield _problem("must have at least one method, got none", "methods")
    yield from _owned(config.common, "common")
    for name, overrides in config.methods.items():
        if not _METHOD_NAME.fullmatch(name):
            message = "a method's name must be letters, digits, `-`, `_` and `.`, a letter or digit first"
            yield _problem(f"{message}, got {name!r}", "methods", name)
        yield from _owned(overrides, "methods", name)


def _owned(overrides: dict[str, Any], *path: str) -> Iterator[Problem]:
    for field, what_to_do in OWNED_FIELDS.items():
        if field in overrides:
            yield _problem(f"cannot be set for a run: {what_to_do}", *path, *field.split("."))


def _problem(message: str, *path: str) -> Problem:
    return Problem(fields=(path,), message=message)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"
