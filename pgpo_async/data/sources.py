"""Prompt sources: deterministic random access to prompts by drawing index.

Owns the interface and the choice of a source by its config text. A resumable cursor is just the next index,
and a lost prompt is drawn again by its own. That is also why no row is passed over: one that a filter refuses
keeps its index, and is counted with its reason like any that cannot be used, so that which prompt an index
means depends on no other row. Called by the orchestration (drawing) and the evaluation.
"""

import dataclasses
import difflib
import functools
from pathlib import Path
from typing import Literal, Protocol

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.config.masking import masked_text
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.builtin_source import BUILTIN_SOURCES, BuiltinSource
from pgpo_async.data.files import READERS, open_files
from pgpo_async.data.hub_rows import PREFIX, HubRows, hub_name
from pgpo_async.data.image_files import ImageRules
from pgpo_async.data.mixed_source import MixedSource
from pgpo_async.data.parquet_rows import CACHE_BYTES
from pgpo_async.data.row_source import RowSource

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
    """Return the source of the prompts to train on, mixed if it has several. Raises as `open_source`."""
    sources = train_sources(config)
    if not config.data.sources:
        return sources[0]
    return MixedSource(sources, [part.weight for part in config.data.sources], seed=config.data.seed)


def train_sources(config: RunConfig, *, cache_bytes: int = CACHE_BYTES) -> list[PromptSource]:
    """Return each source of the prompts to train on; together they hold `cache_bytes` of Parquet files.

    Raises as `open_source`, with all sources' errors.
    """
    data = config.data
    rules = ImageRules.of(data, config.model)
    if not data.sources:
        source = open_source(
            data.source,
            split="train",
            seed=data.seed,
            rules=rules,
            columns=data.columns,
            cache_bytes=cache_bytes,
        )
        return [source]
    sources: list[PromptSource] = []
    issues: list[str] = []
    for number, part in enumerate(data.sources):
        try:
            source = open_source(
                part.source,
                split="train",
                seed=data.seed,
                rules=rules,
                columns=part.columns or data.columns,
                cache_bytes=cache_bytes // len(data.sources),
            )
            sources.append(source)
        except ConfigError as error:
            issues += [f"data.sources[{number}].source: {issue}" for issue in error.issues]
    if issues:
        raise ConfigError(issues)
    return sources


def held_out_source(config: RunConfig) -> PromptSource:
    """Return the source of the held-out prompts. Raises as `open_source`."""
    data = config.data
    rules = dataclasses.replace(ImageRules.of(data, config.model), require_image=False)
    return open_source(
        config.evaluation.source,
        split="heldout",
        seed=data.seed,
        rules=rules,
        columns=config.evaluation.columns or data.columns,
    )


def open_source(
    spec: str,
    *,
    split: Literal["train", "heldout"],
    seed: int,
    rules: ImageRules | None = None,
    columns: ColumnsConfig | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> PromptSource:
    """Return the source that `data.source` or `evaluation.source` names.

    `split` chooses among the built-in data, and the Hub's split for training where none is named; a file is
    its own split. `seed` sets the drawing order, `rules` what images may be, `columns` what the columns are
    called, and `cache_bytes` how much of Parquet files is held.
    Raises ConfigError if there is no such source, or it is missing, empty, or lacks a column.
    """
    if seed < 0:
        raise ConfigError(f"the data seed must be at least 0, got {seed}")
    columns = columns or ColumnsConfig()
    if spec.startswith("builtin:"):
        if spec not in BUILTIN_SOURCES:
            raise ConfigError(f"a built-in source must be {_BUILTIN_NAMES}, got {spec!r}")
        return BuiltinSource(name=spec, split=split, seed=seed)
    if spec.startswith(PREFIX):
        name = hub_name(spec, "train" if split == "train" else None)
        source = RowSource(
            f"{PREFIX}{name}",
            functools.partial(HubRows, name, columns=columns),
            seed=seed,
            rules=rules,
        )
    else:
        path = Path(spec).expanduser().absolute()  # a Ray actor may work in another folder
        _check_path(path, spec)
        opener = functools.partial(open_files, path, columns=columns, cache_bytes=cache_bytes)
        source = RowSource(path.name, opener, seed=seed, rules=rules)
    source.open()
    return source


def _check_path(path: Path, spec: str) -> None:
    if path.is_dir():
        return
    suffixes = sorted(READERS)
    if path.suffix.lower() not in READERS:
        near = difflib.get_close_matches(spec, BUILTIN_SOURCES, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"a prompt source must be {_BUILTIN_NAMES}, a folder, {PREFIX}NAME[:SUBSET][@SPLIT] or a file "
            f"ending in one of {suffixes}, got {masked_text(spec)!r}{hint}"
        )
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"a prompt source must be an existing file, got {masked_text(spec)!r}{hint}")
