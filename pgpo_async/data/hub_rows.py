"""Rows of a data set of the Hugging Face Hub, read through the package `datasets`, an optional extra.

Owns the name `hub:NAME[@SPLIT]` and the reading. The package downloads once, then answers from its cache,
offline too; no code of the data set's is run. Opened in the process that draws.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.config.masking import masked_text
from pgpo_async.contracts import ConfigError
from pgpo_async.data.columns import ALL_BLOCKS, check_columns, names, renamed

PREFIX = "hub:"


def split_of(spec: str, default: str | None) -> tuple[str, str]:
    """Part `hub:NAME[@SPLIT]` into name and split. Raises ConfigError if either is missing."""
    name, at, split = spec.removeprefix(PREFIX).partition("@")
    if not name or (at and not split):
        raise ConfigError(f"a Hub source must be {PREFIX}NAME or {PREFIX}NAME@SPLIT, got {spec!r}")
    if not split and default is None:
        raise ConfigError(f"held-out prompts must name their split, {PREFIX}{name}@SPLIT, got {spec!r}")
    return name, split or str(default)


class HubRows:
    """Random access by row number; images stay as they are stored, undecoded."""

    window = ALL_BLOCKS

    def __init__(self, name: str, split: str, *, columns: ColumnsConfig) -> None:
        """Load it. Raises ConfigError if it cannot be loaded, is empty, or lacks a column."""
        self._name = f"{name}@{split}"
        data = _loaded(name, split)
        check_columns(f"{PREFIX}{self._name}", data.column_names, columns)
        if not len(data):
            raise ConfigError(f"{PREFIX}{self._name} must hold at least one row, got none")
        self.block_sizes: tuple[int, ...] = (len(data),)
        files = data.cache_files
        self.folder = Path(files[0]["filename"]).parent if files else Path.cwd()
        self._columns = columns
        self._data = data.select_columns(names(columns)).with_format("arrow")

    def row(self, number: int) -> Mapping[str, Any]:
        """Return the three columns of a row; see `RowReader`."""
        rows: list[dict[str, Any]] = self._data[number : number + 1].to_pylist()
        return renamed(rows[0], self._columns)

    def row_name(self, number: int) -> str:
        """Return the data set, the split and the row's number."""
        return f"{self._name}/{number}"


def _loaded(name: str, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{PREFIX}{name}@{split} needs the package 'datasets': install it, or download the data set's "
            "Parquet files and name their folder"
        ) from error
    try:
        return datasets.load_dataset(name, split=split)
    except Exception as error:  # of many kinds, of the network, the cache, the split's name
        text = masked_text(" ".join(str(error).split()))
        raise ConfigError(
            f"{PREFIX}{name}@{split} must be a data set that can be loaded: {type(error).__name__}: {text}"
        ) from error
