"""The rows of a published data set, one after another: from files, a folder of them, or the Hub.

Owns which files of a folder are meant (a copy of a Hub repository holds several subsets and splits), and
reading with flat memory. What the rows mean is a layout's work. Called by `import_run`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.config.files import similar_file
from pgpo_async.contracts import ConfigError
from pgpo_async.data.hub_rows import PREFIX, cache_folder, hub_name, load_hub
from pgpo_async.data.importing.set_types import KnownSet
from pgpo_async.data.jsonl_rows import JsonLines

ROWS_AT_A_TIME = 8
_SHARD = re.compile(r"-[0-9].*")


class UnreadablePart(ValueError):
    """Rows that are there and cannot be read; `num_rows` of them."""

    def __init__(self, message: str, num_rows: int = 1) -> None:
        super().__init__(message)
        self.num_rows = num_rows


Row = Mapping[str, Any] | UnreadablePart


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A file, or a split of the Hub. Image paths are relative to one of `folders`, the likeliest first."""

    name: str
    origin: str
    columns: tuple[str, ...]
    num_rows: int
    folders: tuple[Path, ...]
    rows: Callable[[], Iterator[Row]]


def open_published(source: str | None, known: KnownSet, split: str | None) -> list[Part]:
    """Return the parts of a source, by default the set's own place on the Hub. Raises ConfigError."""
    if source is None or source.startswith(PREFIX):
        name = hub_name(source or f"{PREFIX}{known.hub_name}", split or known.split, subset=known.subset)
        return [_hub_part(f"{PREFIX}{name.name}@{one}", one, name.subset) for one in name.split.split("+")]
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        return [_file_part(file, origin) for file, origin in _files_of_splits(path, known, split)]
    if path.suffix.lower() not in _OPENERS:
        raise ConfigError(
            f"SOURCE must be {PREFIX}NAME, a folder or a file ending in one of {sorted(_OPENERS)}, "
            f"got {source!r}"
        )
    if not path.is_file():
        raise ConfigError(f"SOURCE must be an existing file, got {source!r}{similar_file(path)}")
    if split is not None:
        raise ConfigError(f"--split: must be left out where SOURCE is a file, got {split!r} for {path.name}")
    return [_file_part(path, _SHARD.sub("", path.stem))]


def _files_of_splits(folder: Path, known: KnownSet, split: str | None) -> list[tuple[Path, str]]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _OPENERS
        and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    inside = [path for path in found if known.subset in (*path.relative_to(folder).parts[:-1], folder.name)]
    chosen = []
    for one in (split or known.split).split("+"):
        names = {one, (known.file_stems or {}).get(one, one)}
        chosen += [(path, one) for path in inside or found if _SHARD.sub("", path.stem) in names]
    if not chosen:
        files = ", ".join(str(path.relative_to(folder)) for path in found[:8]) or "none"
        raise ConfigError(
            f"{folder} must hold data files of the split {split or known.split!r}, got {files}: name the "
            "split (--split), or the file itself"
        )
    return chosen


def _file_part(path: Path, origin: str) -> Part:
    columns, num_rows, rows = _OPENERS[path.suffix.lower()](path)
    # A pack's pictures are beside its folder, in `data/images`; no other set may reach out of its own.
    folders = (path.parent, *(folder for folder in list(path.parents)[1:3] if folder.name == "data"))
    return Part(name=str(path), origin=origin, columns=columns, num_rows=num_rows, folders=folders, rows=rows)


Opened = tuple[tuple[str, ...], int, Callable[[], Iterator[Row]]]


def _open_parquet(path: Path) -> Opened:
    try:
        # Buffered, not read ahead: a row group of the Hub's may hold a gigabyte of pictures.
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path} must be a readable Parquet file: {error}") from error

    def rows() -> Iterator[Row]:
        for group in range(file.metadata.num_row_groups):
            num_left = file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(ROWS_AT_A_TIME, row_groups=[group], use_threads=False):
                    for row in batch.to_pylist():
                        num_left -= 1
                        yield row
            except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
                message = f"row group {group} must be readable: {type(error).__name__}: {error}"
                yield UnreadablePart(message, num_left)

    return tuple(file.schema_arrow.names), file.metadata.num_rows, rows


def _open_jsonl(path: Path) -> Opened:
    lines = JsonLines(path)

    def rows() -> Iterator[Row]:
        for number in range(len(lines)):
            try:
                yield lines[number]
            except (OSError, ValueError) as error:
                yield UnreadablePart(str(error))

    return tuple(lines.columns()), len(lines), rows


def _open_json(path: Path) -> Opened:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} must be a readable JSON file: {error}") from error
    if isinstance(content, dict):  # of rows by their ids
        content = [{"id": name, **row} if isinstance(row, dict) else row for name, row in content.items()]
    if not isinstance(content, list) or not any(isinstance(row, dict) for row in content):
        raise ConfigError(f"{path} must hold a list of JSON objects, or an object of them by id, got neither")

    def rows() -> Iterator[Row]:
        for row in content:
            yield (
                row
                if isinstance(row, dict)
                else UnreadablePart(f"row must be an object, got {type(row).__name__}")
            )

    return tuple(next(row for row in content if isinstance(row, dict))), len(content), rows


_OPENERS: dict[str, Callable[[Path], Opened]] = {
    ".parquet": _open_parquet,
    ".jsonl": _open_jsonl,
    ".json": _open_json,
}


def _hub_part(spec: str, split: str, subset: str | None) -> Part:
    name = hub_name(spec, split, subset=subset)
    data = load_hub(name)
    stored = data.with_format("arrow")  # any other one decodes the images

    def rows() -> Iterator[Row]:
        for start in range(0, len(data), ROWS_AT_A_TIME):
            yield from stored[start : start + ROWS_AT_A_TIME].to_pylist()

    return Part(
        name=f"{PREFIX}{name}",
        origin=split,
        columns=tuple(data.column_names),
        num_rows=len(data),
        folders=(cache_folder(data),),
        rows=rows,
    )
