"""Rows of a Parquet file, one row group at a time, with a bounded cache of row groups.

Owns reading only. The file is memory-mapped and a row group is decoded when one of its rows is first asked
for, so memory holds a few row groups of images, never the whole set. Called by `file_source`.
"""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.contracts import ConfigError
from pgpo_async.data.columns import check_columns
from pgpo_async.data.rows import COLUMNS

CACHE_BYTES = 512 << 20
MAX_CACHED_GROUPS = 16

logger = logging.getLogger(__name__)


class ParquetRows:
    """Random access by row number; `num_group_reads` counts decoded row groups, for tests and logs."""

    def __init__(self, path: Path) -> None:
        """Read the footer. Raises ConfigError if it is not Parquet, has no rows, or lacks a column."""
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"{path} must be a readable Parquet file: {error}") from error
        check_columns(path, self._file.schema_arrow.names)
        metadata = self._file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        self.block_sizes: tuple[int, ...] = tuple(group.num_rows for group in groups)
        largest = max((_needed_bytes(group) for group in groups), default=0)
        self.window: int = max(1, min(MAX_CACHED_GROUPS, CACHE_BYTES // max(largest, 1)))
        self._starts = np.concatenate([[0], np.cumsum(np.asarray(self.block_sizes, dtype=np.int64))])
        self._tables: OrderedDict[int, Any] = OrderedDict()
        self.num_group_reads = 0
        if largest > CACHE_BYTES:
            logger.warning(
                "%s: its largest row group takes %d MiB, all of it in memory at a time; "
                "write it with smaller row groups (pyarrow: row_group_size=100)",
                path,
                largest >> 20,
            )

    def row(self, number: int) -> Mapping[str, Any]:
        """Return the three columns of a row. Raises OSError or ValueError if its row group is broken."""
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        try:
            table = self._table(group)
            rows: list[dict[str, Any]] = table.slice(number - int(self._starts[group]), 1).to_pylist()
        except (pa.ArrowException, TypeError, KeyError, OverflowError, MemoryError) as error:
            # Not all of pyarrow's errors are ValueErrors, and a damaged page may ask for any size.
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return rows[0]

    def _table(self, group: int) -> Any:
        if group in self._tables:
            self._tables.move_to_end(group)
            return self._tables[group]
        while len(self._tables) >= self.window:  # before the read: the bound holds at its peak too
            self._tables.popitem(last=False)
        self.num_group_reads += 1
        self._tables[group] = self._file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
        return self._tables[group]


def _needed_bytes(group: Any) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] in COLUMNS)
