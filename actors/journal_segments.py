"""A journal's segment files: one header, then records; together an Arrow IPC stream that any reader reads.

Owns reading and appending to one file, and finding out how much of it is whole. What a record's bytes are,
`journal_records` knows; which segments make up a journal, `journal_folder`. Used by these and by `journal`.
"""

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pgpo_async.actors.journal_records import (
    Place,
    Record,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
)
from pgpo_async.contracts import JournalError

# How a message starts, if its metadata has a sane length. Looks ahead: matches may overlap.
_MESSAGE = re.compile(rb"(?=\xff{4}..\x00\x00)", re.DOTALL)
# Arrow pads messages.
_ALIGNMENT = 8
_NO_MESSAGE = (pa.ArrowException, OSError, EOFError, TypeError, ValueError)


class Header(NamedTuple):
    """A segment's first message. A segment that `begins` the journal replaces all older ones."""

    begins: bool
    num_bytes: int


class Segment:
    """The first `num_bytes` of a file, or all. Mapped: payloads that are not asked for are not read."""

    def __init__(self, path: Path, number: int, num_bytes: int | None = None) -> None:
        """Open a file. Raises JournalError if it is shorter than `num_bytes`."""
        with path.open("rb") as file:
            num_there = os.fstat(file.fileno()).st_size
            self.num_bytes = num_there if num_bytes is None else num_bytes
            if num_there < self.num_bytes:
                raise JournalError(f"{path} must have {self.num_bytes:,} bytes, got {num_there:,}")
            # An empty file cannot be mapped.
            self._data: bytes | mmap.mmap = (
                mmap.mmap(file.fileno(), self.num_bytes, prot=mmap.PROT_READ) if self.num_bytes else b""
            )
        self._path = path
        self._number = number
        self._stream = pa.BufferReader(pa.py_buffer(self._data))

    def header(self) -> Header | None:
        """Read the first message, None if it is not whole. Raises JournalError if it is another format's."""
        try:
            message, end = self._message(0)
            schema = pa.ipc.read_schema(message)
        except _NO_MESSAGE:
            return None
        if self._has_record(1, end):
            # Its length is damaged.
            return None
        try:
            return Header(decode_header(schema), end)
        except ValueError as error:
            raise JournalError(f"{self._path}: {error}") from error

    def record(self, offset: int, *, with_payload: bool) -> tuple[Record, int]:
        """Return the record at an offset (see `decode_record`), and where it ends.

        Raises JournalError if no whole record is there.
        """
        try:
            message, end = self._message(offset)
            place = Place(self._number, offset)
            return decode_record(message, place, end - offset, with_payload=with_payload), end
        except _NO_MESSAGE as error:
            raise self._damaged(offset, "record", error) from error

    def records(self, *, with_payload: bool) -> Iterator[tuple[Place, Record]]:
        """Yield all records in order. Raises JournalError where it comes to damage."""
        header = self.header()
        if header is None:
            raise self._damaged(0, "header")
        offset = header.num_bytes
        while offset < self.num_bytes:
            record, end = self.record(offset, with_payload=with_payload)
            yield Place(self._number, offset), record
            offset = end

    def num_whole_bytes(self) -> int:
        """How far the file is whole: to its last whole record's end, or to its header's; 0 if that is torn.

        Of payloads it reads only the last ones, back to one that is whole. Raises JournalError if whole
        records come after a damaged one.
        """
        header = self.header()
        offset = header.num_bytes if header else 0
        offsets: list[int] = []
        try:
            if header is None:
                raise self._damaged(0, "header")
            while offset < self.num_bytes:
                _, end = self.record(offset, with_payload=False)
                offsets.append(offset)
                offset = end
        except JournalError:
            if self._has_record(offset + 1, self.num_bytes):
                raise
        while offsets and not self._is_whole(offsets[-1], with_payload=True):
            offset = offsets.pop()
        return offset

    def _message(self, offset: int) -> tuple[pa.ipc.Message, int]:
        self._stream.seek(offset)
        message = pa.ipc.read_message(self._stream)
        end = self._stream.tell()
        if end % _ALIGNMENT:
            raise ValueError(f"one that ends at {end:,}")
        return message, end

    def _is_whole(self, offset: int, *, with_payload: bool) -> bool:
        try:
            self.record(offset, with_payload=with_payload)
        except JournalError:
            return False
        return True

    def _has_record(self, start: int, end: int) -> bool:
        starts = (match.start() for match in _MESSAGE.finditer(self._data, start, end))
        return any(start % _ALIGNMENT == 0 and self._is_whole(start, with_payload=False) for start in starts)

    def _damaged(self, offset: int, what: str, error: Exception | None = None) -> JournalError:
        return JournalError(
            f"{self._path} must have a whole {what} at offset {offset:,}, got {error or 'a damaged one'}"
        )


class SegmentWriter:
    """A file that records are appended to. Every method raises OSError if the disk refuses."""

    def __init__(self, path: Path, number: int, *, begins: bool, num_bytes: int = 0) -> None:
        """Open a file, or make it, and cut it to `num_bytes`; if that is nothing, write its header."""
        self.number = number
        self.num_bytes = num_bytes
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(self._fd, num_bytes)
            if not num_bytes:
                self._write(encode_header(begins=begins))
        except BaseException:
            self.close()
            raise

    def append(self, record: Record, *, sync: bool = False) -> Place:
        """Hand a record to the operating system, with `sync` to the disk. Nothing is kept if it raises."""
        place = Place(self.number, self.num_bytes)
        data = encode_record(record, place)
        try:
            self._write(data)
            if sync:
                self.sync()
        except BaseException:
            self.num_bytes = place.offset
            # If this fails too: the next record overwrites it, and opening cuts what that leaves.
            with suppress(OSError):
                os.ftruncate(self._fd, place.offset)
            raise
        return place

    def sync(self) -> None:
        """Wait until all is on disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, data: pa.Buffer) -> None:
        left = memoryview(data)
        while left:
            num_written = os.pwrite(self._fd, left, self.num_bytes)
            self.num_bytes += num_written
            left = left[num_written:]
