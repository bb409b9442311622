"""Rows of a Parquet file, one row group at a time, with a bounded cache of row groups.

Owns reading only. A row group is decoded when one of its rows is first asked for, so memory holds a few row
groups of images, never the whole set; the files of one folder share a cache. Opened by `files`.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.columns import check_columns, names, renamed

CACHE_BYTES = 512 << 20
MAX_CACHED_GROUPS = 16

logger = logging.getLogger(__name__)


class GroupCache:
    """The row groups last used; `limit` of them, as many of the largest as fit `num_bytes`."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.limit = MAX_CACHED_GROUPS
        self._tables: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tables)

    def fit(self, largest: int) -> None:
        """Lower the limit to what fits of groups of `largest` bytes."""
        self.limit = max(1, min(self.limit, self.num_bytes // max(largest, 1)))

    def table(self, key: tuple[Path, int], read: Callable[[], Any]) -> Any:
        """Return a row group, read now if it is not held."""
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        while len(self._tables) >= self.limit:  # before the read: the bound holds at its peak too
            self._tables.popitem(last=False)
        self._tables[key] = read()
        return self._tables[key]


class ParquetRows:
    """Random access by row number; `num_group_reads` counts decoded row groups, for tests and logs."""

    def __init__(self, path: Path, columns: ColumnsConfig, cache: GroupCache) -> None:
        """Read the footer. Raises ConfigError if it is not Parquet, or lacks a column."""
        try:
            # Not memory-mapped: the pages of a mapped file count as ours, and one cut short kills us.
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"{path} must be a readable Parquet file: {error}") from error
        check_columns(str(path), self._file.schema_arrow.names, columns)
        self.columns: dict[str, str] = {field.name: str(field.type) for field in self._file.schema_arrow}
        self.folder = path.parent
        self._path = path
        self._columns = columns
        self._names = names(columns)
        metadata = self._file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        self.block_sizes: tuple[int, ...] = tuple(group.num_rows for group in groups)
        self._starts = np.concatenate([[0], np.cumsum(np.asarray(self.block_sizes, dtype=np.int64))])
        self._cache = cache
        self.num_group_reads = 0
        largest = max((_needed_bytes(group, self._names) for group in groups), default=0)
        cache.fit(largest)
        if largest > cache.num_bytes:
            logger.warning(
                "%s: its largest row group takes %d MiB, all of it in memory at a time; "
                "write it with smaller row groups (pyarrow: row_group_size=100)",
                path,
                largest >> 20,
            )

    @property
    def window(self) -> int:
        """Row groups that the cache holds."""
        return self._cache.limit

    def row_name(self, number: int) -> str:
        """Return a row's file and number."""
        return f"{self._path.stem}/{number}"

    def row(self, number: int) -> Mapping[str, Any]:
        """Return the three columns of a row. Raises OSError or ValueError if its row group is broken."""
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        try:
            table = self._cache.table((self._path, group), lambda: self._read(group))
            rows: list[dict[str, Any]] = table.slice(number - int(self._starts[group]), 1).to_pylist()
        except (pa.ArrowException, TypeError, KeyError, OverflowError, MemoryError) as error:
            # Not all of pyarrow's errors are ValueErrors, and a damaged page may ask for any size.
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return renamed(rows[0], self._columns)

    def _read(self, group: int) -> Any:
        self.num_group_reads += 1
        return self._file.read_row_group(group, columns=self._names, use_threads=False)


def _needed_bytes(group: Any, columns: list[str]) -> int:
    inside = tuple(f"{name}." for name in columns)
    found = (group.column(i) for i in range(group.num_columns))
    return sum(
        c.total_uncompressed_size
        for c in found
        if c.path_in_schema in columns or c.path_in_schema.startswith(inside)
    )
