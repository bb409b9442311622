"""Prompt sources: deterministic random access to prompts by drawing index.

Owns the interface and the choice of a source by its config text. A resumable cursor is just the next index,
and a lost prompt is drawn again by its own. Called by the orchestration (drawing) and the evaluation.
"""

import difflib
from pathlib import Path
from typing import Literal, Protocol

from pgpo_async.config.masking import masked_text
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.builtin_source import BUILTIN_SOURCES, BuiltinSource
from pgpo_async.data.file_source import READERS, FileSource
from pgpo_async.data.image_files import ImageRules

_BUILTIN_NAMES = " or ".join(repr(name) for name in BUILTIN_SOURCES)


class PromptSource(Protocol):
    """Prompts in a drawing order. Picklable; opens its files in the process that first draws."""

    @property
    def name(self) -> str:
        """Short name for messages and metrics."""
        ...

    @property
    def num_rows(self) -> int | None:
        """Rows of one epoch; None where the source is endless."""
        ...

    def prompt(self, index: int) -> Prompt:
        """Return the prompt at a drawing index (epoch = index // num_rows), the same in every process.

        Raises PromptError if that row cannot be used, with a reason of `rows.prompt_from_row`; other indices
        are not affected. Raises ValueError for a negative index.
        """
        ...


def train_source(config: RunConfig) -> PromptSource:
    """Return the source of the prompts to train on. Raises as `open_source`."""
    rules = ImageRules.of(config.data, config.model)
    return open_source(config.data.source, split="train", seed=config.data.seed, rules=rules)


def held_out_source(config: RunConfig) -> PromptSource:
    """Return the source of the held-out prompts. Raises as `open_source`."""
    rules = ImageRules.of(config.data, config.model)
    return open_source(config.evaluation.source, split="heldout", seed=config.data.seed, rules=rules)


def open_source(
    spec: str, *, split: Literal["train", "heldout"], seed: int, rules: ImageRules | None = None
) -> PromptSource:
    """Return the source that `data.source` or `evaluation.source` names.

    `split` chooses among the built-in data only: a file is its own split. `seed` sets the drawing order,
    `rules` what a file's images may be.
    Raises ConfigError if there is no such source, or its file is missing, empty, or lacks a column.
    """
    if seed < 0:
        raise ConfigError(f"the data seed must be at least 0, got {seed}")
    if spec.startswith("builtin:"):
        if spec not in BUILTIN_SOURCES:
            raise ConfigError(f"a built-in source must be {_BUILTIN_NAMES}, got {spec!r}")
        return BuiltinSource(name=spec, split=split, seed=seed)
    path = Path(spec).expanduser().absolute()  # a Ray actor may work in another folder
    _check_path(path, spec)
    source = FileSource(path, seed=seed, rules=rules)
    source.open()
    return source


def _check_path(path: Path, spec: str) -> None:
    suffixes = sorted(READERS)
    if path.suffix.lower() not in READERS:
        near = difflib.get_close_matches(spec, BUILTIN_SOURCES, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"a prompt source must be {_BUILTIN_NAMES} or a file ending in one of {suffixes}, "
            f"got {masked_text(spec)!r}{hint}"
        )
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"a prompt source must be an existing file, got {masked_text(spec)!r}{hint}")
