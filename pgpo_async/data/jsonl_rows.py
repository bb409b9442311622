"""Rows of a JSONL file by byte offset: one scan when opened, then one seek a row.

Opened by `files` and, for columns of any name, by the import.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.columns import ALL_BLOCKS, check_columns, renamed
from pgpo_async.data.rows import UnreadableRow

MAX_LINE_BYTES = 512 << 20
"""A longer line is no row: parsing takes several times its bytes."""
_ROWS_LOOKED_AT = 10
_PIECE_BYTES = 1 << 20
_KEPT_BYTES = 4096
_KINDS = {str: "text", bool: "true or false", int: "integer", float: "number", list: "list", dict: "object"}


class JsonLines:
    """The objects of a JSONL file by number, one seek each; blank lines are none."""

    def __init__(self, path: Path) -> None:
        """Find the lines. Raises ConfigError if the file cannot be read."""
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ConfigError(f"{path} must be a readable JSONL file: {error}") from error
        self._path = path
        self._offsets = _line_offsets(self._file)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return a line's object. Raises ValueError if it is none, OSError if it cannot be read."""
        self._file.seek(int(self._offsets[number]))
        line = self._file.readline(MAX_LINE_BYTES + 1)
        try:
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"line must have at most {MAX_LINE_BYTES} bytes")
            value = json.loads(line)
        except RecursionError:
            raise _unreadable("line must be JSON, got one nested too deeply", line) from None
        except ValueError as error:
            raise _unreadable(f"line must be JSON: {error}", line) from error
        if not isinstance(value, dict):
            raise _unreadable(f"line must be a JSON object, got {type(value).__name__}", line)
        return value

    def columns(self) -> dict[str, str]:
        """Return the first object's names and types. Raises ConfigError if no line near the start is one."""
        # One broken line is a prompt to quarantine; a file of broken lines is a mistake to report.
        for number in range(min(_ROWS_LOOKED_AT, len(self))):
            try:
                return {name: _KINDS.get(type(value), "null") for name, value in self[number].items()}
            except ValueError:
                continue
        raise ConfigError(f"{self._path} must hold one JSON object a line, got none in its first lines")


class JsonlRows:
    """Random access by row number; blank lines are no rows. All rows are one block: a seek costs nothing."""

    window = ALL_BLOCKS

    def __init__(self, path: Path, columns: ColumnsConfig) -> None:
        """Find the lines. Raises ConfigError if none is a JSON object, or the first one lacks a column."""
        self.folder = path.parent
        self._path = path
        self._columns = columns
        self._lines = JsonLines(path)
        self.block_sizes: tuple[int, ...] = (len(self._lines),) if len(self._lines) else ()
        self.columns: dict[str, str] = self._lines.columns() if self.block_sizes else {}
        if self.block_sizes:
            check_columns(str(path), list(self.columns), columns)

    def row_name(self, number: int) -> str:
        """Return a row's file and number."""
        return f"{self._path.stem}/{number}"

    def row(self, number: int) -> Mapping[str, Any]:
        """Return a line's columns. Raises ValueError if it is not a JSON object, OSError if unreadable."""
        return renamed(self._lines[number], self._columns)


def _unreadable(message: str, line: bytes) -> UnreadableRow:
    return UnreadableRow(message, line[:_KEPT_BYTES].decode("utf-8", errors="backslashreplace"))


def _line_offsets(file: Any) -> Any:
    # In pieces: a file without line ends would else be in memory as a whole.
    offsets, position, start, is_blank = [], 0, 0, True
    while piece := file.readline(_PIECE_BYTES):
        is_blank = is_blank and not piece.strip()
        position += len(piece)
        if piece.endswith(b"\n"):
            if not is_blank:
                offsets.append(start)
            start, is_blank = position, True
    if not is_blank:
        offsets.append(start)
    return np.asarray(offsets, dtype=np.int64)
