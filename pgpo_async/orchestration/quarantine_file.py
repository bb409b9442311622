"""`quarantine.parquet`: what could not be used in a run, each with its reason, its error and its input.

A Parquet file cannot be added to, so records first become small files of their own (`.quarantine/`, each
written whole or not at all), and those are merged into one now and then, and at the end. The merged file's
metadata say up to which part it goes, so whenever the process is killed nothing is lost and nothing is there
twice; another run in the same folder goes on with both. Owns these files and their bounds. Called by
`run_folder`; read by people, with anything that reads Parquet, and by `read_quarantine`.
"""

import datetime
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.actors.queue_types import Quarantined

NAME = "quarantine.parquet"
PARTS = ".quarantine"
MAX_RECORDS = 100_000
"""Further ones are counted, not kept."""
MAX_IMAGE_BYTES = 1 << 30
"""Of all records' images; further ones are left out, and found again by the record's index."""
MAX_UNWRITTEN_BYTES = 64 << 20
"""Of images that wait for room on the disk."""
MAX_TEXT_CHARACTERS = 100_000
MERGE_EVERY_S = 30.0
_MERGE_SHARE = 20  # a merge that took a second is not repeated for twenty
_ROWS_AT_ONCE = 64
_STATE = b"pgpo_async.quarantine"

SCHEMA = pa.schema(
    [
        ("group_id", pa.string()),
        ("index", pa.int64()),
        ("prompt_id", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("images", pa.list_(pa.large_binary())),
        ("images_left_out", pa.bool_()),
    ]
)


class QuarantineFile:
    """The records of one run folder. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._parts = folder / PARTS
        _set_aside_damaged([self._path, *_parts(self._parts).values()])
        merged, rows, self._image_bytes = _state(self._path)
        parts = _parts(self._parts)
        for number in [number for number in parts if number <= merged]:
            parts.pop(number).unlink(missing_ok=True)
        self._waiting = [parts[number] for number in sorted(parts)]
        self._last_part = max(parts, default=merged)
        metadata = [pq.read_metadata(part) for part in self._waiting]
        self._num_records = rows + sum(part.num_rows for part in metadata)
        self._image_bytes += sum(_image_bytes_of(part.metadata) for part in metadata)
        self._unwritten: list[dict[str, Any]] = []
        self._next_merge = 0.0
        self.num_not_kept = 0

    def add(self, records: Sequence[Quarantined]) -> None:
        """Keep some records. Raises OSError where they could not be written: the next call tries again."""
        self._unwritten += [self._row(record) for record in self._within_bounds(records)]
        if self._unwritten:
            try:
                self._write_part()
            except OSError:
                self._keep_little()
                raise
        if self._waiting and time.monotonic() >= self._next_merge:
            self._merge()

    def close(self) -> None:
        """Leave one whole file. Raises OSError where it cannot be written: the parts then stay."""
        if self._unwritten:
            self._write_part()
        if self._waiting:
            self._merge()
        if self._parts.is_dir():
            with suppress(OSError):  # something else is in it
                self._parts.rmdir()

    def _within_bounds(self, records: Sequence[Quarantined]) -> Sequence[Quarantined]:
        room = max(0, MAX_RECORDS - self._num_records)
        self.num_not_kept += max(0, len(records) - room)
        kept = records[:room]
        self._num_records += len(kept)
        return kept

    def _row(self, record: Quarantined) -> dict[str, Any]:
        prompt = record.prompt
        images = () if prompt is None else prompt.images
        num_bytes = sum(map(len, images))
        fits = self._image_bytes + num_bytes <= MAX_IMAGE_BYTES
        self._image_bytes += num_bytes if fits else 0
        return {
            "group_id": record.group_id,
            "index": record.index,
            "prompt_id": _text(record.prompt_id),
            "stage": record.stage,
            "reason": record.reason,
            "error": _text(record.error),
            "time": datetime.datetime.fromtimestamp(record.time_s, tz=datetime.UTC),
            "question": None if prompt is None else _text(prompt.question),
            "answer": None if prompt is None else _text(prompt.answer),
            "images": list(images) if fits else [],
            "images_left_out": record.images_elsewhere or not fits,
        }

    def _keep_little(self) -> None:
        """Bound what waits in memory for room on the disk: the index finds the images again."""
        num_bytes = 0
        for row in self._unwritten:
            num_bytes += sum(map(len, row["images"]))
            if num_bytes > MAX_UNWRITTEN_BYTES and row["images"]:
                row.update(images=[], images_left_out=True)

    def _write_part(self) -> None:
        number = self._last_part + 1
        table = pa.Table.from_pylist(self._unwritten, schema=SCHEMA)
        num_bytes = sum(len(image) for row in self._unwritten for image in row["images"])
        self._parts.mkdir(exist_ok=True)
        path = self._parts / f"part-{number:08d}.parquet"
        with _written(path, {"image_bytes": num_bytes}) as writer:
            writer.write_table(table)
        self._waiting.append(path)
        self._last_part = number
        self._unwritten = []

    def _merge(self) -> None:
        began = time.monotonic()
        sources = [path for path in (self._path, *self._waiting) if path.is_file()]
        state = {"parts": self._last_part, "image_bytes": self._image_bytes}
        with _written(self._path, state) as writer:
            for source in sources:
                with pq.ParquetFile(source) as file:
                    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                        writer.write_batch(batch)
        for path in self._waiting:
            path.unlink(missing_ok=True)
        self._waiting = []
        ended = time.monotonic()
        self._next_merge = ended + max(MERGE_EVERY_S, _MERGE_SHARE * (ended - began))


def read_quarantine(folder: Path) -> pa.Table:
    """Return the records of a run's folder, also while the run goes on, or after it was killed."""
    merged, _, _ = _state(folder / NAME)
    parts = _parts(folder / PARTS)
    paths = [folder / NAME, *(parts[number] for number in sorted(parts) if number > merged)]
    tables = [pq.read_table(path, schema=SCHEMA) for path in paths if path.is_file()]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


@contextmanager
def _written(path: Path, state: dict[str, int]) -> Iterator[Any]:
    """A Parquet file that is there when the block ends, whole, and not if it raises."""
    partial = path.with_name(f".{path.name}.partial")
    schema = SCHEMA.with_metadata({_STATE: json.dumps(state).encode()})
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=False) as writer:
            yield writer
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _set_aside_damaged(paths: Sequence[Path]) -> None:
    """Rename what is no Parquet file (a disk's fault: none is written in place), so that a run can go on."""
    for path in paths:
        try:
            if path.is_file():
                pq.read_metadata(path)
        except pa.ArrowInvalid:
            path.rename(path.with_name(f"{path.name}.damaged"))


def _parts(folder: Path) -> dict[int, Path]:
    return {int(path.stem.removeprefix("part-")): path for path in folder.glob("part-*.parquet")}


def _state(path: Path) -> tuple[int, int, int]:
    """The last part that is in the merged file, its rows, and its images' bytes."""
    if not path.is_file():
        return 0, 0, 0
    metadata = pq.read_metadata(path)
    return _number(metadata.metadata, "parts"), metadata.num_rows, _image_bytes_of(metadata.metadata)


def _image_bytes_of(metadata: Any) -> int:
    return _number(metadata, "image_bytes")


def _number(metadata: Any, name: str) -> int:
    return int(json.loads((metadata or {}).get(_STATE, b"{}")).get(name, 0))


def _text(text: str) -> str:
    """Cut to its bound; what is no Unicode text is written out, since Parquet takes none."""
    return text[:MAX_TEXT_CHARACTERS].encode("utf-8", errors="backslashreplace").decode()
