"""Data files as one run of rows: a Parquet or JSONL file, or all of a folder, in name order.

Owns which files are meant, and where a row lies among them. Reading is the work of `parquet_rows` and
`jsonl_rows`. Called by `row_source` through an opener that `sources` makes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.jsonl_rows import JsonlRows
from pgpo_async.data.parquet_rows import GroupCache, ParquetRows
from pgpo_async.data.rows import RowReader

READERS: dict[str, Callable[[Path, ColumnsConfig, GroupCache], RowReader]] = {
    ".parquet": ParquetRows,
    ".jsonl": lambda path, columns, _: JsonlRows(path, columns),
}


def open_files(path: Path, *, columns: ColumnsConfig, cache_bytes: int) -> RowReader:
    """Return the rows of a file or folder. Raises ConfigError if there are none, or a file is unusable."""
    cache = GroupCache(cache_bytes)
    rows = FolderRows(path, columns, cache) if path.is_dir() else _open_file(path, columns, cache)
    if not sum(rows.block_sizes):
        raise ConfigError(f"{path} must hold at least one row, got none")
    return rows


class FolderRows:
    """The rows of a folder's files, numbered on from file to file; the cache is shared."""

    def __init__(self, folder: Path, columns: ColumnsConfig, cache: GroupCache) -> None:
        """Open all files. Raises ConfigError if there is none, or one is unusable."""
        self.folder = folder
        self._files = data_files(folder)
        if not self._files:
            raise ConfigError(
                f"a folder must hold files ending in {' or '.join(sorted(READERS))}, got none in {folder}"
                f"{_hint(folder)}"
            )
        self._readers = [_open_file(path, columns, cache) for path in self._files]
        sizes = [sum(reader.block_sizes) for reader in self._readers]
        self._starts = np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))])
        self.block_sizes: tuple[int, ...] = tuple(n for reader in self._readers for n in reader.block_sizes)
        self.columns: Mapping[str, str] = self._readers[0].columns
        self.window: int = min(reader.window for reader in self._readers)

    def row(self, number: int) -> Mapping[str, Any]:
        """Return a row; see `RowReader`."""
        file, inside = self._place(number)
        return self._readers[file].row(inside)

    def row_name(self, number: int) -> str:
        """Return folder, file and the row's number there."""
        file, inside = self._place(number)
        return f"{self.folder.name}/{self._files[file].name}/{inside}"

    def _place(self, number: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        return file, number - int(self._starts[file])


def data_files(folder: Path) -> list[Path]:
    """Return a folder's data files in name order; hidden ones are none. Raises ConfigError."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in READERS and path.is_file()]
    except OSError as error:
        raise ConfigError(f"{folder} must be a readable folder: {error}") from error
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)


def _open_file(path: Path, columns: ColumnsConfig, cache: GroupCache) -> RowReader:
    return READERS[path.suffix.lower()](path, columns, cache)


def _hint(folder: Path) -> str:
    below = sorted(path for path in folder.iterdir() if path.is_dir() and data_files(path))
    return f": did you mean {below[0]}?" if below else ""
