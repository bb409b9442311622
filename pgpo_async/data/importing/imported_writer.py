"""Writes an imported file, whole or not at all: a temporary file beside it, one rename at the end.

Owns the row groups (small, so that a training run shuffles well and holds little), unique ids, and that
nothing is overwritten unasked. Called by `import_run`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.importing.imported_file import ORIGIN_KEY, SCHEMA, Origin
from pgpo_async.data.importing.set_types import SetRow

MAX_GROUP_ROWS = 100
MAX_GROUP_BYTES = 24 << 20


class ImportedWriter:
    """Takes prompts with their labels, one after another."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0
        self._ids: set[str] = set()
        self.num_rows = 0
        self.num_renamed = 0

    def add(self, prompt: Prompt, row: SetRow) -> None:
        """Write a row; an id that another row has gets a number behind it, and is counted."""
        self._rows.append(
            {
                "images": [{"bytes": image, "path": None} for image in prompt.images],
                "problem": prompt.question,
                "answer": prompt.answer,
                "id": self._unique(row.row_id),
                "category": row.category,
                "choices": None if row.choices is None else list(row.choices),
                "group": row.group,
            }
        )
        self.num_rows += 1
        self._num_bytes += sum(len(image) for image in prompt.images)
        if len(self._rows) >= MAX_GROUP_ROWS or self._num_bytes >= MAX_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held as a row group."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._num_bytes = [], 0

    def describe(self, origin: Origin) -> None:
        """Note in the file what it was made of."""
        self._writer.add_key_value_metadata({ORIGIN_KEY.decode(): origin.as_json().decode()})

    def _unique(self, row_id: str) -> str:
        unique, number = row_id, 1
        while unique in self._ids:
            number += 1
            unique = f"{row_id}~{number}"
        self.num_renamed += unique != row_id
        self._ids.add(unique)
        return unique


def check_output(path: Path, *, force: bool) -> None:
    """Raise ConfigError if a file may not be written there; an existing one needs `force`."""
    if path.suffix.lower() != ".parquet":
        raise ConfigError(f"--output: must be a file ending in .parquet, got {path}")
    if not path.parent.is_dir():
        raise ConfigError(f"--output: the folder {path.parent} must exist")
    if path.is_dir() or (path.exists() and not force):
        raise ConfigError(f"--output: {path} must be new: choose another name, or replace it with --force")


@contextmanager
def new_imported_file(path: Path) -> Iterator[ImportedWriter]:
    """Give a writer of what becomes `path` at the end; where anything goes wrong nothing is left of it.

    Raises ConfigError if it cannot be written there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd", use_dictionary=False) as file:
            writer = ImportedWriter(file)
            yield writer
            writer.flush()
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(
            f"--output: {path} cannot be written: {error.strerror or error}; choose a folder that you may "
            "write and that has room"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
