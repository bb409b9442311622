"""Rows of a data set of the Hugging Face Hub, read through the package `datasets`, an optional extra.

Owns the name `hub:NAME[:SUBSET][@SPLIT]` and the reading. The package downloads once, then answers from its
cache, offline too; no code of the data set's is run. Opened in the process that draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.config.masking import masked_text
from pgpo_async.contracts import ConfigError
from pgpo_async.data.columns import ALL_BLOCKS, check_columns, names, renamed

PREFIX = "hub:"


@dataclass(frozen=True, kw_only=True, slots=True)
class HubName:
    """A split of a data set of the Hub; `subset` is its configuration where it has several."""

    name: str
    subset: str | None
    split: str

    def __str__(self) -> str:
        subset = f":{self.subset}" if self.subset else ""
        return f"{self.name}{subset}@{self.split}"


def hub_name(spec: str, split: str | None, *, subset: str | None = None) -> HubName:
    """Read `hub:NAME[:SUBSET][@SPLIT]`; `split` and `subset` stand for what it leaves out.

    Raises ConfigError if a part is empty, or there is no split.
    """
    whole, at, stated = spec.removeprefix(PREFIX).partition("@")
    name, colon, part = whole.partition(":")
    if not name or (at and not stated) or (colon and not part):
        raise ConfigError(f"a Hub source must be {PREFIX}NAME[:SUBSET][@SPLIT], got {spec!r}")
    if not stated and split is None:
        raise ConfigError(f"held-out prompts must name their split, {PREFIX}{whole}@SPLIT, got {spec!r}")
    return HubName(name=name, subset=part or subset, split=stated or str(split))


class HubRows:
    """Random access by row number; images stay as they are stored, undecoded."""

    window = ALL_BLOCKS

    def __init__(self, name: HubName, *, columns: ColumnsConfig) -> None:
        """Load it. Raises ConfigError if it cannot be loaded, is empty, or lacks a column."""
        self._name = name
        data = load_hub(name)
        check_columns(f"{PREFIX}{self._name}", data.column_names, columns)
        if not len(data):
            raise ConfigError(f"{PREFIX}{self._name} must hold at least one row, got none")
        self.block_sizes: tuple[int, ...] = (len(data),)
        self.folder = cache_folder(data)
        self._columns = columns
        stored = data.with_format("arrow")[:1].schema
        self.columns: dict[str, str] = {field.name: str(field.type) for field in stored}
        self._data = data.select_columns(names(columns)).with_format("arrow")

    def row(self, number: int) -> Mapping[str, Any]:
        """Return the three columns of a row; see `RowReader`."""
        rows: list[dict[str, Any]] = self._data[number : number + 1].to_pylist()
        return renamed(rows[0], self._columns)

    def row_name(self, number: int) -> str:
        """Return the data set, the split and the row's number."""
        return f"{self._name}/{number}"


def load_hub(name: HubName) -> Any:
    """Return the package's data set. Raises ConfigError if it is not installed, or cannot load it."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{PREFIX}{name} needs the package 'datasets': install it, or download the data set's "
            "Parquet files and name their folder"
        ) from error
    try:
        subset = (name.subset,) if name.subset else ()
        return datasets.load_dataset(name.name, *subset, split=name.split)
    except Exception as error:  # of many kinds, of the network, the cache, the split's name
        text = masked_text(" ".join(str(error).split()))
        raise ConfigError(
            f"{PREFIX}{name} must be a data set that can be loaded: {type(error).__name__}: {text}"
        ) from error


def cache_folder(data: Any) -> Path:
    """Return where a loaded data set's files are, to which its image paths are relative."""
    files = data.cache_files
    return Path(files[0]["filename"]).parent if files else Path.cwd()
